//! The commands that change stock counts.

use axum::http::StatusCode;
use sqlx::PgConnection;

use super::{
    apply,
    enter::Enter,
    model::{Application, Entered, NO_SUCH, Status, StockCount},
    queries,
    request::{NewApplication, NewCancellation, NewEntries, NewStockCount},
};
use crate::{
    auth::Stores,
    db::{self, ReadPool, violated_constraint},
    http::{
        Answered, ApiError, CommandContext, Decided, Document, FieldErrors, FieldSource, Presence, carry_out,
    },
    ledger::{Recorded, RowKey, StockRow},
    product, store,
};

/// A stock count, if its store is granted.
pub async fn get(db: &ReadPool, stores: &Stores, id: i64) -> Result<StockCount, ApiError> {
    let count = queries::get(db, id).await?;
    count
        .filter(|count| stores.contains(count.store.id))
        .ok_or(NO_SUCH)
}

/// Begins a stock count.
pub async fn create(context: &CommandContext, source: &impl FieldSource) -> Result<StockCount, ApiError> {
    let mut fields = source.fields(Presence::Complete)?;
    let read = NewStockCount::read(&mut fields);
    let new = fields.finish_all(read)?;
    let store = &new.store_id;
    if !context.caller.grant.stores.contains(store.id) || !store::exists(context.reads(), store.id).await? {
        return Err(ApiError::field("store_id", store.missing()));
    }
    if let Some(ids) = &new.scope.product_ids {
        let existing = product::existing(context.reads(), ids).await?;
        if let Some(id) = ids.iter().find(|id| !existing.contains(id)) {
            return Err(missing("product_ids", *id));
        }
    }
    db::retry(|| async {
        let mut tx = context.db().begin().await?;
        let inserted = queries::insert(&mut tx, &new).await;
        let id = inserted.map_err(|error| refused(error, &new))?;
        let created = queries::get(&mut *tx, id).await?.ok_or(NO_SUCH)?;
        context
            .commit_created(tx, "stock_count.created", id, &created)
            .await?;
        Ok(created)
    })
    .await
}

/// Enters what was counted.
pub async fn enter(
    context: &CommandContext,
    id: i64,
    source: &impl FieldSource,
) -> Result<Answered<Entered>, ApiError> {
    granted(context, id).await?;
    let mut fields = source.fields(Presence::Complete)?;
    let read = NewEntries::read(&mut fields);
    let entries = fields.finish_all(read)?.resolve(context.reads()).await?;
    carry_out(context, &Enter { id, entries }).await
}

/// Applies what was counted.
pub async fn apply(
    context: &CommandContext,
    id: i64,
    source: &impl FieldSource,
) -> Result<Answered<Application>, ApiError> {
    let count = granted(context, id).await?;
    let mut fields = source.fields(Presence::Complete)?;
    let read = NewApplication::read(&mut fields);
    let new = fields.finish(read)?;
    apply::apply(context, &count, new.uncounted, new.expected_version).await
}

/// Cancels a stock count.
pub async fn cancel(
    context: &CommandContext,
    id: i64,
    source: &impl FieldSource,
) -> Result<Answered<StockCount>, ApiError> {
    granted(context, id).await?;
    let mut fields = source.fields(Presence::Complete)?;
    let read = NewCancellation::read(&mut fields);
    let NewCancellation { expected_version } = fields.finish(read)?;
    carry_out(context, &Cancel { id, expected_version }).await
}

async fn granted(context: &CommandContext, id: i64) -> Result<StockCount, ApiError> {
    get(context.reads(), &context.caller.grant.stores, id).await
}

/// The store or the category may not exist, or no longer.
fn refused(error: sqlx::Error, new: &NewStockCount) -> ApiError {
    match violated_constraint(&error) {
        Some("stock_count_store_id_fkey") => ApiError::field("store_id", new.store_id.missing()),
        Some("stock_count_category_id_fkey") => {
            missing("category_id", new.scope.category_id.unwrap_or_default())
        }
        _ => error.into(),
    }
}

/// The error of a record in the scope that does not exist.
fn missing(field: &'static str, id: i64) -> ApiError {
    let message = format!("Invalid pk \"{id}\" - object does not exist.");
    let errors = FieldErrors::field(field, message);
    ApiError::Invalid(FieldErrors::Fields(vec![("scope", errors)]))
}

struct Cancel {
    id: i64,
    expected_version: Option<i32>,
}

impl Document for Cancel {
    type Facts = Option<StockCount>;
    /// The stock count before it.
    type Decision = StockCount;
    type Answer = StockCount;

    fn kind(&self) -> &'static str {
        "stock_count_cancellation"
    }

    fn rows(&self) -> &[RowKey] {
        &[]
    }

    async fn lock(&self, tx: &mut PgConnection) -> sqlx::Result<()> {
        queries::lock(tx, self.id).await
    }

    async fn read(&self, tx: &mut PgConnection) -> Result<Option<StockCount>, ApiError> {
        Ok(queries::get(tx, self.id).await?)
    }

    fn decide(
        &self,
        _rows: &[StockRow],
        facts: &Option<StockCount>,
    ) -> Result<Decided<'_, StockCount>, ApiError> {
        let before = facts.clone().ok_or(NO_SUCH)?;
        before.status.require_open()?;
        before.expect_version(self.expected_version)?;
        Ok(Decided {
            status: StatusCode::OK,
            changes: Vec::new(),
            decision: before,
        })
    }

    async fn finish(
        &self,
        context: &CommandContext,
        tx: &mut PgConnection,
        before: StockCount,
        _recorded: &[Option<Recorded>],
    ) -> Result<StockCount, ApiError> {
        let after = queries::set_status(tx, self.id, Status::Cancelled).await?;
        let states = (Some(&before), Some(&after));
        context
            .record(tx, "stock_count.cancelled", self.id, states)
            .await?;
        Ok(after)
    }
}
