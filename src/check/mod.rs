//! The consistency check: recounts counters, compares stock with the ledger, and orders with their items, movements and
//! confirmations. The tests apply the same rules after each test.
//!
//! All rules read one snapshot, so that orders can be placed meanwhile. A statement reads each table once and joins by
//! hashing or sorting; a subquery per row would take hours at ten million rows.

mod counters;
mod documents;
mod orders;
mod stock;
mod stock_counts;
mod transfers;

use sqlx::{Connection, PgConnection};

/// `work_mem`: memory for each sort and hash table.
const WORK_MEM: &str = "32MB";

/// The result of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// The rule as a sentence.
    pub rule: &'static str,
    /// Number of records that violate it.
    pub broken: i64,
    /// Examples of them.
    pub examples: Vec<String>,
}

/// Checks rules with one statement. It selects a record's name and, for each rule in the sequence of the list, whether it violates
/// the rule.
macro_rules! check {
    ($tx:ident, $checked:ident, [$($rule:literal),+], $judged:literal) => {
        let found = sqlx::query!(
            "with judged (breaks, record) as (" + $judged + r#"),
             broken as (
                 select place, record, row_number() over (partition by place) as number
                 from judged cross join lateral unnest(breaks) with ordinality as rule (is_broken, place)
                 where true = any (breaks) and is_broken
             )
             select place as "place!", count(*) as "broken!",
                 array_agg(record) filter (where number <= 3) as "examples!" from broken group by place"#
        )
        .fetch_all(&mut *$tx)
        .await?;
        for (place, rule) in (1..).zip([$($rule),+]) {
            let found = found.iter().find(|found| found.place == place);
            $checked.push(Checked {
                rule,
                broken: found.map_or(0, |found| found.broken),
                examples: found.map_or_else(Vec::new, |found| found.examples.clone()),
            });
        }
    };
}

use check;

/// Checks every rule. Reads all orders, stock and ledger rows: about ten seconds for a million orders.
pub async fn run(db: &mut PgConnection) -> sqlx::Result<Vec<Checked>> {
    let mut tx = db
        .begin_with("begin isolation level repeatable read, read only")
        .await?;
    sqlx::query!("select set_config('work_mem', $1, true)", WORK_MEM)
        .fetch_one(&mut *tx)
        .await?;
    let checked = run_within(&mut tx).await?;
    tx.commit().await?;
    Ok(checked)
}

/// Checks every rule within a transaction.
pub async fn run_within(tx: &mut PgConnection) -> sqlx::Result<Vec<Checked>> {
    let mut checked = Vec::new();
    counters::check_counters(tx, &mut checked).await?;
    stock::check_stock(tx, &mut checked).await?;
    orders::check_orders(tx, &mut checked).await?;
    documents::check_documents(tx, &mut checked).await?;
    documents::check_reservations(tx, &mut checked).await?;
    orders::check_keys(tx, &mut checked).await?;
    orders::check_what_follows(tx, &mut checked).await?;
    transfers::check_transfers(tx, &mut checked).await?;
    stock_counts::check_stock_counts(tx, &mut checked).await?;
    Ok(checked)
}
