//! The check of the books: whatever is known twice must agree. Tallies are recounted, stock is compared with the ledger,
//! and orders with their items and confirmations.
//!
//! Everything is read in one snapshot: orders may go on meanwhile.

use sqlx::{Connection, PgConnection};

/// A rule that was checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// What it says.
    pub rule: &'static str,
    /// How many records break it.
    pub broken: i64,
    /// Some of them.
    pub examples: Vec<String>,
}

/// Checks every rule. Reads all orders, stock and ledger rows: at millions of them it takes a minute or more.
#[allow(clippy::too_many_lines, reason = "a list of rules is as long as it is")]
pub async fn run(db: &mut PgConnection) -> sqlx::Result<Vec<Checked>> {
    let mut tx = db
        .begin_with("begin isolation level repeatable read, read only")
        .await?;
    let mut checked = Vec::new();
    /// Checks that a query finds nothing; it names what it finds.
    macro_rules! rule {
        ($rule:literal, $broken:literal) => {
            let found = sqlx::query!(
                "with broken (record) as materialized (" + $broken + r#")
                 select count(*) as "broken!", array(select record from broken limit 3) as "examples!" from broken"#
            )
            .fetch_one(&mut *tx)
            .await?;
            checked.push(Checked { rule: $rule, broken: found.broken, examples: found.examples });
        };
    }
    rule!(
        "the tally of orders is their number and amount",
        "select format('store %s, %s', store_id, status)
         from (select store_id, status, count(*) as orders, sum(total_amount) as amount
               from orders group by store_id, status) counted
             full join (select store_id, status, sum(orders) as orders, sum(amount) as amount
                        from order_tally group by store_id, status) tally using (store_id, status)
         where coalesce(counted.orders, 0) <> coalesce(tally.orders, 0)
             or coalesce(counted.amount, 0) <> coalesce(tally.amount, 0)"
    );
    rule!(
        "the tally of stock is the number of its rows, and of the low ones",
        "select format('store %s', store_id)
         from (select store_id, count(*) as stocked, count(*) filter (where quantity <= low_stock_threshold) as low
               from inventory group by store_id) counted
             full join (select store_id, sum(stocked) as stocked, sum(low) as low
                        from stock_tally group by store_id) tally using (store_id)
         where coalesce(counted.stocked, 0) <> coalesce(tally.stocked, 0)
             or coalesce(counted.low, 0) <> coalesce(tally.low, 0)"
    );
    rule!(
        "the tally of products is their number, and that of the active ones",
        "select format('category %s', category_id)
         from (select category_id, count(*) as products, count(*) filter (where is_active) as active
               from product group by category_id) counted
             full join (select category_id, sum(products) as products, sum(active) as active
                        from product_tally group by category_id) tally using (category_id)
         where coalesce(counted.products, 0) <> coalesce(tally.products, 0)
             or coalesce(counted.active, 0) <> coalesce(tally.active, 0)"
    );
    rule!(
        "the noted number of movements is how many there are",
        "select format('inventory %s', inventory_id) from movement_count noted
         where movements <> (select count(*) from stock_movement m
                             where m.inventory_id = noted.inventory_id and m.id <= noted.latest)"
    );
    rule!(
        "stock is what the ledger adds up to",
        "select format('inventory %s', coalesce(id, inventory_id))
         from (select inventory_id, sum(delta) as quantity from stock_movement group by inventory_id) ledger
             full join inventory on inventory.id = inventory_id
         where coalesce(inventory.quantity, 0) <> coalesce(ledger.quantity, 0)"
    );
    rule!(
        "stock carries the title of its product",
        "select format('inventory %s', i.id) from inventory i join product p on p.id = i.product_id
         where i.product_title <> p.title"
    );
    rule!(
        "a confirmed order costs what its items cost",
        "select format('order %s', id)
         from orders left join (select order_id, sum(quantity * unit_price) as amount
                                from order_item group by order_id) items on order_id = id
         where status = 'CONFIRMED' and total_amount is distinct from items.amount"
    );
    rule!(
        "an item belongs to an order",
        "select format('item %s', i.id) from order_item i left join orders o on o.id = i.order_id where o.id is null"
    );
    rule!(
        "a confirmed order took its items from stock",
        "select format('order %s', order_id)
         from (select order_id, sum(quantity) as pieces from order_item group by order_id) items
             full join (select order_id, -sum(delta) as pieces from stock_movement
                        where order_id is not null group by order_id) ledger using (order_id)
             join orders on orders.id = order_id
         where status = 'CONFIRMED' and items.pieces is distinct from ledger.pieces"
    );
    rule!(
        "a confirmed order has its confirmation, or is owed it",
        "select format('order %s', id) from orders where status = 'CONFIRMED'
             and not exists (select from order_confirmation c where c.order_id = id)
             and id not in (select unnest(order_ids) from outbox)"
    );
    rule!(
        "no other order has a confirmation, or is owed one",
        "select format('order %s', order_id)
         from (select order_id from order_confirmation union all select unnest(order_ids) from outbox) confirmed
             left join orders on id = order_id
         where status is distinct from 'CONFIRMED'"
    );
    rule!(
        "whoever is told of an order, is told of its confirmation",
        "select format('delivery %s', id) from delivery d
         where not exists (select from order_confirmation c where c.order_id = d.order_id)"
    );
    tx.commit().await?;
    Ok(checked)
}
