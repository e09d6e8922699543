//! Documents of orders, and reservations.

use sqlx::PgConnection;

use super::{Checked, check};

/// Compares cancellations, fulfilments and returns with the orders and the stock that they change.
pub(super) async fn check_documents(tx: &mut PgConnection, checked: &mut Vec<Checked>) -> sqlx::Result<()> {
    check!(
        tx,
        checked,
        ["the progress of an item equals the sum of its documents"],
        "with documented as (
             select d.order_id, (item ->> 'order_item_id')::bigint as item_id,
                 coalesce(sum((item ->> 'quantity')::bigint) filter (where kind = 'CANCELLATION'), 0) as cancelled,
                 coalesce(sum((item ->> 'quantity')::bigint) filter (where kind = 'FULFILLMENT'), 0) as fulfilled,
                 coalesce(sum((item ->> 'quantity')::bigint) filter (where kind = 'RETURN'), 0) as returned,
                 sum((item ->> 'restocked')::bigint) as restocked
             from order_document d cross join lateral json_array_elements(d.items) item group by 1, 2
         )
         select array[true], format('item %s of order %s', coalesce(g.item_id, d.item_id), coalesce(g.order_id, d.order_id))
         from order_line_progress g full join documented d using (order_id, item_id)
         where (g.cancelled, g.fulfilled, g.returned, g.restocked)
             is distinct from (d.cancelled, d.fulfilled, d.returned, d.restocked)"
    );
    check!(
        tx,
        checked,
        [
            "the refunds of an order equal those of its documents",
            "an order is cancelled exactly if all its units are"
        ],
        "with documented as (
             select order_id, sum(refund_amount) as refunded from order_document group by order_id
         ), cancelled as (
             select order_id, sum(cancelled) as units from order_line_progress group by order_id
         ), sold as (
             select order_id, sum(quantity) as units from order_item join cancelled using (order_id) group by order_id
         )
         select array[
                 coalesce(o.refunded_amount, 0) <> coalesce(d.refunded, 0),
                 (o.status = 'CANCELLED') <> (coalesce(c.units, 0) > 0 and c.units = s.units)
             ], format('order %s', o.id)
         from orders o left join documented d on d.order_id = o.id left join cancelled c on c.order_id = o.id
             left join sold s on s.order_id = o.id
         where o.status = 'CANCELLED' or o.refunded_amount is not null or d.order_id is not null"
    );
    check!(
        tx,
        checked,
        ["the movements of a document put back the units that it restocks"],
        // Detached movements are not known.
        "select array[true], format('document %s', d.id)
         from (select d.id, d.created_at, d.kind, sum((item ->> 'restocked')::bigint) as units
               from order_document d cross join lateral json_array_elements(d.items) item group by d.id) d
             full join (select reference_type as kind, reference_id as id, sum(delta) as units from stock_movement
                        where reference_type in ('CANCELLATION', 'FULFILLMENT', 'RETURN') group by 1, 2) moved using (kind, id)
             cross join history_start h
         where coalesce(d.units, -1) <> coalesce(moved.units, 0) and (d.created_at <= h.movements_until) is not true"
    );
    check!(
        tx,
        checked,
        ["committed units equal the units of tracked orders that are neither cancelled nor handed over"],
        "select array[true], format('store %s, product %s', store_id, product_id)
         from (select o.store_id, i.product_id,
                   sum(i.quantity - coalesce(g.cancelled, 0) - coalesce(g.fulfilled, 0)) as units
               from orders o join order_item i on i.order_id = o.id
                   left join order_line_progress g on g.order_id = i.order_id and g.item_id = i.id
               where o.tracked group by 1, 2) owed
             full join (select store_id, product_id, committed from inventory where committed > 0) i using (store_id, product_id)
         where coalesce(owed.units, 0) <> coalesce(i.committed, 0)"
    );
    check!(
        tx,
        checked,
        ["refund counters equal the refunds of orders"],
        "select array[true], format('store %s', store_id)
         from (select store_id, sum(refunded_amount) as amount from orders where refunded_amount is not null group by 1) counted
             full join (select store_id, sum(amount) as amount from refund_tally group by 1) tally using (store_id)
         where coalesce(counted.amount, 0) <> coalesce(tally.amount, 0)"
    );
    Ok(())
}

/// Compares reserved units with the reservations.
pub(super) async fn check_reservations(
    tx: &mut PgConnection,
    checked: &mut Vec<Checked>,
) -> sqlx::Result<()> {
    check!(
        tx,
        checked,
        ["reserved units equal the units of reservations"],
        "select array[true], format('inventory %s', coalesce(i.id, r.inventory_id))
         from (select inventory_id, sum(reserved) as units from reservation_item where reserved > 0 group by 1) r
             full join (select id, reserved from inventory where reserved > 0) i on i.id = r.inventory_id
         where coalesce(r.units, 0) <> coalesce(i.reserved, 0)"
    );
    check!(
        tx,
        checked,
        [
            "an active reservation has units, and a consumed or released one has none",
            "the items of a reservation expire with it",
            "an order of the store took from a consumed reservation"
        ],
        "select array[
                 r.status <> 'EXPIRED' and (r.status = 'ACTIVE') <> (i.units > 0),
                 i.first <> r.expires_at or i.last <> r.expires_at,
                 r.status = 'CONSUMED' and (r.order_id is null or o.store_id <> r.store_id
                     or o.id is null and r.order_id >= h.first_order_id)
             ], format('reservation %s', r.id)
         from reservation r
             join (select reservation_id, sum(reserved) as units, min(expires_at) as first, max(expires_at) as last
                   from reservation_item group by 1) i on i.reservation_id = r.id
             left join orders o on o.id = r.order_id cross join history_start h"
    );
    Ok(())
}
