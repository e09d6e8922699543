//! Transfers from the second store to the third: one that has arrived, one in transit, and a draft.

use sqlx::PgConnection;

use super::Plan;

/// Creates them, if both stores stock the same products. Returns the number of rows. Their movements have the time of the stock rows, because orders come later.
pub(super) async fn make(db: &mut PgConnection, plan: &Plan, stores: &[i64]) -> sqlx::Result<usize> {
    let [_, from, to, ..] = stores else {
        return Ok(0);
    };
    let written = sqlx::query!(
        "with time as (
             select now() - make_interval(days => $3) as at
         ), source as (
             select i.id, i.product_id, i.quantity, d.id as to_id, d.quantity as to_quantity
             from inventory i join inventory d on d.store_id = $2 and d.product_id = i.product_id
             where i.store_id = $1 and i.quantity >= 20 order by i.product_id limit 3
         ), made as (
             insert into transfer (from_store_id, to_store_id, status, reference, version, shipped_at, expected_at, created_at, updated_at)
             select $1, $2, status, reference, version, case when version > 1 then at end, at + interval '3 days', at, at
             from (values ('RECEIVED', 'TO-1001', 3), ('IN_TRANSIT', 'TO-1002', 2), ('DRAFT', 'TO-1003', 1))
                 as t (status, reference, version) cross join time
             where exists (select from source)
             returning id, status, reference
         ), line as (
             insert into transfer_line (transfer_id, product_id, quantity, shipped, received)
             select made.id, product_id, 4, case status when 'DRAFT' then 0 else 4 end, case status when 'RECEIVED' then 4 else 0 end
             from made cross join source
         ), taken as (
             update inventory set quantity = inventory.quantity - 8 from source where inventory.id = source.id
         ), added as (
             update inventory set quantity = inventory.quantity + 4 from source where inventory.id = source.to_id
         )
         insert into stock_movement (inventory_id, kind, delta, quantity_after, reference, reference_type, reference_id, created_at)
         select row_id, kind, delta, after, reference, 'TRANSFER', transfer_id, at
         from (
             select 1 as place, source.id as row_id, 'TRANSFER_OUT' as kind, -4 as delta, quantity - 4 as after, reference,
                 made.id as transfer_id
             from made cross join source where status = 'RECEIVED'
             union all
             select 2, to_id, 'TRANSFER_IN', 4, to_quantity + 4, reference, made.id
             from made cross join source where status = 'RECEIVED'
             union all
             select 3, source.id, 'TRANSFER_OUT', -4, quantity - 8, reference, made.id
             from made cross join source where status = 'IN_TRANSIT'
         ) moved cross join time
         order by place, row_id",
        from,
        to,
        plan.age()
    )
    .execute(db)
    .await?;
    // As many movements as lines, and three transfers.
    let movements = usize::try_from(written.rows_affected()).unwrap_or_default();
    Ok(if movements == 0 { 0 } else { 2 * movements + 3 })
}
