//! The document that enters what was counted.

use std::collections::HashMap;

use axum::http::StatusCode;
use chrono::TimeDelta;
use serde::Serialize;
use sqlx::PgConnection;

use super::{
    model::{Entered, NO_SUCH},
    queries::{self, Locked, ProductFacts},
    request::Entry,
};
use crate::{
    http::{ApiError, CommandContext, ConflictCode, Decided, Document, FieldErrors, StateConflict},
    ledger::{Recorded, RowKey, StockRow},
    timestamp::Timestamp,
};

/// How long ago something may have been counted.
const LONGEST_AGO: TimeDelta = TimeDelta::days(7);
/// Maximum number of entries about a product in a stock count.
const MOST_ENTRIES: usize = 10_000;

/// What was counted, for a stock count.
#[derive(Debug)]
pub struct Enter {
    pub id: i64,
    pub entries: Vec<Entry>,
}

/// In the audit log.
#[derive(Serialize)]
struct EnteredLines {
    lines: usize,
}

impl Document for Enter {
    /// The locked stock count, and the products that exist.
    type Facts = Option<(Locked, Vec<ProductFacts>)>;
    /// The entries with the times when they were counted.
    type Decision = Vec<(Entry, Timestamp)>;
    type Answer = Entered;

    fn kind(&self) -> &'static str {
        "stock_count_entry"
    }

    fn rows(&self) -> &[RowKey] {
        &[]
    }

    async fn lock(&self, tx: &mut PgConnection) -> sqlx::Result<()> {
        queries::lock(tx, self.id).await
    }

    async fn read(&self, tx: &mut PgConnection) -> Result<Self::Facts, ApiError> {
        let Some(locked) = queries::read(tx, self.id).await? else {
            return Ok(None);
        };
        let products: Vec<i64> = self.entries.iter().map(|entry| entry.product_id).collect();
        let facts = queries::products(tx, &locked.count, &products).await?;
        Ok(Some((locked, facts)))
    }

    fn decide(
        &self,
        _rows: &[StockRow],
        facts: &Self::Facts,
    ) -> Result<Decided<'_, Self::Decision>, ApiError> {
        let (locked, products) = facts.as_ref().ok_or(NO_SUCH)?;
        locked.count.status.require_open()?;
        let products: HashMap<i64, &ProductFacts> =
            products.iter().map(|facts| (facts.product_id, facts)).collect();
        let mut entries: HashMap<i64, usize> = HashMap::new();
        let judge = |entry: &Entry| {
            let facts = products.get(&entry.product_id).copied();
            let number = entries.entry(entry.product_id).or_default();
            *number += 1;
            locked.judge(entry, facts, *number)
        };
        let judged = FieldErrors::of_elements("lines", self.entries.iter().map(judge));
        let decision = judged.map_err(ApiError::Invalid)?;
        if let Some(applied) = products.values().find(|facts| facts.is_applied) {
            let detail = format!("The line of product {} is applied.", applied.product_id);
            return Err(StateConflict::new(ConflictCode::InvalidTransition, detail).into());
        }
        Ok(Decided {
            status: StatusCode::OK,
            changes: Vec::new(),
            decision,
        })
    }

    async fn finish(
        &self,
        context: &CommandContext,
        tx: &mut PgConnection,
        entries: Vec<(Entry, Timestamp)>,
        _recorded: &[Option<Recorded>],
    ) -> Result<Entered, ApiError> {
        let actor = context.audit_context().actor.label();
        let lines = queries::enter(tx, self.id, &entries, actor.as_deref()).await?;
        let entry = EnteredLines { lines: entries.len() };
        context
            .record(tx, "stock_count.entered", self.id, (None, Some(&entry)))
            .await?;
        Ok(Entered { lines })
    }
}

impl Locked {
    /// Judges an entry, the `number`th of its product in the request. Returns it with the time when it was counted.
    fn judge(
        &self,
        entry: &Entry,
        product: Option<&ProductFacts>,
        number: usize,
    ) -> Result<(Entry, Timestamp), FieldErrors> {
        let Some(product) = product else {
            let message = format!("Invalid pk \"{}\" - object does not exist.", entry.product_id);
            return Err(FieldErrors::field("product_id", message));
        };
        let scope = &self.count.scope;
        let is_known = product.entries.is_some();
        if !is_known && !scope.has(product.product_id, product.category_id, product.row_counted_at) {
            return Err(FieldErrors::non_field(format!(
                "Product {} is not in the scope of this stock count.",
                product.product_id
            )));
        }
        if usize::try_from(product.entries.unwrap_or(0)).unwrap_or(0) + number > MOST_ENTRIES {
            return Err(FieldErrors::non_field(format!(
                "Product {} has {MOST_ENTRIES} entries in this stock count.",
                product.product_id
            )));
        }
        let counted_at = entry.counted_at.unwrap_or(self.now);
        let earliest = [
            Some(self.count.created_at),
            Some(Timestamp(self.now.0 - LONGEST_AGO)),
            self.movements_until,
        ];
        let earliest = earliest.into_iter().flatten().max();
        if counted_at > self.now {
            return Err(FieldErrors::field(
                "counted_at",
                format!("Must not be later than {}, which is now.", self.now),
            ));
        }
        if let Some(earliest) = earliest.filter(|earliest| counted_at < *earliest) {
            return Err(FieldErrors::field(
                "counted_at",
                format!("Must not be earlier than {earliest}."),
            ));
        }
        Ok((*entry, counted_at))
    }
}
