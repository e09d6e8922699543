//! The commands that change categories.

use axum::http::StatusCode;

use super::{
    model::{Category, CategoryFields},
    queries,
};
use crate::{
    db::{self, violated_constraint},
    http::{ApiError, CommandContext, FieldSource, Precondition, Presence},
    ledger::{self, StockScope},
};

pub(super) const NO_SUCH: ApiError = ApiError::NotFound("Category");
const ORDERED: &str = "Cannot delete this category: it has products that were ordered.";
const TRANSFERRED: &str = "Cannot delete this category: transfers refer to its products.";

/// Creates a category.
pub async fn create(context: &CommandContext, source: &impl FieldSource) -> Result<Category, ApiError> {
    context.caller.require_all_stores()?;
    let fields = read(source, Presence::Complete)?;
    let mut tx = context.db().begin().await?;
    let category = queries::insert(&mut *tx, &fields).await.map_err(name_taken)?;
    context
        .commit_created(tx, "category.created", category.id, &category)
        .await?;
    Ok(category)
}

/// Writes the given fields, if the precondition holds.
pub async fn update(
    context: &CommandContext,
    id: i64,
    expected: &impl Precondition,
    source: &impl FieldSource,
    presence: Presence,
) -> Result<Category, ApiError> {
    let current = queries::get(context.reads(), id).await?.ok_or(NO_SUCH)?;
    context.caller.require_all_stores()?;
    expected.require(&current)?;
    let fields = read(source, presence)?;
    let mut tx = context.db().begin().await?;
    let before = queries::lock(&mut tx, id).await?.ok_or(NO_SUCH)?;
    expected.require(&before)?;
    let after = queries::update(&mut *tx, id, &fields).await.map_err(name_taken)?;
    let states = (Some(&before), Some(&after));
    context.commit(tx, "category.changed", id, states).await?;
    Ok(after)
}

/// Deletes a category with its products and their stock, unless one of them was ever ordered.
pub async fn delete(context: &CommandContext, id: i64, expected: &impl Precondition) -> Result<(), ApiError> {
    context.caller.require_all_stores()?;
    let by = context.audit_context();
    db::retry(|| async {
        let mut tx = context.db().begin().await?;
        ledger::lock(&mut tx, StockScope::Category(id)).await?;
        let before = queries::lock_for_deletion(&mut tx, id).await?.ok_or(NO_SUCH)?;
        expected.require(&before)?;
        let is_sold = queries::lock_products(&mut *tx, id).await?;
        if ledger::lock(&mut tx, StockScope::Category(id)).await? || is_sold {
            return Err(ApiError::detail(StatusCode::CONFLICT, ORDERED));
        }
        ledger::remove(&mut tx, StockScope::Category(id), by.actor.label().as_deref()).await?;
        let deleted = queries::delete(&mut tx, id).await;
        deleted.map_err(transferred)?;
        context
            .commit(tx, "category.deleted", id, (Some(&before), None))
            .await
    })
    .await
}

fn read(source: &impl FieldSource, presence: Presence) -> Result<CategoryFields, ApiError> {
    let mut fields = source.fields(presence)?;
    let read = CategoryFields::read(&mut fields);
    fields.finish(read)
}

fn name_taken(error: sqlx::Error) -> ApiError {
    match violated_constraint(&error) {
        Some("category_name_key") => ApiError::field("name", "Category with this name already exists."),
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
