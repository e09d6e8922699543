//! `afforo seed`

use sqlx::PgPool;

use super::{TestApp, afforo, run};
use crate::support::{program::Said, servers};

async fn seed(url: &str, args: &[&str]) -> Said {
    let mut line = vec!["seed"];
    line.extend(args);
    run(afforo(&line).env("DATABASE_URL", url)).await
}

#[tokio::test]
async fn the_demo_data_have_the_amounts_and_proportions_of_the_original() {
    let app = TestApp::start().await;
    let said = seed(&app.database_url, &["--stores", "100", "--random-seed", "7"]).await;
    assert_eq!(said.code, Some(0), "{}", said.err);
    let counts: (i64, i64, i64, i64) = sqlx::query_as(
        "select (select count(*) from category), (select count(*) from product), (select count(*) from store),
             (select count(*) from inventory)",
    )
    .fetch_one(&app.pool)
    .await
    .unwrap();
    assert_eq!((counts.0, counts.1, counts.2), (12, 1000, 100));
    let expected = format!(
        "Made 12 categories, 1000 products, 100 stores and {} stock rows.\n",
        counts.3
    );
    assert_eq!(said.out, expected);

    let number =
        async |sql: &'static str| -> f64 { sqlx::query_scalar(sql).fetch_one(&app.pool).await.unwrap() };
    let active = number("select avg(is_active::int)::float8 from product").await;
    assert!((0.92..0.98).contains(&active), "about 95 % of products: {active}");
    let active = number("select avg(is_active::int)::float8 from store").await;
    assert!((0.8..0.98).contains(&active), "about 90 % of stores: {active}");
    for (extreme, sql) in [
        (
            0.55..0.68,
            "select min(n)::float8 from (select count(*) / 1000.0 as n from inventory group by store_id) s",
        ),
        (
            0.82..0.95,
            "select max(n)::float8 from (select count(*) / 1000.0 as n from inventory group by store_id) s",
        ),
    ] {
        let share = number(sql).await;
        assert!(
            extreme.contains(&share),
            "each store has 60 to 90 % of the products: {share}"
        );
    }
    let ranges: (i32, i32, i32, i32) = sqlx::query_as(
        "select min(quantity), max(quantity), min(low_stock_threshold), max(low_stock_threshold) from inventory",
    )
    .fetch_one(&app.pool)
    .await
    .unwrap();
    assert_eq!(
        ranges,
        (0, 500, 5, 20),
        "among tens of thousands of rows every value occurs"
    );
    let unused = number(
        "select count(*)::float8 from category c where not exists (select from product where category_id = c.id)",
    )
    .await;
    assert!(unused.abs() < f64::EPSILON);
    assert!(app.unbalanced().await.is_empty());

    // What the documentation shows works.
    app.order(1, &[(1, 2), (3, 1)]).await.created();
}

#[tokio::test]
async fn the_same_random_seed_makes_the_same_data() {
    let (one, other, third) = (
        TestApp::start().await,
        TestApp::start().await,
        TestApp::start().await,
    );
    for (app, number) in [(&one, "5"), (&other, "5"), (&third, "6")] {
        let made = seed(
            &app.database_url,
            &["--products", "80", "--stores", "4", "--random-seed", number],
        )
        .await;
        assert_eq!(made.code, Some(0), "{}", made.err);
    }
    assert_eq!(data(&one.pool).await, data(&other.pool).await);
    assert_ne!(data(&one.pool).await, data(&third.pool).await);
}

#[tokio::test]
async fn clear_deletes_everything_first_and_ids_start_over() {
    let app = TestApp::start().await;
    let args = [
        "--clear",
        "--yes",
        "--products",
        "30",
        "--stores",
        "2",
        "--categories",
        "3",
        "--random-seed",
        "5",
    ];
    assert_eq!(seed(&app.database_url, &args).await.code, Some(0));
    let first = data(&app.pool).await;
    app.order(1, &[(1, 2), (2, 1)]).await.created();
    assert_eq!(seed(&app.database_url, &args).await.code, Some(0));
    assert_eq!(data(&app.pool).await, first);
    assert_eq!(app.get("/api/orders/").await.body["count"], 0);
    assert_eq!(app.order(1, &[(1, 2)]).await.created(), 1);
    assert!(app.unbalanced().await.is_empty());
}

#[tokio::test]
async fn without_clear_it_adds_to_what_is_there() {
    let app = TestApp::start().await;
    for expected in [3, 6] {
        let args = ["--products", "20", "--stores", "3", "--categories", "5"];
        assert_eq!(seed(&app.database_url, &args).await.code, Some(0));
        let stores: i64 = sqlx::query_scalar("select count(*) from store")
            .fetch_one(&app.pool)
            .await
            .unwrap();
        assert_eq!(stores, expected);
    }
    let categories: i64 = sqlx::query_scalar("select count(*) from category")
        .fetch_one(&app.pool)
        .await
        .unwrap();
    assert_eq!(categories, 5, "categories of the same name are used again");
    assert!(app.unbalanced().await.is_empty());
}

#[tokio::test]
async fn a_database_without_tables_is_to_be_migrated_first() {
    let database = servers::empty_database().await;
    let said = seed(&database.url(), &[]).await;
    assert_eq!(said.code, Some(1));
    assert!(said.err.contains("run `afforo migrate` first"), "{}", said.err);
    let said = seed(&database.url(), &["--categories", "0"]).await;
    assert_eq!(said.code, Some(2));
}

/// Everything that seeding makes, but for the times.
async fn data(pool: &PgPool) -> Vec<String> {
    let mut data = Vec::new();
    for sql in [
        "select format('%s %s', id, name) from category order by id",
        "select format('%s %s %s %s %s %s', id, title, description, price, category_id, is_active) from product order by id",
        "select format('%s %s %s %s', id, name, location, is_active) from store order by id",
        "select format('%s %s %s %s %s', id, store_id, product_id, quantity, low_stock_threshold) from inventory order by id",
        "select format('%s %s %s', inventory_id, kind, delta) from stock_movement order by inventory_id",
    ] {
        data.extend(
            sqlx::query_scalar::<_, String>(sql)
                .fetch_all(pool)
                .await
                .unwrap(),
        );
    }
    data
}
