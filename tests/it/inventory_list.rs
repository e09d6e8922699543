//! `GET /api/inventory/`: order and pages with any names of stores and products.

use rand::{Rng, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use serde_json::json;

use crate::support::{
    app::TestApp,
    walk::{column, walk},
};

/// 150 stock rows of seven stores and some products, whose names and titles repeat.
async fn with_stock() -> TestApp {
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let app = TestApp::start().await;
    let category = app.category("All").await;
    let mut stores = Vec::new();
    for name in ["North", "East", "North", "Zoo", "East", "North", "ant"] {
        stores.push(app.store(name).await);
    }
    app.store("Empty").await;
    let mut products = Vec::new();
    for number in 0..40 {
        let title = ["Lamp", "lamp", "Table", "Ärmel", "Zebra"].choose(&mut rng).unwrap();
        let title = if number % 2 == 0 { (*title).to_owned() } else { format!("{title} {}", number % 3) };
        products.push(app.product_in(category, &title, "1.00").await);
    }
    sqlx::query(
        "insert into inventory (store_id, product_id, quantity)
         select s, p, floor(random() * 40) from unnest($1::bigint[]) s, unnest($2::bigint[]) p
         order by random() limit 150",
    )
    .bind(&stores)
    .bind(&products)
    .execute(&app.pool)
    .await
    .unwrap();
    // Titles that changed after they were stocked.
    for product in &products[..5] {
        let title = format!("New {}", rng.random_range(0..3));
        app.patch(&format!("/api/products/{product}/"), &json!({ "title": title })).await;
    }
    app
}

/// Filters and the equivalent SQL conditions.
const FILTERS: &[(&str, &str)] = &[
    ("", "true"),
    ("low_stock=true", "i.quantity <= i.low_stock_threshold"),
    ("store_id=3", "s.id = 3"),
    ("store_id=3&low_stock=true", "s.id = 3 and i.quantity <= i.low_stock_threshold"),
    ("product_id=7", "p.id = 7"),
    ("product_id=7&low_stock=true", "p.id = 7 and i.quantity <= i.low_stock_threshold"),
    ("product_id=7&store_id=1", "p.id = 7 and s.id = 1"),
    ("store_id=8", "false"),
    ("store_id=99", "false"),
    ("product_id=99", "false"),
];

/// The rows that plain SQL finds, in the order of the list.
async fn expected(app: &TestApp, condition: &str) -> Vec<i64> {
    let sql = format!(
        "select i.id from inventory i join store s on s.id = i.store_id join product p on p.id = i.product_id
         where {condition} order by s.name, p.title, i.id"
    );
    sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).fetch_all(&app.pool).await.unwrap()
}

#[tokio::test]
async fn every_page_of_every_filter_matches_a_full_sort() {
    let app = with_stock().await;
    for (filter, condition) in FILTERS {
        let expected = expected(&app, condition).await;
        let pages = expected.len().div_ceil(20).max(1);
        let mut listed = Vec::new();
        for page in 1..=pages {
            let answer = app.get(&format!("/api/inventory/?{filter}&page={page}")).await;
            assert_eq!(answer.body["count"], json!(expected.len()), "{filter}");
            listed.extend(answer.column("id"));
        }
        assert_eq!(json!(listed), json!(expected), "{filter}");
        let last = app.get(&format!("/api/inventory/?{filter}&page=last")).await.column("id");
        assert_eq!(json!(last), json!(expected[(pages - 1) * 20..]), "{filter}");
        let walked = walk(&app, &format!("/api/inventory/?{filter}")).await;
        assert_eq!(json!(column(&walked, "id")), json!(expected), "{filter}");
    }
}

#[tokio::test]
async fn changed_title_moves_the_stock_of_its_product_in_the_list() {
    let app = TestApp::start().await;
    let (store, lamp) = (app.store("Main").await, app.product("Lamp", "1.00").await);
    let table = app.product("Table", "1.00").await;
    app.stock(store, lamp, 1).await;
    app.stock(store, table, 1).await;
    let titles = async || app.get("/api/inventory/").await.column("product_title");
    assert_eq!(titles().await, [json!("Lamp"), json!("Table")]);
    app.patch(&format!("/api/products/{lamp}/"), &json!({ "title": "Ünit" })).await;
    assert_eq!(titles().await, [json!("Table"), json!("Ünit")]);
    // A stock row that changes its product gets the new title.
    app.patch("/api/inventory/2/", &json!({ "product_id": app.product("Zoo", "1.00").await })).await;
    assert_eq!(titles().await, [json!("Zoo"), json!("Ünit")]);
    assert!(app.unbalanced().await.is_empty());
}

#[tokio::test]
async fn titles_change_during_orders_and_stock_changes() {
    let app = TestApp::start().await;
    let category = app.category("All").await;
    let mut stores = Vec::new();
    for number in 0..4 {
        stores.push(app.store(&format!("Store {number}")).await);
    }
    let mut products = Vec::new();
    for number in 0..6 {
        products.push(app.product_in(category, &format!("Thing {number}"), "1.00").await);
    }
    for store in &stores {
        for product in &products[..3] {
            app.stock(*store, *product, 1000).await;
        }
    }
    let rename = async {
        for round in 0..15 {
            for product in &products {
                let new = json!({ "title": format!("Thing {product} of {round}") });
                assert_eq!(app.patch(&format!("/api/products/{product}/"), &new).await.status, 200);
            }
        }
    };
    let order = async |store: i64| {
        for _ in 0..40 {
            let items = [(products[2], 1), (products[0], 1), (products[1], 1)];
            app.order(store, &items).await.created();
        }
    };
    let stock = async {
        for product in &products[3..] {
            for store in &stores {
                let row = app.stock(*store, *product, 5).await;
                app.patch(&format!("/api/inventory/{row}/"), &json!({ "product_id": products[5] })).await;
            }
        }
    };
    tokio::join!(rename, stock, order(stores[0]), order(stores[1]), order(stores[2]), order(stores[3]));
    assert!(app.unbalanced().await.is_empty());
}
