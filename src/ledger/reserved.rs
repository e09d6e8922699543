//! Reserved units of locked stock rows: what expired, and what a change of the quantity needs.
//!
//! An item of a reservation changes only while its stock row is locked. So `reserved` cannot change behind a lock, and
//! `quantity - reserved` is never more than what is available.

use sqlx::PgConnection;

/// Units of a stock row that are no longer reserved.
#[derive(Clone, Copy, Debug)]
pub struct Freed {
    /// The stock row.
    pub inventory_id: i64,
    /// Units.
    pub units: i32,
}

/// Ends the reservations of locked rows that have expired when this statement starts, and frees their units of these rows. Their
/// units of other rows are freed by a transaction that needs them, or by the worker.
///
/// With `locks_all`, locks the other reservations of the rows too: those that [`free_excess`](super::free_excess) frees. Reservations are locked by one
/// statement, in ascending sequence, so that two transactions do not deadlock.
pub async fn free_expired(tx: &mut PgConnection, rows: &[i64], locks_all: bool) -> sqlx::Result<Vec<Freed>> {
    sqlx::query_as!(
        Freed,
        r#"with due as materialized (
               select reservation_id, inventory_id, reserved from reservation_item
               where inventory_id = any($1) and reserved > 0 and expires_at <= statement_timestamp()
           ), locked as materialized (
               select id from reservation where id in (
                   select reservation_id from due
                   union select reservation_id from reservation_item where $2 and inventory_id = any($1) and reserved > 0
               ) order by id for no key update
           ), expired as (
               update reservation r set status = 'EXPIRED', updated_at = statement_timestamp()
               from locked where r.id = locked.id and r.status = 'ACTIVE' and r.id in (select reservation_id from due)
           ), closed as (
               update reservation_item i set reserved = 0 from due
               where i.reservation_id = due.reservation_id and i.inventory_id = due.inventory_id
           ), freed as (
               select inventory_id, sum(reserved)::integer as units from due group by inventory_id
           )
           update inventory i set reserved = reserved - units from freed where i.id = freed.inventory_id
           returning i.id as inventory_id, units as "units!""#,
        rows,
        locks_all
    )
    .fetch_all(tx)
    .await
}

/// Frees at least `units` of the newest reserved units of each row. The rows and their reservations must be locked.
pub(super) async fn free_newest(tx: &mut PgConnection, ids: &[i64], units: &[i32]) -> sqlx::Result<()> {
    let newest = sqlx::query!(
        r#"with newest as materialized (
               select i.reservation_id, i.inventory_id, excess,
                   sum(i.reserved) over (partition by i.inventory_id order by i.reservation_id desc) - i.reserved as newer
               from unnest($1::bigint[], $2::integer[]) as wanted (inventory_id, excess)
                   join reservation_item i on i.inventory_id = wanted.inventory_id and i.reserved > 0
           )
           select reservation_id, inventory_id from newest where newer < excess"#,
        ids,
        units
    )
    .fetch_all(&mut *tx)
    .await?;
    let (reservations, items): (Vec<i64>, Vec<i64>) = newest
        .iter()
        .map(|item| (item.reservation_id, item.inventory_id))
        .unzip();
    // It sees which of their other items are closed, because the reservations are locked.
    sqlx::query!(
        "with closed as (
             select i.reservation_id, i.inventory_id, i.reserved
             from unnest($1::bigint[], $2::bigint[]) as c (reservation_id, inventory_id)
                 join reservation_item i using (reservation_id, inventory_id)
         ), item as (
             update reservation_item i set reserved = 0 from closed c
             where i.reservation_id = c.reservation_id and i.inventory_id = c.inventory_id
         ), lost as (
             update reservation r set stock_lost = true, updated_at = statement_timestamp(),
                 status = case when r.status <> 'ACTIVE' or exists (
                     select from reservation_item i where i.reservation_id = r.id and i.reserved > 0
                         and (i.reservation_id, i.inventory_id) not in (select reservation_id, inventory_id from closed)
                 ) then r.status else 'RELEASED' end
             where r.id = any($1)
         )
         update inventory i set reserved = i.reserved - freed.units
         from (select inventory_id, sum(reserved) as units from closed group by inventory_id) freed
         where i.id = freed.inventory_id",
        &reservations,
        &items
    )
    .execute(tx)
    .await
    .map(drop)
}
