//! The SQL of reading orders. They are written by placing them, in `place.rs`.

use rust_decimal::Decimal;
use sqlx::{PgExecutor, PgPool, Postgres, QueryBuilder, types::Json};

use super::model::{Filter, Order, OrderItem, OrderRow, Rejection, Stats, Status};
use crate::{
    http::PageQuery, money::Money, product::ProductSummary, store::StoreSummary, timestamp::Timestamp,
};

pub async fn count(db: impl PgExecutor<'_>, filter: &Filter) -> sqlx::Result<i64> {
    sqlx::query_scalar!(
        r#"select coalesce(sum(orders), 0)::bigint as "count!" from order_tally
           where ($1::bigint[] is null or store_id = any($1)) and ($2::text is null or status = $2)"#,
        filter.stores.as_deref(),
        filter.status.map(Status::as_str)
    )
    .fetch_one(db)
    .await
}

/// Newest first. Ids ascend in the sequence of placement.
pub async fn list(
    db: impl PgExecutor<'_>,
    filter: &Filter,
    page: &PageQuery<OrderRow>,
) -> sqlx::Result<Vec<OrderRow>> {
    let mut query = QueryBuilder::new("with page as (");
    push_newest(&mut query, filter, page);
    query.push(" order by id desc limit ").push_bind(page.limit);
    query.push(" offset ").push_bind(page.offset).push(
        ") select o.id, s.name as store_name, s.location as store_location, o.status, o.total_amount,
               (select count(*) from order_item i where i.order_id = o.id) as item_count, o.created_at
           from page join orders o on o.id = page.id join store s on s.id = o.store_id
           order by o.id desc",
    );
    query.build_query_as().fetch_all(db).await
}

/// Selects at least the ids of a page. The index of a store's orders begins with the status, so the orders of some stores are
/// merged from those of each store and status.
fn push_newest(query: &mut QueryBuilder<Postgres>, filter: &Filter, page: &PageQuery<OrderRow>) {
    match (&filter.stores, filter.status) {
        (None, None) => {
            query
                .push("select id from orders where id < ")
                .push_bind(page.after);
        }
        (None, Some(status)) => {
            query
                .push("select id from orders where status = ")
                .push_bind(status.as_str());
            query.push(" and id < ").push_bind(page.after);
        }
        (Some(stores), status) => {
            let wanted = |one: &Status| status.is_none_or(|status| status == *one);
            let statuses: Vec<&str> = Status::ALL
                .into_iter()
                .filter(wanted)
                .map(Status::as_str)
                .collect();
            query.push("select newest.id from unnest(").push_bind(statuses);
            query.push(") as wanted (status) cross join unnest(");
            query.push_bind(stores.clone()).push(
                ") as granted (store_id) cross join lateral (
                     select id from orders where store_id = granted.store_id and status = wanted.status and id < ",
            );
            query.push_bind(page.after);
            query
                .push(" order by id desc limit ")
                .push_bind(page.offset + page.limit)
                .push(") as newest");
        }
    }
}

/// An order with its items.
pub async fn get(db: &PgPool, id: i64) -> sqlx::Result<Option<Order>> {
    let order = sqlx::query!(
        r#"select o.id, s.id as store_id, s.name, s.location, o.status as "status: Status",
               o.total_amount as "total_amount: Money", o.rejection_reason,
               o.rejections as "rejections: Json<Vec<Rejection>>",
               o.created_at as "created_at: Timestamp", o.updated_at as "updated_at: Timestamp"
           from orders o join store s on s.id = o.store_id
           where o.id = $1"#,
        id
    )
    .fetch_optional(db)
    .await?;
    let Some(order) = order else { return Ok(None) };
    let items = items(db, id, order.created_at).await?;
    Ok(Some(Order {
        id: order.id,
        store: StoreSummary {
            id: order.store_id,
            name: order.name,
            location: order.location,
        },
        status: order.status,
        total_amount: order.total_amount,
        rejection_reason: order.rejection_reason,
        item_count: items.len(),
        items,
        is_confirmed: order.status == Status::Confirmed,
        is_rejected: order.status == Status::Rejected,
        created_at: order.created_at,
        updated_at: order.updated_at,
        rejections: order.rejections.map(|rejections| rejections.0),
    }))
}

async fn items(db: impl PgExecutor<'_>, order_id: i64, placed_at: Timestamp) -> sqlx::Result<Vec<OrderItem>> {
    sqlx::query!(
        r#"select i.id, p.id as product_id, p.title, p.price as "price: Money", i.quantity,
               i.unit_price as "unit_price: Money", title_at(p.id, $2) as "title_at_order!"
           from order_item i join product p on p.id = i.product_id
           where i.order_id = $1 order by i.id"#,
        order_id,
        placed_at.0
    )
    .map(|row| OrderItem {
        id: row.id,
        product: ProductSummary {
            id: row.product_id,
            title: row.title,
            price: row.price,
        },
        quantity: row.quantity,
        unit_price: row.unit_price,
        subtotal: row.unit_price.times(row.quantity).unwrap_or_default(),
        title_at_order: row.title_at_order,
    })
    .fetch_all(db)
    .await
}

/// An order in the log of its confirmation.
#[derive(Debug)]
pub struct ConfirmedOrder {
    /// Its id.
    pub id: i64,
    /// The name of its store.
    pub store_name: String,
    /// Number of items.
    pub item_count: i64,
    /// Its total.
    pub total_amount: Money,
}

/// Reads orders for the log of their confirmation.
pub async fn confirmed(db: impl PgExecutor<'_>, orders: &[i64]) -> sqlx::Result<Vec<ConfirmedOrder>> {
    sqlx::query_as!(
        ConfirmedOrder,
        r#"select o.id, s.name as store_name, o.total_amount as "total_amount: Money",
               (select count(*) from order_item i where i.order_id = o.id) as "item_count!"
           from orders o join store s on s.id = o.store_id
           where o.id = any($1) order by o.id"#,
        orders
    )
    .fetch_all(db)
    .await
}

/// Statistics of these stores, or of all stores.
pub async fn stats(db: impl PgExecutor<'_>, stores: Option<&[i64]>) -> sqlx::Result<Stats> {
    let tally = sqlx::query!(
        r#"select coalesce(sum(orders), 0)::bigint as "total!",
               coalesce(sum(orders) filter (where status = 'CONFIRMED'), 0)::bigint as "confirmed!",
               coalesce(sum(orders) filter (where status = 'REJECTED'), 0)::bigint as "rejected!",
               coalesce(sum(orders) filter (where status = 'PENDING'), 0)::bigint as "pending!",
               coalesce(sum(amount) filter (where status = 'CONFIRMED'), 0) as "revenue!: Money"
           from order_tally where $1::bigint[] is null or store_id = any($1)"#,
        stores
    )
    .fetch_one(db)
    .await?;
    Ok(Stats {
        total_orders: tally.total,
        confirmed_orders: tally.confirmed,
        rejected_orders: tally.rejected,
        pending_orders: tally.pending,
        total_revenue: tally.revenue,
        avg_order_value: average(tally.revenue.0, tally.confirmed),
    })
}

/// The average to two places, rounded half to even. Without an order it is `0`, by the contract with the clients.
fn average(revenue: Decimal, orders: i64) -> String {
    match revenue.checked_div(Decimal::from(orders)) {
        Some(average) => format!("{:.2}", average.round_dp(2)),
        None => "0".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn averages_are_rounded_half_to_even() {
        assert_eq!(average(Decimal::new(2001, 2), 2), "10.00");
        assert_eq!(average(Decimal::new(2003, 2), 2), "10.02");
        assert_eq!(average(Decimal::new(42550, 2), 7), "60.79");
        assert_eq!(average(Decimal::ZERO, 0), "0");
        assert_eq!(average(Decimal::ZERO, 3), "0.00");
    }
}
