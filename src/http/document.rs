//! Stock documents: requests that change the quantity of stock rows, such as an adjustment. All of them have one shape: lock the
//! rows in the global lock order, read what else must be current, decide, write the changes with their movements, then what
//! the document adds, and commit with the stored response.

use axum::{
    http::StatusCode,
    response::{IntoResponse, Response},
};
use metrics::counter;
use serde::Serialize;
use sqlx::PgConnection;

use super::{ApiError, CommandContext, Json};
use crate::{
    db,
    ledger::{self, Change, Recorded, RowKey, StockRow},
};

/// A stock document: what it decides and what it adds.
pub trait Document: Sync {
    /// What it reads once the rows are locked.
    type Facts: Default + Send + Sync;
    /// Its own part of the decision.
    type Decision: Send;
    /// The response.
    type Answer: Serialize + Send + Sync;

    /// The name in metrics.
    fn kind(&self) -> &'static str;

    /// The stock rows that it may change.
    fn rows(&self) -> &[RowKey];

    /// Whether it creates the rows that are missing, with a quantity of zero.
    fn creates_rows(&self) -> bool {
        false
    }

    /// Whether it gives up the newest reserved units of a row where it leaves too few.
    fn frees_reserved(&self) -> bool {
        false
    }

    /// Locks what comes before stock rows in the lock order.
    fn lock(&self, _tx: &mut PgConnection) -> impl Future<Output = sqlx::Result<()>> + Send {
        async { Ok(()) }
    }

    /// Reads what the decision needs beside the rows, once they are locked.
    fn read(&self, _tx: &mut PgConnection) -> impl Future<Output = Result<Self::Facts, ApiError>> + Send {
        async { Ok(Self::Facts::default()) }
    }

    /// Decides by the locked rows. Has no side effects.
    fn decide<'a>(
        &'a self,
        rows: &[StockRow],
        facts: &'a Self::Facts,
    ) -> Result<Decided<'a, Self::Decision>, ApiError>;

    /// Writes what the document adds, with its audit entry, and returns the response. Without `recorded` movements, as after a
    /// refusal, it writes nothing.
    fn finish(
        &self,
        context: &CommandContext,
        tx: &mut PgConnection,
        decision: Self::Decision,
        recorded: &[Option<Recorded>],
    ) -> impl Future<Output = Result<Self::Answer, ApiError>> + Send;
}

/// A decision.
#[derive(Debug)]
pub struct Decided<'a, D> {
    /// The status of the response. Nothing is written if it is an error.
    pub status: StatusCode,
    /// The changes of locked rows, each row at most once.
    pub changes: Vec<Change<'a>>,
    /// The document's own part.
    pub decision: D,
}

/// The response to a document.
#[derive(Debug)]
pub struct Answered<A> {
    /// Its status.
    pub status: StatusCode,
    /// Its body.
    pub answer: A,
}

impl<A: Serialize> IntoResponse for Answered<A> {
    fn into_response(self) -> Response {
        (self.status, Json(self.answer)).into_response()
    }
}

/// The foreign keys of documents.
const REFERENCES: [&str; 8] = [
    "reservation_store_id_fkey",
    "reservation_item_product_id_fkey",
    "transfer_from_store_id_fkey",
    "transfer_to_store_id_fkey",
    "transfer_line_product_id_fkey",
    "stock_count_store_id_fkey",
    "stock_count_category_id_fkey",
    "stock_count_line_product_id_fkey",
];

/// The error of a deletion: 409 with the detail if a document refers to the record.
pub fn refuse_deletion(error: sqlx::Error, detail: &'static str) -> ApiError {
    match db::violated_constraint(&error) {
        Some(constraint) if REFERENCES.contains(&constraint) => {
            ApiError::detail(StatusCode::CONFLICT, detail)
        }
        _ => error.into(),
    }
}

/// Carries out a document, and retries after a deadlock.
pub async fn carry_out<D: Document>(
    context: &CommandContext,
    document: &D,
) -> Result<Answered<D::Answer>, ApiError> {
    let answered = db::retry(|| attempt(context, document)).await;
    let outcome = match &answered {
        Ok(answered) if answered.status.is_success() => "done",
        Ok(_) => "refused",
        Err(error) if error.status().is_client_error() => "refused",
        Err(_) => "failed",
    };
    counter!("afforo_stock_documents_total", "kind" => document.kind(), "outcome" => outcome).increment(1);
    answered
}

async fn attempt<D: Document>(
    context: &CommandContext,
    document: &D,
) -> Result<Answered<D::Answer>, ApiError> {
    let stores = context.caller.grant.stores.as_sql_param();
    let actor = context.audit_context().actor.label();
    let mut tx = context.db().begin().await?;
    document.lock(&mut tx).await?;
    let (keys, frees_reserved) = (document.rows(), document.frees_reserved());
    let mut rows = ledger::lock_rows(&mut tx, keys, stores.clone(), &[], frees_reserved).await?;
    let mut created = Vec::new();
    if document.creates_rows() && rows.len() < keys.len() {
        // A row is missing, which is rare. The lock order requires that rows are created before any is locked.
        tx.rollback().await?;
        tx = context.db().begin().await?;
        document.lock(&mut tx).await?;
        created = ledger::create_rows(&mut tx, keys, stores.clone()).await?;
        rows = ledger::lock_rows(&mut tx, keys, stores, &created, frees_reserved).await?;
    }
    let facts = document.read(&mut tx).await?;
    let open: Vec<StockRow> = rows.iter().map(|row| row.open(frees_reserved)).collect();
    let Decided {
        status,
        changes,
        decision,
    } = document.decide(&open, &facts)?;
    if !status.is_success() {
        let answer = document.finish(context, &mut tx, decision, &[]).await?;
        tx.rollback().await?;
        return Ok(Answered { status, answer });
    }
    ledger::free_excess(&mut tx, &rows, &changes).await?;
    let recorded = ledger::write(&mut *tx, &changes, actor.as_deref()).await?;
    // A row that was created for an item that failed has no movement and no entry in the audit log.
    created.retain(|id| changes.iter().all(|change| change.inventory_id != *id));
    if !created.is_empty() {
        ledger::remove_rows(&mut tx, &created).await?;
    }
    let answer = document.finish(context, &mut tx, decision, &recorded).await?;
    context.commit_answer(tx, status, &answer).await?;
    Ok(Answered { status, answer })
}
