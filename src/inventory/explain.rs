//! The quantity of a stock row, explained by the sums of its movements.

use serde::Serialize;
use utoipa::ToSchema;

use super::model::NO_SUCH;
use crate::{
    db::ReadPool,
    http::{ApiError, ScanLimit},
};

/// More movements than this are summed for one request at a time.
const MANY: i64 = 20_000;
const BUSY: &str = "Too many sums of long ledgers are under way, try again later.";

/// The quantity of a stock row, and the units that explain it.
#[derive(Debug, Default, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Explanation {
    /// Id of the stock row.
    inventory_id: i64,
    /// Units by cause; negative if removed. Their sum is `quantity`.
    terms: Terms,
    /// Units that can be sold.
    quantity: i32,
    /// The part of `quantity` that is promised to reservations.
    reserved: i32,
    /// `quantity - reserved`
    available: i32,
    /// Units that are sold and not handed over yet.
    committed: i32,
    /// Units that are in the store: `quantity + committed`
    on_hand: i32,
    /// Whether the sum of the terms is `quantity`. It always is, unless another program has written to the database.
    balanced: bool,
}

/// Defines the terms, each with the movements that it sums: a kind, and for adjustments a reason.
macro_rules! terms {
    ($($(#[$doc:meta])* $name:ident: $movements:pat,)*) => {
        /// Units of a stock row by cause.
        #[derive(Debug, Default, Serialize, ToSchema)]
        #[serde(deny_unknown_fields)]
        pub struct Terms {
            /// Detached movements, of all kinds.
            opening_balance: i64,
            $($(#[$doc])* $name: i64,)*
            /// Movements of kinds that this server does not know.
            other: i64,
        }

        impl Terms {
            fn of(&mut self, kind: &str, reason_code: Option<&str>) -> &mut i64 {
                match (kind, reason_code) {
                    $($movements => &mut self.$name,)*
                    _ => &mut self.other,
                }
            }

            fn sum(&self) -> i64 {
                self.opening_balance + self.other $(+ self.$name)*
            }
        }
    };
}

terms! {
    /// `INITIAL`
    initial: ("INITIAL", _),
    /// `ORDER`
    sold: ("ORDER", _),
    /// `CANCEL`
    cancelled: ("CANCEL", _),
    /// `RETURN`
    returned: ("RETURN", _),
    /// `FULFILL`: 0, because the units were sold before.
    fulfilled: ("FULFILL", _),
    /// `TRANSFER_IN` and `TRANSFER_OUT`
    transferred: ("TRANSFER_IN" | "TRANSFER_OUT", _),
    /// `COUNT`, and `ADJUSTMENT` with the reason `COUNT`
    counted: ("COUNT", _) | ("ADJUSTMENT", Some("COUNT")),
    /// `IMPORT`
    imported: ("IMPORT", _),
    /// `ADJUSTMENT` with the reason `RECEIVED`
    received: ("ADJUSTMENT", Some("RECEIVED")),
    /// `ADJUSTMENT` with the reason `DAMAGED`
    damaged: ("ADJUSTMENT", Some("DAMAGED")),
    /// `ADJUSTMENT` with the reason `LOST`
    lost: ("ADJUSTMENT", Some("LOST")),
    /// `ADJUSTMENT` with the reason `FOUND`
    found: ("ADJUSTMENT", Some("FOUND")),
    /// `ADJUSTMENT` with the reason `CORRECTION`
    corrected: ("ADJUSTMENT", Some("CORRECTION")),
    /// `ADJUSTMENT` with the reason `SAMPLE`
    sampled: ("ADJUSTMENT", Some("SAMPLE")),
    /// `ADJUSTMENT` with the reason `PRODUCTION`
    produced: ("ADJUSTMENT", Some("PRODUCTION")),
    /// `ADJUSTMENT` with the reason `OTHER` or without a reason code
    adjusted: ("ADJUSTMENT", _),
    /// `REVERSAL`
    reversed: ("REVERSAL", _),
    /// `REMOVAL`: the row was moved to another store or product.
    removed: ("REMOVAL", _),
}

/// Explains a quantity. One request at a time sums many movements.
pub async fn explain(db: ReadPool, scans: &ScanLimit, inventory: i64) -> Result<Explanation, ApiError> {
    if has_many(&db, inventory).await? {
        return scans.run(BUSY, async move { read(&db, inventory).await }).await;
    }
    read(&db, inventory).await
}

async fn has_many(db: &ReadPool, inventory: i64) -> sqlx::Result<bool> {
    let beyond = sqlx::query_scalar!(
        "select id from stock_movement where inventory_id = $1 order by id offset $2 limit 1",
        inventory,
        MANY
    );
    Ok(beyond.fetch_optional(db).await?.is_some())
}

/// One statement reads row and movements, so that both are of the same moment.
async fn read(db: &ReadPool, inventory: i64) -> Result<Explanation, ApiError> {
    let rows = sqlx::query!(
        r#"select i.quantity, reserved_now(i.id, i.reserved) as "reserved!", i.committed, coalesce(o.quantity, 0) as "opening_balance!",
               m.kind as "kind?", m.reason_code, m.units as "units?"
           from inventory i left join opening_balance o on o.inventory_id = i.id
               left join lateral (
                   select kind, reason_code, sum(delta)::bigint as units
                   from stock_movement where inventory_id = i.id group by kind, reason_code
               ) m on true
           where i.id = $1"#,
        inventory
    )
    .fetch_all(db)
    .await?;
    let row = rows.first().ok_or(NO_SUCH)?;
    let mut terms = Terms {
        opening_balance: row.opening_balance.into(),
        ..Terms::default()
    };
    for row in &rows {
        let kind = row.kind.as_deref().unwrap_or_default();
        *terms.of(kind, row.reason_code.as_deref()) += row.units.unwrap_or(0);
    }
    Ok(Explanation {
        inventory_id: inventory,
        balanced: terms.sum() == i64::from(row.quantity),
        terms,
        quantity: row.quantity,
        reserved: row.reserved,
        available: row.quantity - row.reserved,
        committed: row.committed,
        on_hand: row.quantity.saturating_add(row.committed),
    })
}
