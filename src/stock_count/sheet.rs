//! The sheet of a stock count: its lines, and the stock in its scope that was not counted.

use sqlx::{Postgres, QueryBuilder};

use super::model::{StockCount, StockCountEntry, StockCountLine};
use crate::db::ReadPool;

/// Which lines are listed.
#[derive(Debug)]
pub struct Filter {
    /// Only lines with this status.
    pub status: Option<&'static str>,
    /// Whether the expected units are hidden.
    pub is_blind: bool,
}

/// The latest orders from a stock row that are examined for units that are missing.
const EXAMINED: i32 = 1000;

/// The lines after a product, by product: one more than a page shows.
pub async fn list(
    db: &ReadPool,
    count: &StockCount,
    filter: &Filter,
    after: i64,
) -> sqlx::Result<Vec<StockCountLine>> {
    let mut query = QueryBuilder::<Postgres>::new("with page as (select product_id from (");
    if filter.status != Some("UNCOUNTED") {
        query.push("(select product_id from stock_count_line where count_id = ");
        query
            .push_bind(count.id)
            .push(" and product_id > ")
            .push_bind(after);
        if let Some(status) = filter.status {
            query.push(" and status = ").push_bind(status);
        }
        query.push(" order by product_id limit 21)");
    }
    if filter.status.is_none() {
        query.push(" union all ");
    }
    if filter.status.is_none_or(|status| status == "UNCOUNTED") {
        query.push("(");
        let ids = (count.id, count.store.id);
        count.scope.push_uncounted(&mut query, ids, after, 21);
        query.push(")");
    }
    query.push(") p order by product_id limit 21), line as (
          select l.product_id, l.counted, l.counted_at, coalesce(l.entries, 0) as entries, coalesce(l.status, 'UNCOUNTED') as status,
              l.code, l.missing, i.id as inventory_id,
              case when l.status is null then i.quantity::bigint + i.committed
                   when l.status in ('APPLIED', 'SUPERSEDED') then l.on_hand
                   when l.counted_at > h.movements_until
                       then coalesce(m.on_hand_after, m.quantity_after, o.quantity, 0)::bigint
              end as expected, page.product_id as id
          from page cross join history_start h left join stock_count_line l on l.product_id = page.product_id and l.count_id = ");
    query.push_bind(count.id);
    query.push(" left join inventory i on i.product_id = page.product_id and i.store_id = ");
    query.push_bind(count.store.id);
    query.push(
        " left join opening_balance o on o.inventory_id = i.id
              left join lateral movement_at(i.id, l.counted_at) m on l.status in ('COUNTED', 'FAILED')
          )
          select p.id as product_id, p.title as product_title, s.code as sku, line.status, line.counted, line.counted_at, line.entries,
              shown.expected, line.counted - shown.expected as variance,
              (line.counted - shown.expected) * p.price as variance_value, line.code, line.missing, sold.order_ids
          from line join product p on p.id = line.id left join product_code s on s.product_id = p.id and s.kind = 'SKU'
              cross join lateral (select case when not ",
    );
    query.push_bind(filter.is_blind);
    query.push(" then line.expected end as expected) shown
              left join lateral (
                  select array_agg(order_id order by order_id desc) as order_ids from (
                      select order_id, units, sum(units) over (order by order_id desc) - units as newer
                      from (
                          select m.order_id, greatest(0, -sum(m.delta) - coalesce((
                              select sum(g.cancelled + case when o.tracked then g.fulfilled else g.returned end)
                              from order_item t join order_line_progress g on g.order_id = t.order_id and g.item_id = t.id
                              where t.order_id = m.order_id and t.product_id = line.id
                          ), 0)) as units
                          from (select order_id, delta, created_at from stock_movement
                                where inventory_id = line.inventory_id and kind = 'ORDER' order by id desc limit ");
    query.push_bind(EXAMINED);
    query.push(
        ") m join orders o on o.id = m.order_id
                          where o.tracked or m.created_at > line.counted_at group by m.order_id, o.tracked
                      ) sold
                      where units > 0 order by order_id desc
                  ) sold
                  where newer < line.missing
                  limit 20
              ) sold on line.missing is not null
          order by p.id",
    );
    // Planned for these values: the best plan depends on the scope.
    query.build_query_as().persistent(false).fetch_all(db).await
}

/// The entries after a key, by product and id: one more than a page shows.
pub async fn entries(
    db: &ReadPool,
    count: i64,
    product: Option<i64>,
    (after, after_id): (i64, i64),
) -> sqlx::Result<Vec<StockCountEntry>> {
    let mut query = QueryBuilder::<Postgres>::new(
        "select id, product_id, counted, counted_at, is_added as add, actor, created_at from stock_count_entry where count_id = ",
    );
    query.push_bind(count).push(" and (product_id, id) > (");
    query.push_bind(after).push(", ").push_bind(after_id).push(")");
    if let Some(product) = product {
        query.push(" and product_id = ").push_bind(product);
    }
    query.push(" order by product_id, id limit 21");
    query.build_query_as().fetch_all(db).await
}
