//! The rules of stock counts.

use sqlx::PgConnection;

use super::{Checked, check};

/// Compares lines with what people entered, and with what was applied.
pub(super) async fn check_stock_counts(
    tx: &mut PgConnection,
    checked: &mut Vec<Checked>,
) -> sqlx::Result<()> {
    check!(
        tx,
        checked,
        [
            "the line of a stock count is what its entries add up to",
            "the variance of an applied line is that of its movement",
            "a stock count that is applied has no line left"
        ],
        // Detached movements are not known.
        "with judged as (
             select count_id, product_id, counted, counted_at, coalesce(sum((not is_added)::integer) over (
                 partition by count_id, product_id order by counted_at desc, id desc
                 rows between unbounded preceding and 1 preceding
             ), 0) > 0 as is_replaced
             from stock_count_entry
         ), entered as (
             select count_id, product_id, sum(counted) filter (where not is_replaced) as counted, max(counted_at) as counted_at,
                 count(*) as entries
             from judged group by count_id, product_id
         ), moved as (
             select id, reference_id as count_id, delta from stock_movement where reference_type = 'STOCK_COUNT'
         )
         select array[
                 l.entries > 0 and (l.counted, l.counted_at, l.entries) is distinct from (e.counted, e.counted_at, e.entries)
                     or l.entries = 0 and (l.counted > 0 or e.entries is not null),
                 (l.movement_id is not null or m.id is not null)
                     and (l.count_id, l.variance) is distinct from (m.count_id, m.delta)
                     and (m.id is null and l.movement_id < h.first_movement_id) is not true,
                 c.status = 'APPLIED' and l.status in ('COUNTED', 'FAILED')
             ], format('stock count %s, product %s', coalesce(l.count_id, m.count_id), coalesce(l.product_id::text, 'unknown'))
         from stock_count_line l full join moved m on m.id = l.movement_id
             left join entered e on e.count_id = l.count_id and e.product_id = l.product_id
             left join stock_count c on c.id = l.count_id cross join history_start h"
    );
    Ok(())
}
