//! Locked stock rows.

use sqlx::PgConnection;

use super::{Freed, free_expired};

/// Names a stock row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowKey {
    /// By its id.
    Id(i64),
    /// By its store and product.
    Pair(i64, i64),
}

/// A locked stock row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StockRow {
    /// Its id.
    pub id: i64,
    /// Its store.
    pub store_id: i64,
    /// Its product.
    pub product_id: i64,
    /// Units that can be sold.
    pub quantity: i32,
    /// The part of `quantity` that is promised.
    pub reserved: i32,
    /// Units that are sold and not handed over yet.
    pub committed: i32,
    /// Whether this transaction has created it.
    pub is_new: bool,
}

impl StockRow {
    /// The row as a change sees it that may take reserved units, or may not.
    pub fn open(self, frees_reserved: bool) -> Self {
        Self {
            reserved: if frees_reserved { 0 } else { self.reserved },
            ..self
        }
    }

    /// Whether a key names the row.
    pub fn is(&self, key: RowKey) -> bool {
        match key {
            RowKey::Id(id) => self.id == id,
            RowKey::Pair(store, product) => (self.store_id, self.product_id) == (store, product),
        }
    }
}

/// Locks the stock rows that exist, in the global lock order `(store_id, product_id)`. Only rows of `stores` exist for the
/// caller; `None` means all.
///
/// Rows among `created` are new. Ends the reservations of the rows that have expired. With `frees_reserved`, locks the others for
/// [`free_excess`](super::free_excess).
///
/// Subqueries hide the numbers of keys, on which the plan would depend: PostgreSQL would plan it each time.
///
/// The columns are current after a wait for a lock. Anything else must be read by a later statement: PostgreSQL reads only
/// the locked row again.
pub async fn lock_rows(
    tx: &mut PgConnection,
    keys: &[RowKey],
    stores: Option<Vec<i64>>,
    created: &[i64],
    frees_reserved: bool,
) -> sqlx::Result<Vec<StockRow>> {
    let ids: Vec<i64> = keys.iter().filter_map(id).collect();
    let (store_ids, product_ids): (Vec<i64>, Vec<i64>) = keys.iter().filter_map(pair).unzip();
    let mut rows = sqlx::query_as!(
        StockRow,
        r#"with wanted as (
             select unnest((select $1::bigint[])) as id
             union
             select i.id from unnest((select $2::bigint[]), $3::bigint[]) as pair (store_id, product_id)
                 join inventory i on i.store_id = pair.store_id and i.product_id = pair.product_id
         )
         select i.id, i.store_id, i.product_id, i.quantity, i.reserved, i.committed, i.id = any($5) as "is_new!"
         from wanted join inventory i on i.id = wanted.id
         where $4::bigint[] is null or i.store_id = any($4)
         order by i.store_id, i.product_id for update of i"#,
        &ids,
        &store_ids,
        &product_ids,
        stores as Option<Vec<i64>>,
        created
    )
    .fetch_all(&mut *tx)
    .await?;
    let reserved: Vec<i64> = rows
        .iter()
        .filter(|row| row.reserved > 0)
        .map(|row| row.id)
        .collect();
    if !reserved.is_empty() {
        for Freed { inventory_id, units } in free_expired(tx, &reserved, frees_reserved).await? {
            let freed = rows.iter_mut().filter(|row| row.id == inventory_id);
            freed.for_each(|row| row.reserved -= units);
        }
    }
    Ok(rows)
}

/// Creates the missing stock rows among the pairs of `keys`, with a quantity of zero, in the global lock order. Pairs of
/// unknown stores and products stay missing. Returns the ids of new rows.
pub async fn create_rows(
    tx: &mut PgConnection,
    keys: &[RowKey],
    stores: Option<Vec<i64>>,
) -> sqlx::Result<Vec<i64>> {
    let (store_ids, product_ids): (Vec<i64>, Vec<i64>) = keys.iter().filter_map(pair).unzip();
    sqlx::query_scalar!(
        "insert into inventory (store_id, product_id)
         select s.id, p.id
         from unnest($1::bigint[], $2::bigint[]) as pair (store_id, product_id)
             join store s on s.id = pair.store_id join product p on p.id = pair.product_id
         where $3::bigint[] is null or s.id = any($3)
         order by s.id, p.id
         on conflict do nothing returning id",
        &store_ids,
        &product_ids,
        stores as Option<Vec<i64>>
    )
    .fetch_all(tx)
    .await
}

/// Deletes new stock rows, which have no movements.
pub async fn remove_rows(tx: &mut PgConnection, ids: &[i64]) -> sqlx::Result<()> {
    sqlx::query!("delete from inventory where id = any($1)", ids)
        .execute(tx)
        .await
        .map(drop)
}

fn id(key: &RowKey) -> Option<i64> {
    match key {
        RowKey::Id(id) => Some(*id),
        RowKey::Pair(..) => None,
    }
}

fn pair(key: &RowKey) -> Option<(i64, i64)> {
    match key {
        RowKey::Id(_) => None,
        RowKey::Pair(store, product) => Some((*store, *product)),
    }
}
