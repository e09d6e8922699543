//! The rules of transfers.

use sqlx::PgConnection;

use super::{Checked, check};

/// Compares the status of a transfer with its lines, and its lines with their movements.
pub(super) async fn check_transfers(tx: &mut PgConnection, checked: &mut Vec<Checked>) -> sqlx::Result<()> {
    check!(
        tx,
        checked,
        [
            "the status of a transfer is that of its lines",
            "the movements of a transfer are the units that left and arrived"
        ],
        // A transfer as a whole, because a stock row may be deleted after it. Detached movements are not known.
        "with line as (
             select transfer_id, sum(shipped::bigint) as shipped, sum(in_transit::bigint) as in_transit,
                 sum(received::bigint + damaged + lost + returned) as settled, sum(returned::bigint) as returned,
                 sum(received::bigint + returned) as back
             from transfer_line group by transfer_id
         ), moved as (
             select reference_id as transfer_id, -coalesce(sum(delta) filter (where kind = 'TRANSFER_OUT'), 0) as out,
                 coalesce(sum(delta) filter (where kind = 'TRANSFER_IN'), 0) as back
             from stock_movement where reference_type = 'TRANSFER' group by reference_id
         )
         select array[
                 (case t.status
                      when 'DRAFT' then l.shipped = 0
                      when 'IN_TRANSIT' then l.in_transit > 0 and l.settled = 0
                      when 'PARTIAL' then l.in_transit > 0 and l.settled > 0
                      when 'RECEIVED' then l.shipped > 0 and l.in_transit = 0 and l.returned = 0
                      else l.in_transit = 0
                  end) is not true,
                 (coalesce(l.shipped, 0), coalesce(l.back, 0)) is distinct from (coalesce(m.out, 0), coalesce(m.back, 0))
                     and (t.created_at <= h.movements_until) is not true
             ], format('transfer %s', coalesce(t.id, m.transfer_id))
         from transfer t full join moved m on m.transfer_id = t.id left join line l on l.transfer_id = t.id
             cross join history_start h"
    );
    Ok(())
}
