//! The commands that change products.

use axum::http::StatusCode;
use sqlx::PgConnection;

use super::{
    codes,
    model::{Product, ProductFields},
    queries,
};
use crate::{
    category,
    db::{self, ReadPool, violated_constraint},
    http::{ApiError, CommandContext, FieldSource, Precondition, Presence},
    ledger::{self, StockScope},
};

pub(crate) const NO_SUCH: ApiError = ApiError::NotFound("Product");
const ORDERED: &str = "Cannot delete this product: it was ordered.";
const TRANSFERRED: &str = "Cannot delete this product: transfers refer to it.";

/// Creates a product.
pub async fn create(context: &CommandContext, source: &impl FieldSource) -> Result<Product, ApiError> {
    context.caller.require_all_stores()?;
    let fields = read(context.reads(), source, Presence::Complete).await?;
    db::retry(|| async {
        let mut tx = context.db().begin().await?;
        let inserted = queries::insert_all(&mut *tx, &[&fields]).await;
        let ids = inserted.map_err(|error| category_gone(error, &fields))?;
        let id = ids.first().copied().unwrap_or_default();
        replace_codes(&mut tx, id, &fields).await?;
        let product = queries::get(&mut *tx, id).await?.ok_or(NO_SUCH)?;
        context
            .commit_created(tx, "product.created", id, &product)
            .await?;
        Ok(product)
    })
    .await
}

/// Writes the given fields, if the precondition holds. Stock rows carry the title of their product, so a change of the title
/// locks them first, in the global lock order.
pub async fn update(
    context: &CommandContext,
    id: i64,
    expected: &impl Precondition,
    source: &impl FieldSource,
    presence: Presence,
) -> Result<Product, ApiError> {
    let current = queries::get(context.reads(), id).await?.ok_or(NO_SUCH)?;
    context.caller.require_all_stores()?;
    expected.require(&current)?;
    let fields = read(context.reads(), source, presence).await?;
    db::retry(|| async {
        let mut tx = context.db().begin().await?;
        if fields.title.is_some() {
            ledger::lock(&mut tx, StockScope::Product(id)).await?;
        }
        let before = queries::lock(&mut tx, id).await?.ok_or(NO_SUCH)?;
        expected.require(&before)?;
        let updated = queries::update_all(&mut *tx, &[id], &[&fields]).await;
        updated.map_err(|error| category_gone(error, &fields))?;
        replace_codes(&mut tx, id, &fields).await?;
        let after = queries::get(&mut *tx, id).await?.ok_or(NO_SUCH)?;
        let states = (Some(&before), Some(&after));
        context.commit(tx, "product.changed", id, states).await?;
        Ok(after)
    })
    .await
}

/// Deletes a product with its stock, unless it was ever ordered.
pub async fn delete(context: &CommandContext, id: i64, expected: &impl Precondition) -> Result<(), ApiError> {
    context.caller.require_all_stores()?;
    let by = context.audit_context();
    db::retry(|| async {
        let mut tx = context.db().begin().await?;
        ledger::lock(&mut tx, StockScope::Product(id)).await?;
        let locked = queries::lock_for_deletion(&mut tx, id).await?;
        let (before, is_sold) = locked.ok_or(NO_SUCH)?;
        expected.require(&before)?;
        if ledger::lock(&mut tx, StockScope::Product(id)).await? || is_sold {
            return Err(ApiError::detail(StatusCode::CONFLICT, ORDERED));
        }
        ledger::remove(&mut tx, StockScope::Product(id), by.actor.label().as_deref()).await?;
        let deleted = queries::delete(&mut *tx, id).await;
        deleted.map_err(transferred)?;
        context
            .commit(tx, "product.deleted", id, (Some(&before), None))
            .await
    })
    .await
}

/// Reads the fields, and looks up the category.
async fn read(
    db: &ReadPool,
    source: &impl FieldSource,
    presence: Presence,
) -> Result<ProductFields, ApiError> {
    let mut fields = source.fields(presence)?;
    let read = ProductFields::read(&mut fields);
    if let Some(reference) = &read.category_id
        && !category::exists(db, reference.id).await?
    {
        fields.reject("category_id", reference.missing());
    }
    fields.finish(read)
}

/// A code of another product is an error of its field.
async fn replace_codes(tx: &mut PgConnection, id: i64, fields: &ProductFields) -> Result<(), ApiError> {
    match codes::replace(tx, &[fields.codes(id)]).await? {
        None => Ok(()),
        Some(taken) => Err(ApiError::Invalid(taken.errors())),
    }
}

/// The category may have been deleted after it was looked up.
fn category_gone(error: sqlx::Error, fields: &ProductFields) -> ApiError {
    match (violated_constraint(&error), &fields.category_id) {
        (Some("product_category_id_fkey"), Some(reference)) => {
            ApiError::field("category_id", reference.missing())
        }
        _ => error.into(),
    }
}

/// Transfers keep what they refer to.
fn transferred(error: sqlx::Error) -> ApiError {
    match violated_constraint(&error) {
        Some("transfer_line_product_id_fkey") => ApiError::detail(StatusCode::CONFLICT, TRANSFERRED),
        _ => error.into(),
    }
}
