//! The document that applies a portion of a stock count.

use axum::http::StatusCode;
use serde::Serialize;
use sqlx::PgConnection;

use super::{
    decision::{CountedLine, Outcome},
    model::{Application, NO_SUCH, Status, StockCount, Totals},
    queries,
    request::Uncounted,
};
use crate::{
    http::{Answered, ApiError, CommandContext, Decided, Document, IdempotencyKey, carry_out},
    ledger::{Change, Movement, Recorded, RowKey, StockRow},
};

/// Lines that one transaction applies.
const PORTION: usize = 500;
/// Transactions of a request.
const MOST_PORTIONS: usize = 20;

/// A portion of the lines of a stock count.
#[derive(Debug)]
struct Portion {
    id: i64,
    uncounted: Uncounted,
    products: Vec<i64>,
    keys: Vec<RowKey>,
    expected_version: Option<i32>,
    /// Whether no lines come after it.
    is_last: bool,
    /// What a dry run has rolled back.
    before: Totals,
}

/// Applies the lines of a stock count, in portions. Only the response to the last one is stored: a request that is repeated goes on
/// where it ended.
pub async fn apply(
    context: &CommandContext,
    count: &StockCount,
    uncounted: Uncounted,
    expected_version: Option<i32>,
) -> Result<Answered<Application>, ApiError> {
    context.key.require_new(context.db()).await?;
    let without_key = CommandContext {
        key: IdempotencyKey(None),
        ..context.clone()
    };
    let mut portion = Portion {
        id: count.id,
        uncounted,
        products: Vec::new(),
        keys: Vec::new(),
        expected_version,
        is_last: false,
        before: Totals::default(),
    };
    for number in 1.. {
        let after = portion.products.last().copied().unwrap_or(0);
        let zero = uncounted == Uncounted::Zero;
        // Not from a replica, which may lack lines.
        portion.products = queries::next_products(context.db(), count, zero, after, PORTION).await?;
        let keys = portion
            .products
            .iter()
            .map(|product| RowKey::Pair(count.store.id, *product));
        portion.keys = keys.collect();
        portion.is_last = portion.products.len() < PORTION;
        if portion.is_last || number == MOST_PORTIONS {
            break;
        }
        let applied = carry_out(&without_key, &portion).await?.answer;
        if context.dry_run.0 {
            portion.before.add(applied.done);
        }
        portion.expected_version = None;
    }
    carry_out(context, &portion).await
}

/// In the audit log.
#[derive(Serialize)]
struct AppliedLines {
    applied: i64,
    superseded: i64,
    failed: i64,
}

/// A stock count, and the outcomes of its lines.
struct Judged {
    count: StockCount,
    outcomes: Vec<(i64, Outcome)>,
}

impl Document for Portion {
    type Facts = Option<(StockCount, Vec<CountedLine>)>;
    type Decision = Judged;
    type Answer = Application;

    fn kind(&self) -> &'static str {
        "stock_count_application"
    }

    fn rows(&self) -> &[RowKey] {
        &self.keys
    }

    fn creates_rows(&self) -> bool {
        true
    }

    /// What is not there cannot stay reserved.
    fn frees_reserved(&self) -> bool {
        true
    }

    async fn lock(&self, tx: &mut PgConnection) -> sqlx::Result<()> {
        queries::lock(tx, self.id).await
    }

    async fn read(&self, tx: &mut PgConnection) -> Result<Self::Facts, ApiError> {
        let Some(count) = queries::get(&mut *tx, self.id).await? else {
            return Ok(None);
        };
        if count.status != Status::Open {
            return Ok(Some((count, Vec::new())));
        }
        if self.uncounted == Uncounted::Zero {
            queries::count_none(tx, &count, &self.products).await?;
        }
        let lines = queries::lines(tx, &count, &self.products).await?;
        Ok(Some((count, lines)))
    }

    fn decide<'a>(
        &'a self,
        rows: &[StockRow],
        facts: &'a Self::Facts,
    ) -> Result<Decided<'a, Judged>, ApiError> {
        let (count, lines) = facts.as_ref().ok_or(NO_SUCH)?;
        // One that is applied has nothing left to apply.
        if count.status != Status::Applied {
            count.status.require_open()?;
        }
        count.expect_version(self.expected_version)?;
        let (mut outcomes, mut changes) = (Vec::new(), Vec::new());
        for line in lines {
            let Some(row) = rows.iter().find(|row| row.product_id == line.product_id) else {
                continue;
            };
            let outcome = line.judge(row);
            outcomes.push((line.product_id, outcome));
            if let Outcome::Applied { quantity, .. } = outcome {
                changes.push(Change {
                    is_count: true,
                    reference: count.reference.as_deref(),
                    document: Some(("STOCK_COUNT", count.id)),
                    ..Change::new(row.id, Movement::Count, (row.quantity, quantity))
                });
            }
        }
        let count = count.clone();
        Ok(Decided {
            status: StatusCode::OK,
            changes,
            decision: Judged { count, outcomes },
        })
    }

    async fn finish(
        &self,
        context: &CommandContext,
        tx: &mut PgConnection,
        Judged { mut count, outcomes }: Judged,
        recorded: &[Option<Recorded>],
    ) -> Result<Application, ApiError> {
        let done = Totals::of(&outcomes);
        if !outcomes.is_empty() {
            queries::write(tx, self.id, &outcomes, recorded).await?;
            let entry = AppliedLines {
                applied: done.applied,
                superseded: done.superseded,
                failed: done.failed,
            };
            context
                .record(tx, "stock_count.applied", self.id, (None, Some(&entry)))
                .await?;
        }
        let mut totals = queries::totals(tx, self.id).await?;
        if context.dry_run.0 {
            totals.applied += self.before.applied;
            totals.superseded += self.before.superseded;
            totals.failed = self.before.failed + done.failed;
            totals.counted = 0;
        }
        let partial = !self.is_last || totals.failed + totals.counted > 0;
        if count.status == Status::Open {
            let status = if partial { Status::Open } else { Status::Applied };
            count = queries::set_status(tx, self.id, status).await?;
        }
        Ok(Application {
            status: count.status,
            version: count.version,
            applied: totals.applied,
            failed: totals.failed,
            superseded: totals.superseded,
            partial,
            done,
        })
    }
}

impl Totals {
    fn of(outcomes: &[(i64, Outcome)]) -> Self {
        let mut totals = Self::default();
        for (_, outcome) in outcomes {
            match outcome {
                Outcome::Applied { .. } => totals.applied += 1,
                Outcome::Superseded => totals.superseded += 1,
                Outcome::Failed { .. } => totals.failed += 1,
            }
        }
        totals
    }

    fn add(&mut self, other: Self) {
        self.applied += other.applied;
        self.superseded += other.superseded;
        self.failed += other.failed;
    }
}
