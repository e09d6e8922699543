//! The references that clients give to orders. At most one order of a store has a reference, unless it was rejected.
//!
//! A transaction claims the references of its orders after it has locked their stock, in ascending sequence, so that two
//! transactions cannot deadlock. If another transaction is claiming one of them, this waits for its end.

use std::collections::{HashMap, HashSet};

use sqlx::PgConnection;

use super::model::NewOrder;

/// A store and a reference.
type Key = (i64, String);

/// The orders that have the references of a batch.
#[derive(Debug, Default)]
pub struct References {
    holders: HashMap<Key, Holder>,
    /// The claimed references with the orders that they were claimed for: the first ones of the batch.
    claimed: Vec<(Key, i64)>,
}

/// An order that has a reference, or that took from a reservation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder {
    /// A stored order, by its id.
    Stored(i64),
    /// An order of the batch, by its index.
    InBatch(usize),
}

impl Holder {
    /// The id of the order; `ids` are those of the batch.
    pub fn id(self, ids: &[i64]) -> i64 {
        match self {
            Self::Stored(id) => id,
            Self::InBatch(index) => ids[index],
        }
    }
}

impl References {
    /// The order that has the reference of `order`.
    pub fn holder(&self, order: &NewOrder) -> Option<Holder> {
        self.holders.get(&key(order)?).copied()
    }

    /// Gives an order of the batch its reference.
    pub fn give(&mut self, order: &NewOrder, index: usize) {
        if let Some(key) = key(order) {
            self.holders.insert(key, Holder::InBatch(index));
        }
    }

    /// Claims the references of orders whose stores exist; `ids` are those of the orders. Orders without references send no
    /// statement.
    pub(super) async fn claim(
        tx: &mut PgConnection,
        orders: &[NewOrder],
        ids: &[i64],
        is_store: impl Fn(i64) -> bool,
    ) -> sqlx::Result<Self> {
        let mut wanted: HashMap<Key, i64> = HashMap::new();
        for (order, id) in orders.iter().zip(ids) {
            if let Some(key) = key(order).filter(|(store, _)| is_store(*store)) {
                wanted.entry(key).or_insert(*id);
            }
        }
        let mut references = Self::default();
        // A reference that another order had may have become free before it was looked up.
        while !wanted.is_empty() {
            for key in claim(tx, &wanted).await? {
                if let Some(id) = wanted.remove(&key) {
                    references.claimed.push((key, id));
                }
            }
            if wanted.is_empty() {
                break;
            }
            for (key, id) in holders(tx, &wanted).await? {
                wanted.remove(&key);
                references.holders.insert(key, Holder::Stored(id));
            }
        }
        Ok(references)
    }

    /// Frees the claimed references that no order of the batch has got, and corrects those that a later order has got.
    pub(super) async fn settle(self, tx: &mut PgConnection, ids: &[i64]) -> sqlx::Result<()> {
        let (mut stores, mut references, mut orders) = (Vec::new(), Vec::new(), Vec::new());
        for (key, claimed_for) in self.claimed {
            let holder = match self.holders.get(&key) {
                Some(Holder::InBatch(index)) => ids.get(*index).copied(),
                _ => None,
            };
            if holder != Some(claimed_for) {
                stores.push(key.0);
                references.push(key.1);
                orders.push(holder);
            }
        }
        if stores.is_empty() {
            return Ok(());
        }
        sqlx::query!(
            "with changed as (
                 select * from unnest($1::bigint[], $2::text[], $3::bigint[]) as c (store_id, reference, order_id)
             ), freed as (
                 delete from order_reference r using changed c
                 where r.store_id = c.store_id and r.reference = c.reference and c.order_id is null
             )
             update order_reference r set order_id = c.order_id from changed c
             where r.store_id = c.store_id and r.reference = c.reference and c.order_id is not null",
            &stores,
            &references,
            &orders as &[Option<i64>]
        )
        .execute(tx)
        .await
        .map(drop)
    }
}

fn key(order: &NewOrder) -> Option<Key> {
    Some((order.store_id, order.reference()?.to_owned()))
}

/// Claims the references that are free, and returns them.
async fn claim(tx: &mut PgConnection, wanted: &HashMap<Key, i64>) -> sqlx::Result<HashSet<Key>> {
    let (stores, references) = columns(wanted);
    let orders: Vec<i64> = wanted.values().copied().collect();
    let claimed = sqlx::query!(
        r#"insert into order_reference (store_id, reference, order_id)
           select store_id, reference, order_id
           from unnest($1::bigint[], $2::text[], $3::bigint[]) as wanted (store_id, reference, order_id)
           order by store_id, reference collate "C"
           on conflict do nothing
           returning store_id, reference"#,
        &stores,
        &references as &[&str],
        &orders
    )
    .fetch_all(tx)
    .await?;
    Ok(claimed
        .into_iter()
        .map(|row| (row.store_id, row.reference))
        .collect())
}

/// The stored orders that have references.
async fn holders(tx: &mut PgConnection, wanted: &HashMap<Key, i64>) -> sqlx::Result<Vec<(Key, i64)>> {
    let (stores, references) = columns(wanted);
    let found = sqlx::query!(
        "select r.store_id, r.reference, r.order_id
         from unnest($1::bigint[], $2::text[]) as wanted (store_id, reference)
             join order_reference r on r.store_id = wanted.store_id and r.reference = wanted.reference",
        &stores,
        &references as &[&str]
    )
    .fetch_all(tx)
    .await?;
    let found = found.into_iter();
    Ok(found
        .map(|row| ((row.store_id, row.reference), row.order_id))
        .collect())
}

fn columns(wanted: &HashMap<Key, i64>) -> (Vec<i64>, Vec<&str>) {
    let keys = wanted.keys();
    keys.map(|(store, reference)| (*store, reference.as_str()))
        .unzip()
}

/// Claims the reference of a stored order, or returns the order of the store that has it.
pub(super) async fn claim_one(
    tx: &mut PgConnection,
    store_id: i64,
    reference: &str,
    order_id: i64,
) -> sqlx::Result<Option<i64>> {
    let wanted = HashMap::from([((store_id, reference.to_owned()), order_id)]);
    loop {
        if !claim(tx, &wanted).await?.is_empty() {
            return Ok(None);
        }
        if let Some((_, holder)) = holders(tx, &wanted).await?.pop() {
            return Ok(Some(holder));
        }
    }
}
