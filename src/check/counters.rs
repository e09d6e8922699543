//! Counters and reports.

use sqlx::PgConnection;

use super::{Checked, check};

pub(super) async fn check_counters(tx: &mut PgConnection, checked: &mut Vec<Checked>) -> sqlx::Result<()> {
    check!(
        tx,
        checked,
        ["order counters equal the number and amount of orders"],
        "select array[true], format('store %s, %s', store_id, status)
         from (select store_id, status, count(*) as orders, sum(total_amount) as amount
               from orders group by store_id, status) counted
             full join (select store_id, status, sum(orders) as orders, sum(amount) as amount
                        from order_tally group by store_id, status) tally using (store_id, status)
         where coalesce(counted.orders, 0) <> coalesce(tally.orders, 0)
             or coalesce(counted.amount, 0) <> coalesce(tally.amount, 0)"
    );
    check!(
        tx,
        checked,
        ["stock counters equal the number of stock rows and low rows"],
        "select array[true], format('store %s', store_id)
         from (select store_id, count(*) as stocked, count(*) filter (where quantity <= low_stock_threshold) as low
               from inventory group by store_id) counted
             full join (select store_id, sum(stocked) as stocked, sum(low) as low
                        from stock_tally group by store_id) tally using (store_id)
         where coalesce(counted.stocked, 0) <> coalesce(tally.stocked, 0)
             or coalesce(counted.low, 0) <> coalesce(tally.low, 0)"
    );
    check!(
        tx,
        checked,
        ["product counters equal the number of products and active products"],
        "select array[true], format('category %s', category_id)
         from (select category_id, count(*) as products, count(*) filter (where is_active) as active
               from product group by category_id) counted
             full join (select category_id, sum(products) as products, sum(active) as active
                        from product_tally group by category_id) tally using (category_id)
         where coalesce(counted.products, 0) <> coalesce(tally.products, 0)
             or coalesce(counted.active, 0) <> coalesce(tally.active, 0)"
    );
    check!(
        tx,
        checked,
        ["a daily report matches the orders of its day"],
        // Orders that were pending when the report was written have been decided since, and others were cancelled. Days with detached
        // orders are left out.
        "select array[true], format('day %s', r.day)
         from daily_order_report r
             left join (select (created_at at time zone 'UTC')::date as day, count(*) as total,
                            count(*) filter (where status in ('CONFIRMED', 'CANCELLED')) as confirmed,
                            count(*) filter (where status = 'REJECTED') as rejected,
                            count(*) filter (where status = 'CANCELLED') as cancelled,
                            sum(total_amount) filter (where status = 'CONFIRMED') as least_revenue,
                            sum(total_amount) filter (where status in ('CONFIRMED', 'CANCELLED')) as revenue
                        from orders group by 1) counted using (day)
             join history_start h on r.day > (h.detached_until at time zone 'UTC')::date
         where r.total_orders <> coalesce(counted.total, 0)
             or r.total_orders - r.confirmed_orders - r.rejected_orders - r.pending_orders
                 not between 0 and coalesce(counted.cancelled, 0)
             or r.confirmed_orders > coalesce(counted.confirmed, 0)
             or r.rejected_orders > coalesce(counted.rejected, 0)
             or r.pending_orders = 0
                 and r.total_revenue not between coalesce(counted.least_revenue, 0) and coalesce(counted.revenue, 0)"
    );
    Ok(())
}
