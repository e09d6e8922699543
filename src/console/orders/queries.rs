//! The SQL of the pages of orders. The list is read from a key on, so no filter reads rows that are not shown.

use chrono::{DateTime, NaiveDate, Utc};
use sqlx::{PgExecutor, QueryBuilder};

use crate::{
    auth::Stores,
    console::query::Query,
    db::ReadPool,
    money::Money,
    order::Order,
    timespan::{Range, Table},
};

/// The statuses, as the filter lists them.
pub const STATUSES: [&str; 4] = ["CONFIRMED", "REJECTED", "PENDING", "CANCELLED"];
/// The parameter for the time from which orders are listed. Links of the overview set it; it has no control.
pub const SINCE: &str = "from_moment";
/// The most stores that a search by name finds.
const FOUND_STORES: i64 = 2000;

/// An order as a row of the list.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Row {
    pub id: i64,
    pub store_id: i64,
    pub store_name: String,
    pub status: String,
    /// Blank unless the order was rejected.
    pub rejection_reason: String,
    pub total_amount: Money,
    pub item_count: i64,
    pub created_at: DateTime<Utc>,
    /// The client's reference.
    pub external_reference: Option<String>,
    /// Name of the customer, or another member if there is no name.
    pub customer: Option<String>,
}

/// Which orders are shown.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Only orders of these stores.
    pub stores: Option<Vec<i64>>,
    /// Only orders with this status.
    pub status: Option<&'static str>,
    /// Also this order, if it belongs to one of these stores: a store may have a number as its name.
    pub order: Option<(i64, Option<Vec<i64>>)>,
    /// Only orders from this day on, in UTC.
    pub from: Option<NaiveDate>,
    /// Only orders up to this day.
    pub to: Option<NaiveDate>,
    /// Only orders from this time on.
    pub since: Option<DateTime<Utc>>,
    /// The oldest first.
    pub oldest_first: bool,
}

impl Filter {
    /// Reads the filters of a query, within the stores that are granted.
    pub async fn read(db: &ReadPool, query: &mut Query, granted: &Stores) -> sqlx::Result<Self> {
        let mut filter = Self {
            stores: granted.intersect(query.read_id("store")),
            status: query.read_choice("status", &STATUSES.map(|status| (status, status))),
            order: None,
            from: query.read_day("from"),
            to: query.read_day("to"),
            since: query.read_moment(SINCE),
            oldest_first: query.sort(&["-placed"]) == ("placed", false),
        };
        let Some(text) = query.get("q") else {
            return Ok(filter);
        };
        let number = text.strip_prefix('#').unwrap_or(text);
        if number.bytes().all(|byte| byte.is_ascii_digit()) {
            let within = filter.stores.clone();
            filter.order = Some((number.parse().unwrap_or(0), within));
        }
        filter.stores = Some(if text == number {
            query.rows(named(db, filter.stores.as_deref(), text)).await?
        } else {
            Vec::new()
        });
        Ok(filter)
    }

    /// The ids and times of the orders of the filter.
    pub async fn range(&self, db: &ReadPool) -> sqlx::Result<Range> {
        Range::of(db, Table::Orders, (self.from, self.to), self.since).await
    }

    /// Whether new orders appear on top of the list.
    pub fn is_live(&self) -> bool {
        self.order.is_none()
            && self.from.is_none()
            && self.to.is_none()
            && self.since.is_none()
            && !self.oldest_first
    }

    /// Whether the store and the status of an order match.
    pub fn takes(&self, row: &Row) -> bool {
        let stores = self.stores.as_ref();
        stores.is_none_or(|stores| stores.contains(&row.store_id))
            && self.status.is_none_or(|status| status == row.status)
    }
}

async fn named(db: &ReadPool, stores: Option<&[i64]>, text: &str) -> sqlx::Result<Vec<i64>> {
    sqlx::query_scalar!(
        "select id from store where search_fold(name) like search_pattern($1) and ($2::bigint[] is null or id = any($2))
         order by name, id limit $3",
        text,
        stores,
        FOUND_STORES
    )
    .fetch_all(db)
    .await
}

/// Ids of orders that `filter` takes, within `range`, up to `limit` in the direction that is asked for.
pub async fn ids(
    db: &ReadPool,
    filter: &Filter,
    range: Range,
    ascending: bool,
    limit: i64,
) -> sqlx::Result<Vec<i64>> {
    let order = if ascending {
        " order by id"
    } else {
        " order by id desc"
    };
    let mut query = QueryBuilder::new("");
    if let Some(stores) = &filter.stores {
        // The index of a store's orders is by status first, so its orders are those of each status, merged.
        let statuses: Vec<&str> = filter.status.map_or(STATUSES.to_vec(), |status| vec![status]);
        query
            .push("select found.id from unnest(")
            .push_bind(stores.clone());
        query
            .push("::bigint[]) as s (id) cross join unnest(")
            .push_bind(statuses);
        query.push(
            "::text[]) as wanted (status) cross join lateral (
                 select o.id from orders o where o.store_id = s.id and o.status = wanted.status",
        );
        range.push(&mut query, "o.");
        query
            .push(order)
            .push(" limit ")
            .push_bind(limit)
            .push(") as found");
        if let Some((id, within)) = &filter.order {
            query
                .push(" union select o.id from orders o where o.id = ")
                .push_bind(id);
            if let Some(stores) = within {
                query.push(" and o.store_id = any(").push_bind(stores).push(")");
            }
            if let Some(status) = filter.status {
                query.push(" and o.status = ").push_bind(status);
            }
            range.push(&mut query, "o.");
        }
    } else {
        query.push("select o.id from orders o where true");
        if let Some(status) = filter.status {
            query.push(" and o.status = ").push_bind(status);
        }
        range.push(&mut query, "o.");
    }
    query.push(order).push(" limit ").push_bind(limit);
    // Planned for these filters: a generic plan would read whole tables for some of them.
    query.build_query_scalar().persistent(false).fetch_all(db).await
}

/// The rows of some orders, the newest first or last.
pub async fn rows(db: impl PgExecutor<'_>, ids: &[i64], ascending: bool) -> sqlx::Result<Vec<Row>> {
    let mut rows = sqlx::query_as!(
        Row,
        r#"select o.id, o.store_id, s.name as store_name, o.status, o.rejection_reason,
               o.total_amount as "total_amount: Money", o.created_at, o.external_reference,
               coalesce(o.customer ->> 'name', o.customer ->> 'email', o.customer ->> 'reference', o.customer ->> 'phone')
                   as customer,
               (select count(*) from order_item i where i.order_id = o.id) as "item_count!"
           from orders o join store s on s.id = o.store_id where o.id = any($1) order by o.id desc"#,
        ids
    )
    .fetch_all(db)
    .await?;
    if ascending {
        rows.reverse();
    }
    Ok(rows)
}

/// How many orders `filter` takes, where that is counted already.
pub async fn count(db: impl PgExecutor<'_>, filter: &Filter) -> sqlx::Result<Option<i64>> {
    if filter.order.is_some() || filter.from.is_some() || filter.to.is_some() || filter.since.is_some() {
        return Ok(None);
    }
    sqlx::query_scalar!(
        r#"select coalesce(sum(orders), 0)::bigint as "count!" from order_tally
           where ($1::bigint[] is null or store_id = any($1)) and ($2::text is null or status = $2)"#,
        filter.stores.as_deref(),
        filter.status
    )
    .fetch_one(db)
    .await
    .map(Some)
}

/// The ids of the latest orders, the latest first.
pub async fn latest_ids(db: impl PgExecutor<'_>, limit: i64) -> sqlx::Result<Vec<i64>> {
    sqlx::query_scalar!("select id from orders order by id desc limit $1", limit)
        .fetch_all(db)
        .await
}

/// The ids of all orders above one, the oldest first.
pub async fn ids_above(db: impl PgExecutor<'_>, floor: i64) -> sqlx::Result<Vec<i64>> {
    sqlx::query_scalar!("select id from orders where id > $1 order by id", floor)
        .fetch_all(db)
        .await
}

/// A product that an order was rejected for.
#[derive(Debug)]
pub struct RejectedProduct {
    pub id: i64,
    /// Its title when the order was placed.
    pub title: String,
    /// Its stock row in the store of the order; none if the store does not sell it.
    pub stock_id: Option<i64>,
    pub quantity: Option<i32>,
}

/// The products that an order was rejected for, as far as they still exist.
pub async fn rejected_products(
    db: impl PgExecutor<'_>,
    order: &Order,
    products: &[i64],
) -> sqlx::Result<Vec<RejectedProduct>> {
    sqlx::query_as!(
        RejectedProduct,
        r#"select p.id, title_at(p.id, $3) as "title!", i.id as "stock_id?", i.quantity as "quantity?"
           from product p left join inventory i on i.product_id = p.id and i.store_id = $2
           where p.id = any($1)"#,
        products,
        order.store.id,
        order.created_at.0
    )
    .fetch_all(db)
    .await
}

/// When the confirmation of an order was sent, or withheld because the order was cancelled before.
pub async fn confirmed_at(
    db: impl PgExecutor<'_>,
    order: i64,
) -> sqlx::Result<Option<(DateTime<Utc>, bool)>> {
    let confirmation = sqlx::query!(
        r#"select confirmed_at, coalesce(withheld, false) as "withheld!" from order_confirmation where order_id = $1"#,
        order
    )
    .fetch_optional(db)
    .await?;
    Ok(confirmation.map(|found| (found.confirmed_at, found.withheld)))
}

/// A cancellation, fulfilment or return.
#[derive(Debug)]
pub struct Document {
    pub kind: String,
    pub units: i64,
    /// Its reason, or its note.
    pub note: String,
    pub created_at: DateTime<Utc>,
}

/// The first documents of an order.
pub async fn documents(db: impl PgExecutor<'_>, order: i64) -> sqlx::Result<Vec<Document>> {
    sqlx::query_as!(
        Document,
        r#"select kind, (select sum((item ->> 'quantity')::bigint) from json_array_elements(items) item)::bigint as "units!",
               coalesce(reason, note, '') as "note!", created_at
           from order_document where order_id = $1 order by id limit 200"#,
        order
    )
    .fetch_all(db)
    .await
}

/// A confirmation that was not sent yet.
#[derive(Debug)]
pub struct OutboxEntry {
    pub attempts: i32,
    pub dead_at: Option<DateTime<Utc>>,
    pub error: Option<String>,
}

/// The entry of the outbox that an order is in. No index knows the orders of an entry, so the outbox is searched only for an
/// order that it may have.
pub async fn outbox_entry(db: impl PgExecutor<'_>, order: i64) -> sqlx::Result<Option<OutboxEntry>> {
    sqlx::query_as!(
        OutboxEntry,
        "select handouts as attempts, dead_at, error from outbox where order_ids @> array[$1::bigint] limit 1",
        order
    )
    .fetch_optional(db)
    .await
}

/// A message about an order to one of the channels.
#[derive(Debug)]
pub struct Delivery {
    pub channel: String,
    pub attempts: i32,
    pub error: Option<String>,
    pub due_at: Option<DateTime<Utc>>,
    pub delivered_at: Option<DateTime<Utc>>,
    pub dead_at: Option<DateTime<Utc>>,
}

/// The messages about an order.
pub async fn deliveries(db: impl PgExecutor<'_>, order: i64) -> sqlx::Result<Vec<Delivery>> {
    sqlx::query_as!(
        Delivery,
        "select channel, attempts, error, due_at, delivered_at, dead_at from delivery where order_id = $1 order by id",
        order
    )
    .fetch_all(db)
    .await
}
