//! Stock and its ledger.

use sqlx::PgConnection;

use super::{Checked, check};

pub(super) async fn check_stock(tx: &mut PgConnection, checked: &mut Vec<Checked>) -> sqlx::Result<()> {
    check!(
        tx,
        checked,
        [
            "a quantity equals the sum of its movements",
            "committed units equal the sum of their movements",
            "movements form a chain of quantities",
            "a stock row is marked as ordered exactly if an order took from it"
        ],
        // The quantity before each movement is the quantity after another, except 0 before the first and the current quantity after
        // the last. So the hashes of all quantities before and after cancel out, except for these two. This needs no sort. Detached
        // movements are one that leads from 0 to their sum.
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
