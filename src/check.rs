//! The consistency check: recounts counters, compares stock with the ledger, and orders with their items, movements and
//! confirmations. The tests apply the same rules after each test.
//!
//! All rules read one snapshot, so that orders can be placed meanwhile. A statement reads each table once and joins by
//! hashing or sorting; a subquery per row would take hours at ten million rows.

use sqlx::{Connection, PgConnection};

/// `work_mem`: memory for each sort and hash table.
const WORK_MEM: &str = "32MB";

/// The result of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// The rule as a sentence.
    pub rule: &'static str,
    /// Number of records that violate it.
    pub broken: i64,
    /// Examples of them.
    pub examples: Vec<String>,
}

/// Checks rules with one statement. It selects a record's name and, for each rule in the sequence of the list, whether it violates
/// the rule.
macro_rules! check {
    ($tx:ident, $checked:ident, [$($rule:literal),+], $judged:literal) => {
        let found = sqlx::query!(
            "with judged (breaks, record) as (" + $judged + r#"),
             broken as (
                 select place, record, row_number() over (partition by place) as number
                 from judged cross join lateral unnest(breaks) with ordinality as rule (is_broken, place)
                 where true = any (breaks) and is_broken
             )
             select place as "place!", count(*) as "broken!",
                 array_agg(record) filter (where number <= 3) as "examples!" from broken group by place"#
        )
        .fetch_all(&mut *$tx)
        .await?;
        for (place, rule) in (1..).zip([$($rule),+]) {
            let found = found.iter().find(|found| found.place == place);
            $checked.push(Checked {
                rule,
                broken: found.map_or(0, |found| found.broken),
                examples: found.map_or_else(Vec::new, |found| found.examples.clone()),
            });
        }
    };
}

mod transfers;

/// Checks every rule. Reads all orders, stock and ledger rows: about ten seconds for a million orders.
pub async fn run(db: &mut PgConnection) -> sqlx::Result<Vec<Checked>> {
    let mut tx = db
        .begin_with("begin isolation level repeatable read, read only")
        .await?;
    sqlx::query!("select set_config('work_mem', $1, true)", WORK_MEM)
        .fetch_one(&mut *tx)
        .await?;
    let mut checked = Vec::new();
    check_counters(&mut tx, &mut checked).await?;
    check_stock(&mut tx, &mut checked).await?;
    check_orders(&mut tx, &mut checked).await?;
    check_documents(&mut tx, &mut checked).await?;
    check_keys(&mut tx, &mut checked).await?;
    check_what_follows(&mut tx, &mut checked).await?;
    transfers::check(&mut tx, &mut checked).await?;
    tx.commit().await?;
    Ok(checked)
}

async fn check_counters(tx: &mut PgConnection, checked: &mut Vec<Checked>) -> sqlx::Result<()> {
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
        // Orders that were pending then have been decided since, and others cancelled. Days with detached orders are left out.
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

async fn check_stock(tx: &mut PgConnection, checked: &mut Vec<Checked>) -> sqlx::Result<()> {
    check!(
        tx,
        checked,
        [
            "a quantity equals the sum of its movements",
            "committed units equal the sum of their movements",
            "movements form a chain of quantities",
            "a stock row is marked as ordered exactly if an order took from it"
        ],
        // The quantity before a movement is that after another, except 0 before the first and the current one after the last. So the
        // hashes of all cancel out, except for these two, without a sort. Detached movements are one from 0 to their sum.
        "with ledger as (
             select inventory_id, sum(delta) as quantity, min(quantity_after) as least,
                 bit_xor(hashint8extended(quantity_after, 0) # hashint8extended(quantity_after - delta, 0)) as ends,
                 sum(committed) as committed,
                 -- A rejected order gives back all that it took. Documents of an order do not count.
                 coalesce(sum(order_delta), 0) < 0 as ordered
             from (select inventory_id, delta, quantity_after, coalesce(on_hand_delta - delta, 0) as committed,
                       case when order_id is not null and reference_type is null then delta end as order_delta
                   from stock_movement
                   union all select inventory_id, quantity, quantity, committed, order_delta from opening_balance) moved
             group by inventory_id
         )
         select array[
                 coalesce(i.quantity, 0) <> coalesce(l.quantity, 0),
                 coalesce(i.committed, 0) <> coalesce(l.committed, 0),
                 l.least < 0 or l.ends <> hashint8extended(0, 0) # hashint8extended(l.quantity, 0),
                 i.ordered <> coalesce(l.ordered, false)
             ], format('inventory %s', coalesce(i.id, l.inventory_id))
         from ledger l full join inventory i on i.id = l.inventory_id"
    );
    check!(
        tx,
        checked,
        ["the time of a movement is not before that of the row's last one"],
        // Servers of an earlier release dated movements by the start of the transaction.
        "select array[created_at < before], format('movement %s', id)
         from (select id, created_at, lag(created_at) over (partition by inventory_id order by id) as before
               from stock_movement
               where id > (select last_movement from completed_upgrade where name = 'ledger_times')) movement"
    );
    check!(
        tx,
        checked,
        ["movement counts equal the number of movements"],
        "select array[noted.movements <> count(m.id)], format('inventory %s', noted.inventory_id)
         from movement_count noted join history_start using (first_movement_id)
             left join stock_movement m on m.inventory_id = noted.inventory_id and m.id <= noted.latest
         group by noted.inventory_id"
    );
    check!(
        tx,
        checked,
        ["a reversal takes back the movements that it reverses"],
        // The sum of reversed movements that are detached is not known.
        "select array[r.id is null or taken.units is null or taken.units <> -r.delta or taken.are_of_others],
             format('movement %s', coalesce(r.id, taken.reversal_id))
         from (select v.reversal_id, sum(m.delta) as units, bool_or(v.movement_id < h.first_movement_id) as are_detached,
                   bool_or(m.inventory_id is distinct from r.inventory_id
                       or m.kind not in ('ADJUSTMENT', 'COUNT', 'IMPORT')) as are_of_others
               from movement_reversal v cross join history_start h left join stock_movement m on m.id = v.movement_id
                   left join stock_movement r on r.id = v.reversal_id
               group by v.reversal_id) taken
             full join (select id, delta from stock_movement where kind = 'REVERSAL') r on r.id = taken.reversal_id
         where taken.are_detached is not true"
    );
    check!(
        tx,
        checked,
        ["a stock row has the title of its product"],
        "select array[true], format('inventory %s', i.id) from inventory i join product p on p.id = i.product_id
         where i.product_title <> p.title"
    );
    check!(
        tx,
        checked,
        [
            "the product of an item exists",
            "a product with items is marked as sold"
        ],
        "select array[p.id is null, not p.sold and stocked.product_id is null],
             format('product %s', ordered.product_id)
         from (select distinct product_id from order_item) ordered
             left join product p on p.id = ordered.product_id
             left join (select distinct product_id from inventory where inventory.ordered) stocked
                 on stocked.product_id = ordered.product_id"
    );
    Ok(())
}

async fn check_orders(tx: &mut PgConnection, checked: &mut Vec<Checked>) -> sqlx::Result<()> {
    check!(
        tx,
        checked,
        [
            "the order of an item exists",
            "the order of a movement exists",
            "a confirmed or cancelled order's total equals the sum of its items",
            "a confirmed or cancelled order has a movement for each item",
            "a rejected order has no items and a total of zero",
            "a confirmed order has a confirmation or is in the outbox",
            "no pending or rejected order has a confirmation or is in the outbox",
            "only the confirmation of a cancelled order is withheld",
            "no order is in the outbox twice, or after its confirmation"
        ],
        "with item as (
             select order_id, count(*) as lines, sum(quantity) as pieces, sum(quantity * unit_price) as amount
             from order_item group by order_id
         ), moved as (
             select order_id, count(*) filter (where kind = 'ORDER') as lines, -sum(delta) as pieces
             from stock_movement where (order_id is not null or kind in ('ORDER', 'RETURN')) and reference_type is null
             group by order_id
         ), owed as (
             select order_id, count(*) as times from (select unnest(order_ids) as order_id from outbox) o group by order_id
         )
         select array[
                 o.id is null and item.lines is not null,
                 o.id is null and moved.lines is not null,
                 o.status in ('CONFIRMED', 'CANCELLED') and o.total_amount is distinct from item.amount,
                 o.status in ('CONFIRMED', 'CANCELLED') and (item.lines, item.pieces) is distinct from (moved.lines, moved.pieces),
                 o.status = 'REJECTED' and (item.lines is not null or o.total_amount <> 0),
                 o.status = 'CONFIRMED' and c.order_id is null and owed.times is null,
                 (o.status in ('CONFIRMED', 'CANCELLED')) is not true and (c.order_id is not null or owed.times is not null),
                 c.withheld and o.status is distinct from 'CANCELLED',
                 owed.times > 1 or c.order_id is not null and c.withheld is not true and owed.times is not null
             ], format('order %s', coalesce(o.id, item.order_id, moved.order_id, c.order_id, owed.order_id))
         from orders o full join item on item.order_id = o.id full join moved on moved.order_id = o.id
             full join order_confirmation c on c.order_id = o.id full join owed on owed.order_id = o.id
             cross join history_start h
         -- Detached orders may have movements and confirmations, but nothing else.
         where (coalesce(moved.order_id, c.order_id) < h.first_order_id
             and coalesce(o.id, item.order_id, owed.order_id) is null) is not true"
    );
    check!(
        tx,
        checked,
        ["a rejected order has returned its stock"],
        // Units taken from a stock row that was deleted since cannot be returned.
        "select distinct array[true], format('order %s', held.order_id)
         from (select m.order_id, m.inventory_id
               from stock_movement m join orders o on o.id = m.order_id
               where o.status = 'REJECTED' group by m.order_id, m.inventory_id having sum(m.delta) <> 0) held
             join inventory on inventory.id = held.inventory_id"
    );
    Ok(())
}

/// Compares cancellations, fulfilments and returns with the orders and the stock that they change.
async fn check_documents(tx: &mut PgConnection, checked: &mut Vec<Checked>) -> sqlx::Result<()> {
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

/// Compares what orders keep with the tables by which they are found.
async fn check_keys(tx: &mut PgConnection, checked: &mut Vec<Checked>) -> sqlx::Result<()> {
    check!(
        tx,
        checked,
        ["an order that was not rejected, and no other, has its reference"],
        // The references of detached orders stay taken.
        "select array[true], format('order %s', coalesce(o.id, r.order_id))
         from (select id, store_id, external_reference as reference from orders
               where external_reference is not null and status <> 'REJECTED') o
             full join order_reference r on r.order_id = o.id and r.store_id = o.store_id and r.reference = o.reference
             cross join history_start h
         where o.id is null and r.order_id >= h.first_order_id or r.order_id is null"
    );
    check!(
        tx,
        checked,
        ["an order is found by its reference and its customer, and by nothing else"],
        "select distinct array[true], format('order %s', order_id)
         from (select o.id as order_id, k.kind, k.key from orders o
                   cross join lateral order_keys(o.external_reference, o.customer) k
               where o.external_reference is not null or o.customer is not null) kept
             full join order_key found using (kind, key, order_id)
         where kept.order_id is null or found.order_id is null"
    );
    Ok(())
}

async fn check_what_follows(tx: &mut PgConnection, checked: &mut Vec<Checked>) -> sqlx::Result<()> {
    check!(
        tx,
        checked,
        ["a delivery belongs to a confirmation"],
        "select array[true], format('delivery %s', d.id)
         from delivery d left join order_confirmation c on c.order_id = d.order_id
         where c.order_id is null"
    );
    Ok(())
}
