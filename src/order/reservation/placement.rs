//! Reservations that orders name: read under the locks of their stock rows, decided with the orders, written before them.

use std::collections::{BTreeMap, HashMap};

use sqlx::PgConnection;

use super::status::ReservationStatus;
use crate::order::{
    model::{NewOrder, ReservationClaim},
    references::Holder,
};

/// The reservations that a batch of orders names.
#[derive(Debug, Default)]
pub struct Reservations(HashMap<i64, Named>);

/// A locked reservation.
#[derive(Debug)]
pub struct Named {
    pub status: ReservationStatus,
    /// The latest order that took from it.
    pub order: Option<Holder>,
    /// Units that are still reserved, by product.
    pub items: BTreeMap<i64, i32>,
}

/// Why an order cannot take from a reservation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClaimRefusal {
    /// It has ended; with the order that took from it.
    Ended(ReservationStatus, Option<Holder>),
    /// It does not exist.
    Unknown,
}

impl Reservations {
    /// Reservations by id.
    pub fn new(named: impl IntoIterator<Item = (i64, Named)>) -> Self {
        Self(named.into_iter().collect())
    }

    /// Why an order cannot take from a reservation.
    pub fn refusal(&self, claim: &ReservationClaim) -> Option<ClaimRefusal> {
        match self.0.get(&claim.id) {
            None => Some(ClaimRefusal::Unknown),
            Some(named) if named.status == ReservationStatus::Active => None,
            Some(named) => Some(ClaimRefusal::Ended(named.status, named.order)),
        }
    }

    /// The units of a product that are reserved for an order.
    pub fn units(&self, order: &NewOrder, product_id: i64) -> i32 {
        let named = order
            .reservation
            .as_deref()
            .and_then(|claim| self.0.get(&claim.id));
        named
            .and_then(|named| named.items.get(&product_id))
            .copied()
            .unwrap_or(0)
    }

    /// Deducts what a confirmed order, by its index, takes of each product, and what it does not keep. Returns the units that are no
    /// longer reserved, by product.
    pub fn take(
        &mut self,
        claim: &ReservationClaim,
        taken: impl Fn(i64) -> i32,
        index: usize,
    ) -> Vec<(i64, i32)> {
        let Some(named) = self.0.get_mut(&claim.id) else {
            return Vec::new();
        };
        let mut freed = Vec::new();
        for (product_id, reserved) in &mut named.items {
            let units = if claim.keep_rest {
                taken(*product_id).min(*reserved)
            } else {
                *reserved
            };
            *reserved -= units;
            freed.push((*product_id, units));
        }
        named.order = Some(Holder::InBatch(index));
        if named.items.values().all(|reserved| *reserved == 0) {
            named.status = ReservationStatus::Consumed;
        }
        freed
    }
}

/// Locks and reads the reservations that orders name, once the stock rows are locked. Orders without one send no statement.
///
/// An order locks the stock rows of its reservation, so no other transaction can change the reservation from here on.
pub async fn lock(tx: &mut PgConnection, orders: &[NewOrder]) -> sqlx::Result<Reservations> {
    let ids: Vec<i64> = orders
        .iter()
        .filter_map(|order| Some(order.reservation.as_ref()?.id))
        .collect();
    if ids.is_empty() {
        return Ok(Reservations::default());
    }
    let rows = sqlx::query!(
        r#"with named as materialized (
               select * from reservation where id = any($1) order by id for no key update
           )
           select n.id, case when status = 'ACTIVE' and n.expires_at <= statement_timestamp() then 'EXPIRED' else status
               end as "status!: ReservationStatus", order_id, product_id, reserved
           from named n join reservation_item i on i.reservation_id = n.id"#,
        &ids
    )
    .fetch_all(tx)
    .await?;
    let mut named = HashMap::new();
    for row in rows {
        let reservation = named.entry(row.id).or_insert_with(|| Named {
            status: row.status,
            order: row.order_id.map(Holder::Stored),
            items: BTreeMap::new(),
        });
        reservation.items.insert(row.product_id, row.reserved);
    }
    Ok(Reservations(named))
}

impl Reservations {
    /// Writes what orders took, before the orders are written: a quantity is never below its reserved units. `ids` are those of the
    /// orders.
    pub(in crate::order) async fn write(self, tx: &mut PgConnection, ids: &[i64]) -> sqlx::Result<()> {
        let (mut reservations, mut statuses, mut orders) = (Vec::new(), Vec::new(), Vec::new());
        let (mut item_reservations, mut products, mut left) = (Vec::new(), Vec::new(), Vec::new());
        for (id, named) in self.0 {
            let Some(Holder::InBatch(index)) = named.order else {
                continue;
            };
            reservations.push(id);
            statuses.push(named.status.as_str());
            orders.push(ids[index]);
            for (product_id, reserved) in named.items {
                item_reservations.push(id);
                products.push(product_id);
                left.push(reserved);
            }
        }
        if reservations.is_empty() {
            return Ok(());
        }
        sqlx::query!(
            "with taken as (
                 update reservation r set status = t.status, order_id = t.order_id, updated_at = statement_timestamp()
                 from unnest($1::bigint[], $2::text[], $3::bigint[]) as t (id, status, order_id) where r.id = t.id
             ), changed as (
                 select i.reservation_id, i.inventory_id, i.reserved as before, c.reserved as after
                 from unnest($4::bigint[], $5::bigint[], $6::integer[]) as c (reservation_id, product_id, reserved)
                     join reservation_item i on i.reservation_id = c.reservation_id and i.product_id = c.product_id
                 where i.reserved <> c.reserved
             ), item as (
                 update reservation_item i set reserved = after from changed c
                 where i.reservation_id = c.reservation_id and i.inventory_id = c.inventory_id
             )
             update inventory i set reserved = reserved - units
             from (select inventory_id, sum(before - after) as units from changed group by inventory_id) freed
             where i.id = freed.inventory_id",
            &reservations,
            &statuses as &[&str],
            &orders,
            &item_reservations,
            &products,
            &left
        )
        .execute(tx)
        .await
        .map(drop)
    }
}
