//! What changes products.

use axum::http::StatusCode;
use sqlx::PgPool;

use super::{
    model::{Product, ProductFields},
    queries,
};
use crate::{
    audit, category,
    db::{self, violated_constraint},
    http::{ApiError, CommandContext, FieldSource, Precondition, Presence},
    ledger::{self, Scope},
};

pub(super) const NO_SUCH: ApiError = ApiError::NotFound("Product");
const ORDERED: &str = "Cannot delete this product: it was ordered.";

/// Creates a product.
pub async fn create(context: &CommandContext, source: &impl FieldSource) -> Result<Product, ApiError> {
    context.caller.require_all_stores()?;
    let fields = read(context.db(), source, Presence::Complete).await?;
    let mut tx = context.db().begin().await?;
    let product = queries::insert(&mut *tx, &fields)
        .await
        .map_err(|error| category_gone(error, &fields))?;
    let (by, subject) = (context.audit_context(), subject(product.id));
    audit::record(&mut *tx, &by, "product.created", subject, (None, Some(&product))).await?;
    context.key.commit(tx, &product).await?;
    Ok(product)
}

/// Writes the fields that are given, if the product is what is expected. Stock rows carry the title of their product, so they
/// are locked first, in the order in which orders lock them.
pub async fn update(
    context: &CommandContext,
    id: i64,
    expected: &impl Precondition,
    source: &impl FieldSource,
    presence: Presence,
) -> Result<Product, ApiError> {
    let current = queries::get(context.db(), id).await?.ok_or(NO_SUCH)?;
    context.caller.require_all_stores()?;
    expected.require(&current)?;
    let fields = read(context.db(), source, presence).await?;
    let by = context.audit_context();
    db::retry(|| async {
        let mut tx = context.db().begin().await?;
        if fields.title.is_some() {
            ledger::lock(&mut tx, Scope::Product(id)).await?;
        }
        let before = queries::lock(&mut tx, id).await?.ok_or(NO_SUCH)?;
        expected.require(&before)?;
        let after = queries::update(&mut *tx, id, &fields)
            .await
            .map_err(|error| category_gone(error, &fields))?;
        let states = (Some(&before), Some(&after));
        audit::record(&mut *tx, &by, "product.changed", subject(id), states).await?;
        db::commit(tx).await?;
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
        ledger::lock(&mut tx, Scope::Product(id)).await?;
        let locked = queries::lock_for_deletion(&mut tx, id).await?;
        let (before, is_sold) = locked.ok_or(NO_SUCH)?;
        expected.require(&before)?;
        if ledger::lock(&mut tx, Scope::Product(id)).await? || is_sold {
            return Err(ApiError::detail(StatusCode::CONFLICT, ORDERED));
        }
        ledger::remove(&mut tx, Scope::Product(id), by.actor.label().as_deref()).await?;
        queries::delete(&mut *tx, id).await?;
        audit::record(
            &mut *tx,
            &by,
            "product.deleted",
            subject(id),
            (Some(&before), None),
        )
        .await?;
        Ok(db::commit(tx).await?)
    })
    .await
}

/// Reads the fields, and looks up the category.
async fn read(db: &PgPool, source: &impl FieldSource, presence: Presence) -> Result<ProductFields, ApiError> {
    let mut fields = source.fields(presence)?;
    let read = ProductFields::read(&mut fields);
    if let Some(reference) = &read.category_id
        && !category::exists(db, reference.id).await?
    {
        fields.reject("category_id", reference.missing());
    }
    fields.finish(read)
}

fn subject(id: i64) -> String {
    format!("product:{id}")
}

/// The category may be deleted after it was looked up.
fn category_gone(error: sqlx::Error, fields: &ProductFields) -> ApiError {
    match (violated_constraint(&error), &fields.category_id) {
        (Some("product_category_id_fkey"), Some(reference)) => {
            ApiError::field("category_id", reference.missing())
        }
        _ => error.into(),
    }
}
