//! The document that all changes of transfers are.

use axum::http::StatusCode;
use sqlx::PgConnection;

use super::{
    decision::{Action, Move, TransferState},
    model::Transfer,
    queries,
};
use crate::{
    db::violated_constraint,
    http::{
        Answered, ApiError, CommandContext, Decided, Document, IfMatch, Precondition, StateConflict,
        carry_out,
    },
    ledger::{Change, Recorded, Refusal, RefusalCode, RowKey, StockRow},
};

pub(super) const NO_SUCH: ApiError = ApiError::NotFound("Transfer");

/// A change of a transfer, or a new one.
#[derive(Debug)]
pub struct TransferDocument {
    pub subject: Subject,
    pub actions: Vec<Action>,
    pub expected_version: Option<i32>,
    /// The representation that the client has read, of a change of a draft.
    pub if_match: Option<IfMatch>,
    /// The stock rows that it may change.
    pub keys: Vec<RowKey>,
}

#[derive(Debug)]
pub enum Subject {
    /// A new transfer, without an id.
    New(TransferState),
    /// The transfer with this id.
    Existing(i64),
}

impl TransferDocument {
    /// An action on a transfer.
    pub fn of(id: i64, action: Action, expected_version: Option<i32>, keys: Vec<RowKey>) -> Self {
        Self {
            subject: Subject::Existing(id),
            actions: vec![action],
            expected_version,
            if_match: None,
            keys,
        }
    }

    /// Carries it out.
    pub async fn carry_out(&self, context: &CommandContext) -> Result<Answered<Transfer>, ApiError> {
        carry_out(context, self).await
    }

    /// The kind in metrics, and the action in the audit log.
    fn names(&self) -> (&'static str, &'static str) {
        match (&self.subject, self.actions.first()) {
            (Subject::New(_), _) | (_, None) => ("transfer", "transfer.created"),
            (_, Some(Action::Change { .. })) => ("transfer_change", "transfer.changed"),
            (_, Some(Action::Ship(_))) => ("shipment", "transfer.shipped"),
            (_, Some(Action::Receive { .. })) => ("receipt", "transfer.received"),
            (_, Some(Action::Cancel(_))) => ("transfer_cancellation", "transfer.cancelled"),
        }
    }
}

impl Document for TransferDocument {
    /// The transfer under its lock, and a draft as the audit log shows it before a change.
    type Facts = (Option<TransferState>, Option<Transfer>);
    /// The transfer after it, and the draft before.
    type Decision = (TransferState, Option<Transfer>);
    type Answer = Transfer;

    fn kind(&self) -> &'static str {
        self.names().0
    }

    fn rows(&self) -> &[RowKey] {
        &self.keys
    }

    /// What is shipped is in stock; what arrives may be new to the store.
    fn creates_rows(&self) -> bool {
        !matches!(self.actions[..], [Action::Ship(_)])
    }

    async fn lock(&self, tx: &mut PgConnection) -> sqlx::Result<()> {
        match self.subject {
            Subject::New(_) => Ok(()),
            Subject::Existing(id) => queries::lock(tx, id).await,
        }
    }

    async fn read(&self, tx: &mut PgConnection) -> Result<Self::Facts, ApiError> {
        let id = match &self.subject {
            Subject::New(transfer) => {
                let id = queries::next_id(tx).await?;
                let transfer = TransferState {
                    id,
                    ..transfer.clone()
                };
                return Ok((Some(transfer), None));
            }
            Subject::Existing(id) => *id,
        };
        let mut before = None;
        if let Some(if_match) = &self.if_match {
            let draft = queries::get(&mut *tx, id).await?.ok_or(NO_SUCH)?;
            if_match.require(&draft)?;
            before = Some(draft);
        }
        Ok((queries::read(tx, id).await?, before))
    }

    fn decide<'a>(
        &'a self,
        rows: &[StockRow],
        (transfer, draft): &'a Self::Facts,
    ) -> Result<Decided<'a, Self::Decision>, ApiError> {
        let before = transfer.as_ref().ok_or(NO_SUCH)?;
        if self
            .expected_version
            .is_some_and(|expected| expected != before.version)
        {
            return Err(StateConflict::stale_version("transfer", before.version).into());
        }
        let mut transfer = before.clone();
        let mut changes = Vec::new();
        for action in &self.actions {
            for moved in transfer.apply(action)? {
                changes.push(change_of(before, rows, moved)?);
            }
        }
        transfer.version += 1;
        Ok(Decided {
            status: match self.subject {
                Subject::New(_) => StatusCode::CREATED,
                Subject::Existing(_) => StatusCode::OK,
            },
            changes,
            decision: (transfer, draft.clone()),
        })
    }

    async fn finish(
        &self,
        context: &CommandContext,
        tx: &mut PgConnection,
        (transfer, draft): Self::Decision,
        _recorded: &[Option<Recorded>],
    ) -> Result<Transfer, ApiError> {
        queries::write(tx, &transfer).await.map_err(refused)?;
        let after = queries::get(&mut *tx, transfer.id).await?.ok_or(NO_SUCH)?;
        let (_, action) = self.names();
        context
            .record(tx, action, after.id, (draft.as_ref(), Some(&after)))
            .await?;
        Ok(after)
    }
}

/// The change of a stock row, with the reference of the transfer.
fn change_of<'a>(
    transfer: &'a TransferState,
    rows: &[StockRow],
    moved: Move,
) -> Result<Change<'a>, ApiError> {
    let key = RowKey::Pair(moved.store_id, moved.product_id);
    let found = rows.iter().find(|row| row.is(key));
    // A row that exists only in this transaction has no id to name.
    let Some(row) = found.filter(|row| !row.is_new || moved.delta >= 0) else {
        return Err(Refusal {
            code: RefusalCode::InsufficientStock,
            quantity: Some(0),
            ..Refusal::NOT_FOUND
        }
        .into());
    };
    let after = row.plus(moved.delta).map_err(|refusal| refusal.of_row(row.id))?;
    Ok(Change {
        reference: transfer.reference.as_deref(),
        document: Some(("TRANSFER", transfer.id)),
        ..Change::new(row.id, moved.kind, (row.quantity, after))
    })
}

/// A store or a product may have been deleted after it was looked up.
fn refused(error: sqlx::Error) -> ApiError {
    let field = match violated_constraint(&error) {
        Some("transfer_from_store_id_fkey") => "from_store_id",
        Some("transfer_to_store_id_fkey") => "to_store_id",
        Some("transfer_line_product_id_fkey") => "items",
        _ => return error.into(),
    };
    ApiError::field(field, "This was deleted meanwhile.")
}
