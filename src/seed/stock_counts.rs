//! Stock counts of the third store: one that was applied, and one that is open.

use sqlx::PgConnection;

use super::Plan;

/// Creates them, if the store has stock. Returns the number of rows. Their movements have the time of the stock rows, because orders
/// come later.
pub(super) async fn make(db: &mut PgConnection, plan: &Plan, stores: &[i64]) -> sqlx::Result<usize> {
    let [_, _, store, ..] = stores else {
        return Ok(0);
    };
    let movements = sqlx::query_scalar!(
        r#"with time as (
               select now() - make_interval(days => $2) as at
           ), row as (
               select id, product_id, quantity, row_number() over (order by product_id) as number
               from inventory where store_id = $1 and quantity >= 20 order by product_id limit 3
           ), made as (
               insert into stock_count (store_id, status, blind, reference, version, applied_at, created_at, updated_at)
               select $1, status, status = 'OPEN', reference, version, case status when 'APPLIED' then at end, at, at
               from (values ('APPLIED', 'SC-1001', 3), ('OPEN', 'SC-1002', 2)) as c (status, reference, version) cross join time
               where exists (select from row)
               returning id, status, reference
           ), moved as (
               -- One unit of the first product is missing.
               insert into stock_movement (inventory_id, kind, delta, quantity_after, reference, reference_type, reference_id,
                   created_at)
               select row.id, 'COUNT', case number when 1 then -1 else 0 end, quantity - case number when 1 then 1 else 0 end,
                   reference, 'STOCK_COUNT', made.id, at
               from made cross join row cross join time where status = 'APPLIED' order by row.id
               returning inventory_id, id, delta, reference_id, created_at
           ), changed as (
               update inventory set quantity = quantity + delta, counted_at = moved.created_at
               from moved where inventory.id = moved.inventory_id
           ), line as (
               insert into stock_count_line (count_id, product_id, counted, counted_at, entries, status, on_hand, movement_id)
               select made.id, row.product_id, row.quantity + coalesce(moved.delta, 0), at, 1,
                   case when moved.id is null then 'COUNTED' else 'APPLIED' end, case when moved.id is not null then quantity end,
                   moved.id
               from made cross join row cross join time
                   left join moved on moved.reference_id = made.id and moved.inventory_id = row.id
               returning count_id, product_id, counted, counted_at
           ), entered as (
               insert into stock_count_entry (count_id, product_id, counted, counted_at, is_added)
               select count_id, product_id, counted, counted_at, false from line
           )
           select count(*) as "movements!" from moved"#,
        store,
        plan.age()
    )
    .fetch_one(db)
    .await?;
    // Two stock counts with as many lines and entries.
    let movements = usize::try_from(movements).unwrap_or_default();
    Ok(if movements == 0 { 0 } else { 2 + 5 * movements })
}
