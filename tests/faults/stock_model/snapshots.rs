//! What holds in each snapshot while documents take effect.

use std::sync::atomic::{AtomicBool, Ordering};

use sqlx::PgPool;
use tokio::time::sleep;

use crate::kit::clients::RETRY_DELAY;

/// Checks in one snapshot after the other that the sums of the ledger are the quantities. Returns how many it checked.
pub async fn hold_until(pool: &PgPool, is_over: &AtomicBool) -> usize {
    let mut snapshots = 0;
    while !is_over.load(Ordering::Relaxed) {
        let broken: Vec<String> = sqlx::query_scalar(
            "select i::text from inventory i join lateral (
                 select sum(delta) as delta, sum(coalesce(on_hand_delta, delta)) as on_hand
                 from stock_movement where inventory_id = i.id
             ) m on true
                 left join lateral (
                     select sum(item.quantity - coalesce(g.cancelled, 0) - coalesce(g.fulfilled, 0)) as units
                     from orders o join order_item item on item.order_id = o.id
                         left join order_line_progress g on g.order_id = o.id and g.item_id = item.id
                     where o.tracked and o.store_id = i.store_id and item.product_id = i.product_id
                 ) tracked on true
                 left join lateral (
                     select sum(reserved) as units from reservation_item where inventory_id = i.id
                 ) held on true
             where (m.delta, m.on_hand) <> (i.quantity, i.quantity + i.committed) or i.reserved not between 0 and i.quantity
                 or i.committed <> coalesce(tracked.units, 0) or i.reserved <> coalesce(held.units, 0)",
        )
        .fetch_all(pool)
        .await
        .unwrap();
        assert_eq!(broken, [""; 0]);
        assert_eq!(broken_transfers(pool).await, [""; 0]);
        snapshots += 1;
        sleep(RETRY_DELAY).await;
    }
    snapshots
}

/// The transfers in a snapshot whose units are neither in transit, settled, nor where their movements say.
async fn broken_transfers(pool: &PgPool) -> Vec<String> {
    sqlx::query_scalar(
        "select t::text from transfer t
             join (select transfer_id, sum(shipped) as shipped, sum(received + returned) as back,
                       sum(shipped - received - damaged - lost - returned - in_transit) as unknown
                   from transfer_line group by transfer_id) l on l.transfer_id = t.id
             left join (select reference_id, -sum(delta) filter (where kind = 'TRANSFER_OUT') as out,
                            sum(delta) filter (where kind = 'TRANSFER_IN') as back
                        from stock_movement where reference_type = 'TRANSFER' group by reference_id) m on m.reference_id = t.id
         where (l.shipped, l.back, l.unknown) <> (coalesce(m.out, 0), coalesce(m.back, 0), 0)",
    )
    .fetch_all(pool)
    .await
    .unwrap()
}
