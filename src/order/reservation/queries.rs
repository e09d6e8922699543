//! The SQL of reservations.

use std::collections::HashMap;

use sqlx::{PgConnection, PgExecutor, Postgres, QueryBuilder, types::Json};

use super::{model::Reservation, request::NewReservation, status::ReservationStatus};
use crate::{
    audit::Actor,
    db::{ReadPool, Upgrade},
    http::cut,
    ledger::StockRow,
    money::Money,
    order::{
        allocation::{self, Stock},
        data::Metadata,
    },
    store::StoreSummary,
};

/// The most reservations that a request for a list examines.
const MOST_EXAMINED: i64 = 10_000;

/// A reservation past its time has ended, also before its units are freed.
const SELECT: &str = "select r.id, r.store_id, r.current_status as status, r.expires_at, r.order_id, r.stock_lost, r.reference,
        r.metadata, r.created_at, r.updated_at, coalesce((
            select json_agg(json_build_object('product_id', product_id, 'quantity', quantity,
                'reserved', case r.current_status when 'ACTIVE' then reserved else 0 end) order by product_id)
            from reservation_item where reservation_id = r.id
        ), '[]') as items
    from (select *, case when status = 'ACTIVE' and expires_at <= statement_timestamp() then 'EXPIRED' else status end as current_status
          from reservation";

/// Which reservations are listed.
#[derive(Debug, Default)]
pub struct Filter {
    /// Only of these stores.
    pub stores: Option<Vec<i64>>,
    /// Only with this status.
    pub status: Option<&'static str>,
    /// Only with this reference.
    pub reference: Option<String>,
}

/// A reservation.
pub async fn get(db: impl PgExecutor<'_>, id: i64) -> sqlx::Result<Option<Reservation>> {
    let mut query = QueryBuilder::new(SELECT);
    query.push(" where id = ").push_bind(id).push(") r");
    query.build_query_as().fetch_optional(db).await
}

/// The reservations with an id below `before`, newest first, and the id below which the list goes on. A page may have few rows while
/// more of the list is left.
pub async fn list(
    db: &ReadPool,
    filter: &Filter,
    before: i64,
) -> sqlx::Result<(Vec<Reservation>, Option<i64>)> {
    let mut query = QueryBuilder::new(SELECT);
    push_examined(&mut query, filter, before);
    query.push(" limit ").push(MOST_EXAMINED).push(") r");
    if let Some(status) = filter.status {
        query.push(" where r.current_status = ").push_bind(status);
    }
    query.push(" order by r.id desc limit 21");
    let mut rows = query.build_query_as().persistent(false).fetch_all(db).await?;
    if let Some(next) = cut(&mut rows) {
        return Ok((rows, Some(next)));
    }
    let mut query = QueryBuilder::new("select id from reservation");
    push_examined(&mut query, filter, before);
    query.push(" limit 1 offset ").push(MOST_EXAMINED - 1);
    let last = query.build_query_scalar().persistent(false);
    Ok((rows, last.fetch_optional(db).await?))
}

fn push_examined(query: &mut QueryBuilder<Postgres>, filter: &Filter, before: i64) {
    query.push(" where id < ").push_bind(before);
    if let Some(stores) = &filter.stores {
        query
            .push(" and store_id = any(")
            .push_bind(stores.clone())
            .push(")");
    }
    if let Some(reference) = &filter.reference {
        query.push(" and reference = ").push_bind(reference.clone());
    }
    query.push(" order by id desc");
}

/// What the decision about a new reservation needs beside its stock rows.
#[derive(Debug, Default)]
pub struct Facts {
    /// Whether no server of an earlier release is running.
    pub is_upgraded: bool,
    /// How many active reservations the holder has in the store.
    pub active: i64,
    /// The store, if it is active.
    store: Option<StoreSummary>,
    /// The products by id.
    products: HashMap<i64, Product>,
}

#[derive(Clone, Debug)]
struct Product {
    title: String,
    price: Money,
    is_active: bool,
}

impl Facts {
    /// The locked rows as an order sees them.
    pub fn stock(&self, rows: &[StockRow]) -> Stock {
        let rows = rows.iter().filter_map(|row| {
            let product = self.products.get(&row.product_id)?.clone();
            Some(allocation::StockRow {
                id: row.id,
                store_id: row.store_id,
                product_id: row.product_id,
                quantity: row.quantity,
                reserved: row.reserved,
                committed: row.committed,
                title: product.title,
                price: product.price,
                is_active: product.is_active,
            })
        });
        let active = self.products.iter().filter(|(_, product)| product.is_active);
        Stock {
            rows: rows.collect(),
            stores: self.store.iter().map(|store| (store.id, store.clone())).collect(),
            stocked_elsewhere: active.map(|(id, _)| *id).collect(),
            ..Stock::default()
        }
    }
}

/// Reads what a new reservation of these products needs. Counts at most `most` reservations of the holder.
pub async fn facts(
    tx: &mut PgConnection,
    store_id: i64,
    products: &[i64],
    (holder, most): (&str, i64),
) -> sqlx::Result<Facts> {
    let row = sqlx::query!(
        r#"select exists (select from completed_upgrade where name = $4) as "is_upgraded!",
               (select count(*) from (
                   select from reservation where store_id = $1 and holder = $2 and status = 'ACTIVE'
                       and expires_at > statement_timestamp() limit $3) active) as "active!",
               s.name as "name?", s.location as "location?"
           from (values (1)) one left join store s on s.id = $1 and s.is_active"#,
        store_id,
        holder,
        most,
        Upgrade::Reservations.as_str()
    )
    .fetch_one(&mut *tx)
    .await?;
    let products = sqlx::query!(
        r#"select id, title, price as "price: Money", is_active from product where id = any($1)"#,
        products
    )
    .map(|row| {
        let product = Product {
            title: row.title,
            price: row.price,
            is_active: row.is_active,
        };
        (row.id, product)
    })
    .fetch_all(tx)
    .await?;
    let store = row.name.zip(row.location);
    Ok(Facts {
        is_upgraded: row.is_upgraded,
        active: row.active,
        store: store.map(|(name, location)| StoreSummary {
            id: store_id,
            name,
            location,
        }),
        products: products.into_iter().collect(),
    })
}

/// Units of a stock row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowUnits {
    /// The stock row.
    pub inventory_id: i64,
    /// Its product.
    pub product_id: i64,
    /// Units.
    pub units: i32,
}

/// Creates a reservation, and reserves the units of the locked rows. Returns its id.
pub async fn insert(
    tx: &mut PgConnection,
    new: &NewReservation,
    holder: &str,
    actor: &Actor,
    items: &[RowUnits],
) -> sqlx::Result<i64> {
    let (rows, products, units) = columns(items);
    sqlx::query_scalar!(
        r#"with made as (
               insert into reservation (store_id, expires_at, reference, metadata, holder, actor, actor_name)
               values ($1, statement_timestamp() + make_interval(secs => $2::integer), $3, $4, $5, $6, $7)
               returning id, expires_at
           ), wanted as (
               select * from unnest($8::bigint[], $9::bigint[], $10::integer[]) as w (inventory_id, product_id, units)
           ), item as (
               insert into reservation_item (reservation_id, inventory_id, product_id, quantity, reserved, expires_at)
               select made.id, inventory_id, product_id, units, units, made.expires_at from made cross join wanted
           ), held as (
               update inventory i set reserved = reserved + units from wanted where i.id = inventory_id
           )
           select id from made"#,
        new.store_id,
        new.ttl_seconds,
        new.reference,
        new.metadata.as_ref().map(Json) as Option<Json<&Metadata>>,
        holder,
        actor.label(),
        actor.name(),
        &rows,
        &products,
        &units
    )
    .fetch_one(tx)
    .await
}

/// A locked reservation.
#[derive(Clone, Debug)]
pub struct Locked {
    /// Its status when the statement that locked it began.
    pub status: ReservationStatus,
    /// The latest order that took units from it.
    pub order_id: Option<i64>,
    /// What is still reserved.
    pub items: Vec<RowUnits>,
}

/// Locks a reservation whose stock rows are locked, and reads it.
pub async fn lock(tx: &mut PgConnection, id: i64) -> sqlx::Result<Option<Locked>> {
    let rows = sqlx::query!(
        r#"select case when status = 'ACTIVE' and r.expires_at <= statement_timestamp() then 'EXPIRED' else status
               end as "status!: ReservationStatus", order_id, inventory_id, product_id, reserved
           from reservation r join reservation_item i on i.reservation_id = r.id
           where r.id = $1 order by product_id for no key update of r"#,
        id
    )
    .fetch_all(tx)
    .await?;
    let items = rows.iter().map(|row| RowUnits {
        inventory_id: row.inventory_id,
        product_id: row.product_id,
        units: row.reserved,
    });
    Ok(rows.first().map(|first| Locked {
        status: first.status,
        order_id: first.order_id,
        items: items.collect(),
    }))
}

/// Sets the time at which a locked reservation expires.
pub async fn extend(tx: &mut PgConnection, id: i64, ttl_seconds: i32, shorten: bool) -> sqlx::Result<()> {
    sqlx::query!(
        "with extended as (
             update reservation set updated_at = statement_timestamp(),
                 expires_at = greatest(statement_timestamp() + make_interval(secs => $2::integer),
                     case when $3 then null else expires_at end)
             where id = $1 returning id, expires_at
         )
         update reservation_item i set expires_at = e.expires_at from extended e where i.reservation_id = e.id",
        id,
        ttl_seconds,
        shorten
    )
    .execute(tx)
    .await
    .map(drop)
}

/// Frees units of a locked reservation. It has ended once none is left.
pub async fn release(tx: &mut PgConnection, id: i64, items: &[RowUnits], is_all: bool) -> sqlx::Result<()> {
    let (rows, _, units) = columns(items);
    sqlx::query!(
        "with freed as (
             select * from unnest($2::bigint[], $3::integer[]) as f (inventory_id, units)
         ), released as (
             update reservation set updated_at = statement_timestamp(), status = case when $4 then 'RELEASED' else status end
             where id = $1
         ), item as (
             update reservation_item i set reserved = reserved - units from freed f
             where reservation_id = $1 and i.inventory_id = f.inventory_id
         )
         update inventory i set reserved = reserved - units from freed f where i.id = f.inventory_id",
        id,
        &rows,
        &units,
        is_all
    )
    .execute(tx)
    .await
    .map(drop)
}

fn columns(items: &[RowUnits]) -> (Vec<i64>, Vec<i64>, Vec<i32>) {
    (
        items.iter().map(|item| item.inventory_id).collect(),
        items.iter().map(|item| item.product_id).collect(),
        items.iter().map(|item| item.units).collect(),
    )
}
