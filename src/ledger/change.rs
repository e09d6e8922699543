//! Changes of quantities, and their movements.

use sqlx::{PgConnection, PgExecutor};

use super::{StockRow, reserved};
use crate::timestamp::Timestamp;

/// The kind of a movement, except those of orders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Movement {
    /// The opening quantity of a new stock row.
    Initial,
    /// A manual adjustment.
    Adjustment,
    /// The stock row was deleted or moved, with its remaining units.
    Removal,
    /// Earlier movements were reversed.
    Reversal,
    /// Units of an order were cancelled.
    Cancel,
    /// Units of an order were handed over.
    Fulfill,
    /// Units of an order came back.
    Return,
    /// Units left for another store.
    TransferOut,
    /// Units arrived from another store, or came back from the way to it.
    TransferIn,
    /// A stock count found more or fewer units.
    Count,
}

/// All kinds in the ledger.
pub const KINDS: [&str; 12] = [
    "INITIAL",
    "ORDER",
    "ADJUSTMENT",
    "RETURN",
    "REMOVAL",
    "CANCEL",
    "FULFILL",
    "TRANSFER_OUT",
    "TRANSFER_IN",
    "COUNT",
    "IMPORT",
    "REVERSAL",
];

impl Movement {
    /// The name in the ledger.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Initial => "INITIAL",
            Self::Adjustment => "ADJUSTMENT",
            Self::Removal => "REMOVAL",
            Self::Reversal => "REVERSAL",
            Self::Cancel => "CANCEL",
            Self::Fulfill => "FULFILL",
            Self::Return => "RETURN",
            Self::TransferOut => "TRANSFER_OUT",
            Self::TransferIn => "TRANSFER_IN",
            Self::Count => "COUNT",
        }
    }
}

/// Why an operator changed a quantity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReasonCode {
    Received,
    Damaged,
    Lost,
    Found,
    Count,
    Correction,
    Sample,
    Production,
    Other,
}

impl ReasonCode {
    /// All codes with their names.
    pub const ALL: [(&'static str, Self); 9] = [
        ("RECEIVED", Self::Received),
        ("DAMAGED", Self::Damaged),
        ("LOST", Self::Lost),
        ("FOUND", Self::Found),
        ("COUNT", Self::Count),
        ("CORRECTION", Self::Correction),
        ("SAMPLE", Self::Sample),
        ("PRODUCTION", Self::Production),
        ("OTHER", Self::Other),
    ];

    /// The name in the API and in the ledger.
    pub fn as_str(self) -> &'static str {
        let named = Self::ALL.iter().find(|(_, code)| *code == self);
        named.map_or("", |(name, _)| name)
    }
}

/// The change of the quantity of a locked stock row.
#[derive(Clone, Debug)]
pub struct Change<'a> {
    /// The stock row.
    pub inventory_id: i64,
    /// The kind of its movement.
    pub kind: Movement,
    /// The quantity before and after it.
    pub quantities: (i32, i32),
    /// Whether the quantity was set, not added to.
    pub is_count: bool,
    /// Why it was changed.
    pub reason_code: Option<ReasonCode>,
    /// The same in words.
    pub reason: Option<&'a str>,
    /// The client's reference.
    pub reference: Option<&'a str>,
    /// Units that are committed from here on; negative if they no longer are.
    pub committed: i32,
    /// The order that it concerns.
    pub order_id: Option<i64>,
    /// The document that causes it, by kind and id.
    pub document: Option<(&'static str, i64)>,
}

impl Change<'_> {
    /// A change without a reason.
    pub fn new(inventory_id: i64, kind: Movement, quantities: (i32, i32)) -> Self {
        Self {
            inventory_id,
            kind,
            quantities,
            is_count: false,
            reason_code: None,
            reason: None,
            reference: None,
            committed: 0,
            order_id: None,
            document: None,
        }
    }
}

/// A movement that was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// Its id.
    pub id: i64,
    /// Its time.
    pub created_at: Timestamp,
}

/// Writes changes of locked stock rows and their movements, in one statement; each row at most once. `actor` is such as
/// `key:12`, and `None` while the API is open. A change of zero has a movement only with a reason or a document. Returns the
/// movements.
///
/// The subquery hides the number of changes from the planner, as in [`lock_rows`](super::lock_rows).
pub async fn write(
    db: impl PgExecutor<'_>,
    changes: &[Change<'_>],
    actor: Option<&str>,
) -> sqlx::Result<Vec<Option<Recorded>>> {
    if changes.is_empty() {
        return Ok(Vec::new());
    }
    let ids: Vec<i64> = changes.iter().map(|change| change.inventory_id).collect();
    let kinds: Vec<&str> = changes.iter().map(|change| change.kind.as_str()).collect();
    let (before, after): (Vec<i32>, Vec<i32>) = changes.iter().map(|change| change.quantities).unzip();
    let counts: Vec<bool> = changes.iter().map(|change| change.is_count).collect();
    let codes: Vec<Option<&str>> = changes
        .iter()
        .map(|change| change.reason_code.map(ReasonCode::as_str))
        .collect();
    let reasons: Vec<Option<&str>> = changes.iter().map(|change| change.reason).collect();
    let references: Vec<Option<&str>> = changes.iter().map(|change| change.reference).collect();
    let committed: Vec<i32> = changes.iter().map(|change| change.committed).collect();
    let orders: Vec<Option<i64>> = changes.iter().map(|change| change.order_id).collect();
    let (document_kinds, document_ids): (Vec<Option<&str>>, Vec<Option<i64>>) =
        changes.iter().map(|change| change.document.unzip()).unzip();
    let rows = sqlx::query!(
        r#"with change as (
               select c.*, i.committed as committed_before, i.committed + newly_committed as committed_after,
                   greatest(statement_timestamp(), i.updated_at) as at
               from unnest((select $1::bigint[]), $2::text[], $3::integer[], $4::integer[], $5::boolean[], $6::text[], $7::text[],
                       $8::text[], $10::integer[], $11::bigint[], $12::text[], $13::bigint[]) with ordinality
                   as c (id, kind, before, after, is_count, code, reason, reference, newly_committed, order_id, document_kind,
                       document_id, place)
                   join inventory i on i.id = c.id
           ), changed as (
               update inventory set quantity = c.after, committed = c.committed_after, updated_at = c.at,
                   counted_at = case when c.is_count then c.at else inventory.counted_at end
               from change c where inventory.id = c.id
           ), recorded as (
               insert into stock_movement (inventory_id, kind, delta, quantity_after, on_hand_delta, on_hand_after, actor,
                   reason_code, reason, reference, order_id, reference_type, reference_id, created_at)
               select id, kind, after - before, after,
                   case when committed_before > 0 or committed_after > 0 then after - before + newly_committed end,
                   case when committed_before > 0 or committed_after > 0 then after + committed_after end,
                   $9, code, reason, reference, order_id, document_kind, document_id, at
               from change
               where before <> after or code is not null or reason is not null or document_id is not null order by place
               returning inventory_id, id, created_at
           )
           select recorded.id as "id?", recorded.created_at as "created_at?: Timestamp"
           from change left join recorded on recorded.inventory_id = change.id order by place"#,
        &ids,
        &kinds as &[&str],
        &before,
        &after,
        &counts,
        &codes as &[Option<&str>],
        &reasons as &[Option<&str>],
        &references as &[Option<&str>],
        actor,
        &committed,
        &orders as &[Option<i64>],
        &document_kinds as &[Option<&str>],
        &document_ids as &[Option<i64>]
    )
    .fetch_all(db)
    .await?;
    let recorded = rows.into_iter().map(|row| {
        Some(Recorded {
            id: row.id?,
            created_at: row.created_at?,
        })
    });
    Ok(recorded.collect())
}

/// Frees the newest reserved units of locked rows that have fewer units after the changes than are reserved.
pub async fn free_excess(
    tx: &mut PgConnection,
    rows: &[StockRow],
    changes: &[Change<'_>],
) -> sqlx::Result<()> {
    let excess = changes.iter().filter_map(|change| {
        let row = rows.iter().find(|row| row.id == change.inventory_id)?;
        let units = row.reserved - change.quantities.1;
        (units > 0).then_some((row.id, units))
    });
    let (ids, units): (Vec<i64>, Vec<i32>) = excess.unzip();
    if ids.is_empty() {
        return Ok(());
    }
    reserved::free_newest(tx, &ids, &units).await
}
