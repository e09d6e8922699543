//! Demo documents: reservations, and cancellations and returns of the latest orders.

use sqlx::PgConnection;

/// Most reservations, and most documents of orders.
const MOST: i64 = 200;

/// Reserves a unit of some stock rows: a third of the reservations are active for a day, the others have ended.
pub async fn add_reservations(db: &mut PgConnection, orders: u32) -> sqlx::Result<()> {
    sqlx::query!(
        "with picked as (
             select i.id, i.store_id, i.product_id,
                 (array['ACTIVE', 'RELEASED', 'EXPIRED'])[1 + row_number() over (order by i.id) % 3] as status
             from inventory i join store s on s.id = i.store_id join product p on p.id = i.product_id
             where s.is_active and p.is_active and i.quantity >= 10 and i.reserved = 0 order by i.id limit $1
         ), made as (
             insert into reservation (store_id, status, expires_at, reference, holder, created_at, updated_at)
             select store_id, status, now() + case status when 'ACTIVE' then interval '1 day' else interval '-1 hour' end,
                 'cart-' || id, '', now() - interval '1 day', now()
             from picked
             returning id, reference, status, expires_at
         ), item as (
             insert into reservation_item (reservation_id, inventory_id, product_id, quantity, reserved, expires_at)
             select made.id, picked.id, product_id, 1, case made.status when 'ACTIVE' then 1 else 0 end, expires_at
             from made join picked on made.reference = 'cart-' || picked.id
         )
         update inventory i set reserved = 1 from picked where i.id = picked.id and picked.status = 'ACTIVE'",
        most(orders)
    )
    .execute(db)
    .await
    .map(drop)
}

/// Cancels or takes back a unit of some of the latest orders. Each stock row gets at most one back.
pub async fn add_order_documents(db: &mut PgConnection, orders: u32) -> sqlx::Result<()> {
    sqlx::query!(
        r#"with latest as (
               select distinct on (o.id) o.id as order_id, i.id as item_id, i.product_id, i.quantity, i.unit_price, v.id as row,
                   (array['CANCELLATION', 'RETURN'])[1 + o.id % 2] as kind
               from orders o join order_item i on i.order_id = o.id
                   join inventory v on v.store_id = o.store_id and v.product_id = i.product_id
               where o.id > (select max(id) - $1::bigint * 5 from orders) and o.status = 'CONFIRMED' and o.tracked is not true
                   and i.quantity > 1
               order by o.id, i.id
           ), picked as (
               select distinct on (row) * from latest order by row, order_id limit $1::bigint
           ), document as (
               insert into order_document (order_id, kind, items, reason, refund_amount)
               select order_id, kind, json_build_array(json_build_object('order_item_id', item_id, 'product_id', product_id,
                       'quantity', 1, 'restocked', 1, 'refund_amount', unit_price::text)), 'Changed mind', unit_price
               from picked
               returning id, order_id, created_at
           ), progress as (
               insert into order_line_progress (order_id, item_id, quantity, cancelled, returned, restocked)
               select order_id, item_id, quantity, (kind = 'CANCELLATION')::integer, (kind = 'RETURN')::integer, 1 from picked
           ), changed as (
               update orders o set version = 2, refunded_amount = nullif(unit_price, 0) from picked where o.id = order_id
           ), stocked as (
               update inventory i set quantity = i.quantity + 1, updated_at = now() from picked where i.id = row
               returning i.id, i.quantity
           )
           insert into stock_movement (inventory_id, order_id, kind, delta, quantity_after, reason, reference_type, reference_id, created_at)
           select s.id, order_id, case kind when 'RETURN' then 'RETURN' else 'CANCEL' end, 1, s.quantity, 'Changed mind', kind, d.id,
               d.created_at
           from picked join document d using (order_id) join stocked s on s.id = row"#,
        most(orders)
    )
    .execute(db)
    .await
    .map(drop)
}

/// One for a hundred orders.
fn most(orders: u32) -> i64 {
    MOST.min(i64::from(orders / 100))
}
