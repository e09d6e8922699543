//! The SQL of the overview.

use crate::db::ReadPool;
use chrono::{DateTime, Utc};
use rust_decimal::Decimal;

/// Orders of a store in an hour.
#[derive(Debug)]
pub struct HourOfStore {
    pub hour: DateTime<Utc>,
    pub store_id: i64,
    pub placed: i64,
    pub confirmed: i64,
    pub rejected: i64,
    pub revenue: Decimal,
}

/// Orders since a time, by hour and store.
pub async fn by_hour_and_store(db: &ReadPool, since: DateTime<Utc>) -> sqlx::Result<Vec<HourOfStore>> {
    sqlx::query_as!(
        HourOfStore,
        r#"select date_trunc('hour', created_at, 'UTC') as "hour!", store_id, count(*) as "placed!",
               count(*) filter (where status = 'CONFIRMED') as "confirmed!",
               count(*) filter (where status = 'REJECTED') as "rejected!",
               coalesce(sum(total_amount) filter (where status = 'CONFIRMED'), 0) as "revenue!"
           from orders where created_at >= $1 group by 1, 2"#,
        since
    )
    .fetch_all(db)
    .await
}

/// Stock that is empty, and how many orders were rejected for it.
#[derive(Debug)]
pub struct Missing {
    pub id: i64,
    pub product_title: String,
    pub store_name: String,
    pub times: i64,
}

/// Active stock that is empty, and for which some of `orders` were rejected.
pub async fn missing(db: &ReadPool, orders: &[i64], limit: i64) -> sqlx::Result<Vec<Missing>> {
    sqlx::query_as!(
        Missing,
        r#"with asked as materialized (
               select store_id, r ->> 'product_id' as product, count(*) as times
               from orders, json_array_elements(rejections) r
               where orders.id = any($1) and r ->> 'code' = 'insufficient_stock' group by 1, 2
           )
           select i.id, i.product_title, s.name as store_name, asked.times as "times!"
           from asked join inventory i on i.store_id = asked.store_id and i.product_id = asked.product::bigint
               join store s on s.id = i.store_id join product p on p.id = i.product_id
           where i.quantity = 0 and p.is_active and s.is_active order by asked.times desc, i.id limit $2"#,
        orders,
        limit
    )
    .fetch_all(db)
    .await
}
