//! The laws that orders, stock and ledger keep, whatever happened to them.

use sqlx::{Connection, PgConnection, PgPool};

use super::{app, program::eventually};

/// Everything that must hold of the books, whatever happened before: each statement finds what is wrong with them.
pub async fn books_balance(pool: &PgPool) {
    assert_eq!(
        app::unbalanced(pool).await,
        Vec::<i64>::new(),
        "stock is what its movements add up to"
    );
    let wrong = [
        (
            "a movement says what was left after it",
            "select id from (select id, quantity_after, sum(delta) over (partition by inventory_id order by id) as sum
             from stock_movement) m where quantity_after <> sum or quantity_after < 0",
        ),
        (
            "an order takes what its items say, once",
            "select coalesce(i.order_id, m.order_id) from
                 (select order_id, count(*) as n, sum(quantity) as taken from order_item group by 1) i full join
                 (select order_id, count(*) as n, -sum(delta) as taken from stock_movement where kind = 'ORDER' group by 1) m
                 on m.order_id = i.order_id
             where (i.n, i.taken) is distinct from (m.n, m.taken)",
        ),
        (
            "an order costs what its items cost, and only confirmed orders have items",
            "select o.id from orders o left join order_item i on i.order_id = o.id group by o.id
             having o.total_amount <> coalesce(sum(i.quantity * i.unit_price), 0)
                 or (o.status = 'CONFIRMED') <> (count(i.id) > 0)",
        ),
        (
            "each confirmed order, and no other, is owed or has its confirmation",
            "select o.id from orders o
                 left join (select unnest(order_ids) as order_id from outbox) b on b.order_id = o.id left join order_confirmation c on c.order_id = o.id
             where (o.status = 'CONFIRMED') <> (num_nonnulls(b.order_id, c.order_id) = 1)",
        ),
        (
            "no item is of a product that is gone",
            "select order_id from order_item i where not exists (select from product p where p.id = i.product_id)",
        ),
        (
            "no order is of a store that is gone",
            "select id from orders o where not exists (select from store s where s.id = o.store_id)",
        ),
        (
            "no stock is of a store or a product that is gone",
            "select id from inventory i where not exists (select from store s where s.id = i.store_id)
                 or not exists (select from product p where p.id = i.product_id)",
        ),
        (
            "what left with a stock row is in the ledger",
            "select inventory_id from stock_movement m where not exists (select from inventory i where i.id = m.inventory_id)
             group by inventory_id having sum(delta) <> 0",
        ),
    ];
    for (law, violations) in wrong {
        let violations: Vec<i64> = sqlx::query_scalar(violations).fetch_all(pool).await.unwrap();
        assert_eq!(violations, Vec::<i64>::new(), "{law}");
    }
}

/// Ends all connections to a database, for only then is all told that there is to tell, and looks for deadlocks.
pub async fn no_deadlocks(url: &str) {
    let mut admin = PgConnection::connect(url).await.unwrap();
    eventually("all others are gone", async || {
        let others: i64 = sqlx::query_scalar(
            "select count(pg_terminate_backend(pid)) from pg_stat_activity
             where datname = current_database() and pid <> pg_backend_pid()",
        )
        .fetch_one(&mut admin)
        .await
        .unwrap();
        others == 0
    })
    .await;
    let deadlocks: i64 =
        sqlx::query_scalar("select deadlocks from pg_stat_database where datname = current_database()")
            .fetch_one(&mut admin)
            .await
            .unwrap();
    assert_eq!(deadlocks, 0);
}
