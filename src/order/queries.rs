//! The SQL of reading orders. They are written by placing them, in `place.rs`.

use std::collections::HashMap;

use rust_decimal::Decimal;
use sqlx::{PgConnection, PgExecutor, Postgres, QueryBuilder, types::Json};

use super::{
    data::{Customer, Metadata},
    model::{Order, OrderItem, Rejection, Stats, Status},
    progress::{Fulfillment, Progress, Returned},
    row::{OrderRow, SELECT_ROWS},
};
use crate::{
    http::{Counted, PageQuery, push_place},
    money::Money,
    product::ProductSummary,
    store::StoreSummary,
    timestamp::Timestamp,
};

/// The filters for which orders need not be counted.
struct Filter {
    stores: Option<Vec<i64>>,
    status: Option<Status>,
}

/// Newest first. Ids ascend in the sequence of placement.
pub async fn list(
    db: impl PgExecutor<'_>,
    stores: Option<Vec<i64>>,
    status: Option<Status>,
    page: &PageQuery<OrderRow>,
) -> sqlx::Result<Vec<Counted<OrderRow>>> {
    let filter = &Filter { stores, status };
    let mut query = QueryBuilder::new("with total as (");
    push_count(&mut query, filter, page);
    query.push("), ");
    push_page(&mut query, filter, page);
    query.push(format!(" {SELECT_ROWS} order by o.id desc"));
    query.build_query_as().fetch_all(db).await
}

fn push_count(query: &mut QueryBuilder<Postgres>, filter: &Filter, page: &PageQuery<OrderRow>) {
    if let PageQuery::After(_) = page {
        query.push("select null::bigint as count");
        return;
    }
    query.push("select coalesce(sum(orders), 0)::bigint as count from order_tally where true");
    if let Some(stores) = &filter.stores {
        query
            .push(" and store_id = any(")
            .push_bind(stores.clone())
            .push(")");
    }
    if let Some(status) = filter.status {
        query.push(" and status = ").push_bind(status.as_str());
    }
}

/// Adds `page` with the orders of a page. Skipped orders, and those of several stores, are read from an index alone.
fn push_page(query: &mut QueryBuilder<Postgres>, filter: &Filter, page: &PageQuery<OrderRow>) {
    const ROWS: &str = ") newest cross join lateral (select * from orders where id = newest.id offset 0) o";
    match page {
        PageQuery::Later(skipped) => {
            push_place(query, *skipped);
            query.push(", page as materialized (select o.* from place cross join lateral (");
            push_newest(query, filter, "id", None, ("20 + skipped", "20 offset skipped"));
            query.push(ROWS).push(" where skipped < count)");
            return;
        }
        _ if filter.stores.is_some() => query.push("page as materialized (select o.* from ("),
        _ => query.push("page as materialized ("),
    };
    let columns = if filter.stores.is_some() { "id" } else { "*" };
    match page {
        PageQuery::After(id) => push_newest(query, filter, columns, Some(*id), ("21", "21")),
        _ => push_newest(query, filter, columns, None, ("20", "20")),
    }
    query
        .push(if filter.stores.is_some() { ROWS } else { "" })
        .push(")");
}

/// Selects orders. Rows are compared, and sorted by all columns of an index, so that PostgreSQL reads that index. With equality
/// it might filter all orders by id, which for a rare status reads the whole table. The first limit is that of each store and
/// status, the second that of all.
fn push_newest(
    query: &mut QueryBuilder<Postgres>,
    filter: &Filter,
    columns: &str,
    after: Option<i64>,
    (limit_of_each, limit): (&str, &str),
) {
    let after = after.unwrap_or(i64::MAX);
    match (&filter.stores, filter.status) {
        (None, None) => {
            query.push(format!("select {columns} from orders where id < "));
            query.push_bind(after).push(" order by id desc");
        }
        (None, Some(status)) => {
            query.push(format!("select {columns} from orders where (status, id) < ("));
            query.push_bind(status.as_str()).push(", ").push_bind(after);
            query.push(") and status >= ").push_bind(status.as_str());
            query.push(" order by status desc, id desc");
        }
        // The index begins with store and status: the orders of each pair are merged. The subqueries hide how many there are, on
        // which the estimates depend.
        (Some(stores), status) => {
            let statuses = Status::ALL
                .into_iter()
                .filter(|one| status.is_none_or(|status| status == *one));
            let statuses: Vec<&str> = statuses.map(Status::as_str).collect();
            query
                .push("select newest.id from unnest((select ")
                .push_bind(statuses);
            query
                .push(")) as wanted (status) cross join unnest((select ")
                .push_bind(stores.clone());
            query.push(
                ")) as granted (store_id) cross join lateral (
                     select id from orders where (store_id, status, id) < (granted.store_id, wanted.status, ",
            );
            query.push_bind(after);
            query.push(") and (store_id, status) >= (granted.store_id, wanted.status)");
            query.push(" order by store_id desc, status desc, id desc limit ");
            query.push(limit_of_each).push(") newest order by id desc");
        }
    }
    query.push(" limit ").push(limit);
}

/// An order with its items.
pub async fn get(db: impl PgExecutor<'_> + Copy, id: i64) -> sqlx::Result<Option<Order>> {
    let Some(order) = without_items(db, id).await? else {
        return Ok(None);
    };
    let items = items(db, &[id], &[order.created_at]).await?;
    Ok(Some(order.with_items(items)))
}

/// The same within a transaction.
pub async fn get_within(tx: &mut PgConnection, id: i64) -> sqlx::Result<Option<Order>> {
    let Some(order) = without_items(&mut *tx, id).await? else {
        return Ok(None);
    };
    let items = items(tx, &[id], &[order.created_at]).await?;
    Ok(Some(order.with_items(items)))
}

async fn without_items(db: impl PgExecutor<'_>, id: i64) -> sqlx::Result<Option<Order>> {
    sqlx::query!(
        r#"select o.id, s.id as store_id, s.name, s.location, o.status as "status: Status",
               o.total_amount as "total_amount: Money", o.rejection_reason,
               o.rejections as "rejections: Json<Vec<Rejection>>",
               o.created_at as "created_at: Timestamp", o.updated_at as "updated_at: Timestamp", o.external_reference,
               o.customer as "customer: Json<Customer>", o.note, o.metadata as "metadata: Json<Metadata>",
               coalesce(o.tracked, false) as "tracked!", coalesce(o.version, 1) as "version!",
               coalesce(o.refunded_amount, 0) as "refunded_amount!: Money"
           from orders o join store s on s.id = o.store_id
           where o.id = $1"#,
        id
    )
    .map(|order| Order {
        id: order.id,
        store: StoreSummary {
            id: order.store_id,
            name: order.name,
            location: order.location,
        },
        status: order.status,
        total_amount: order.total_amount,
        rejection_reason: order.rejection_reason,
        item_count: 0,
        items: Vec::new(),
        is_confirmed: order.status == Status::Confirmed,
        is_rejected: order.status == Status::Rejected,
        created_at: order.created_at,
        updated_at: order.updated_at,
        version: order.version,
        fulfillment: if order.tracked {
            Fulfillment::Unfulfilled
        } else {
            Fulfillment::NotTracked
        },
        returned: Returned::None,
        refunded_amount: order.refunded_amount,
        rejections: order.rejections.map(|rejections| rejections.0),
        external_reference: order.external_reference,
        customer: order.customer.map(|customer| customer.0),
        note: order.note,
        metadata: order.metadata.map(|metadata| metadata.0),
    })
    .fetch_optional(db)
    .await
}

/// The items of orders, each with the id of its order. `times` are those at which the orders were placed.
///
/// The subqueries hide the number of orders from the planner, so that it keeps one plan. The expression of the title is that of
/// `title_at`, which would be called for each item.
pub async fn items(
    db: impl PgExecutor<'_>,
    orders: &[i64],
    times: &[Timestamp],
) -> sqlx::Result<Vec<(i64, OrderItem)>> {
    sqlx::query!(
        r#"select i.order_id, i.id, p.id as product_id, p.title, p.price as "price: Money", i.quantity,
               i.unit_price as "unit_price: Money",
               coalesce((select t.title from product_title t where t.product_id = p.id and t.until > o.placed_at
                         order by t.until limit 1), p.title) as "title_at_order!",
               g.cancelled as "cancelled?", g.fulfilled as "fulfilled?", g.returned as "returned?", g.restocked as "restocked?"
           from unnest((select $1::bigint[]), (select $2::timestamptz[])) as o (id, placed_at)
               join order_item i on i.order_id = o.id join product p on p.id = i.product_id
               left join order_line_progress g on g.order_id = i.order_id and g.item_id = i.id
           order by i.order_id, i.id"#,
        orders,
        times as &[Timestamp]
    )
    .map(|row| {
        let item = OrderItem {
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
            progress: row.cancelled.map(|cancelled| Progress {
                cancelled,
                fulfilled: row.fulfilled.unwrap_or_default(),
                returned: row.returned.unwrap_or_default(),
                restocked: row.restocked.unwrap_or_default(),
            }),
        };
        (row.order_id, item)
    })
    .fetch_all(db)
    .await
}

/// Adds the items to rows of the list.
pub async fn add_items(db: impl PgExecutor<'_>, rows: &mut [Counted<OrderRow>]) -> sqlx::Result<()> {
    let orders: Vec<i64> = rows.iter().map(|counted| counted.row.id).collect();
    let times: Vec<Timestamp> = rows.iter().map(|counted| counted.row.created_at).collect();
    let mut of_orders: HashMap<i64, Vec<OrderItem>> = HashMap::new();
    for (order, item) in items(db, &orders, &times).await? {
        of_orders.entry(order).or_default().push(item);
    }
    for Counted { row, .. } in rows {
        row.items = Some(of_orders.remove(&row.id).unwrap_or_default());
    }
    Ok(())
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
               coalesce(sum(orders) filter (where status = 'CANCELLED'), 0)::bigint as "cancelled!",
               coalesce(sum(amount) filter (where status = 'CONFIRMED'), 0) as "revenue!: Money",
               coalesce(sum(amount) filter (where status in ('CONFIRMED', 'CANCELLED')), 0) as "sold!: Money",
               (select coalesce(sum(amount), 0) from refund_tally where $1::bigint[] is null or store_id = any($1))
                   as "refunded!: Money"
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
        cancelled_orders: tally.cancelled,
        refunded_amount: tally.refunded,
        net_revenue: Money(tally.sold.0 - tally.refunded.0),
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
