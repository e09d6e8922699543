//! Lists by cursor, compared with lists by page.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{
    app::{TestApp, send},
    walk::{Walk, column, walk},
};

const CATEGORIES: &str = "/api/categories/";
const STORES: &str = "/api/stores/";
const SEARCH: &str = "/api/products/search/";

/// The lists with cursors.
const LISTS: [&str; 6] = [
    CATEGORIES,
    "/api/products/",
    SEARCH,
    STORES,
    "/api/inventory/",
    "/api/orders/",
];

/// Fills every list with rows, many with equal names or titles, and adds rows that no list shows.
async fn fill(app: &TestApp, rows: i32) {
    for insert in [
        "insert into category (name) select 'C' || n from generate_series(1, $1) n",
        "insert into product (title, price, category_id)
             select 'P' || n % 3, 1 + n % 2, 1 + n % 2 from generate_series(1, $1) n",
        "insert into product (title, price, category_id, is_active) select 'P1', 1, 1, false where $1 > 0",
        "insert into store (name, location) select 'S' || n % 2, 'L' || n from generate_series(1, $1) n",
        "insert into store (name, location, is_active) select 'S1', 'L', false where $1 > 0",
        "insert into inventory (store_id, product_id, quantity)
             select 1, n, n % 2 from generate_series(1, $1) n",
        "insert into orders (store_id, status)
             select 1 + n % 2, case n % 3 when 0 then 'REJECTED' else 'CONFIRMED' end from generate_series(1, $1) n",
    ] {
        sqlx::query(insert).bind(rows).execute(&app.pool).await.unwrap();
    }
}

/// The rows of all pages of a list.
async fn pages(app: &TestApp, list: &str) -> Vec<Value> {
    let mut rows = Vec::new();
    let separator = if list.contains('?') { '&' } else { '?' };
    for page in 1.. {
        let answer = app.get(&format!("{list}{separator}page={page}")).await;
        rows.extend(answer.body["results"].as_array().unwrap().clone());
        if answer.body["next"].is_null() {
            break;
        }
    }
    rows
}

#[tokio::test]
async fn cursor_walk_returns_every_row_once_in_page_order() {
    let app = TestApp::start().await;
    fill(&app, 45).await;
    for list in LISTS {
        let rows = walk(&app, list).await;
        assert_eq!(rows.len(), 45, "{list}");
        assert_eq!(rows, pages(&app, list).await, "{list}");
    }
}

#[tokio::test]
async fn cursor_walk_through_a_search_keeps_its_filters() {
    let app = TestApp::start().await;
    fill(&app, 90).await;
    for (query, rows) in [
        ("q=p1", 30),
        ("q=C2", 45),
        ("q=p&min_price=1.5&store_id=", 45),
        ("store_id=1", 45),
        ("category_id=2&max_price=2", 45),
        ("q=p0&category_id=1&store_id=1&max_price=9", 0),
        ("q=nothing", 0),
    ] {
        let list = format!("{SEARCH}?{query}");
        let found = walk(&app, &list).await;
        assert_eq!(found.len(), rows, "{query}");
        assert_eq!(found, pages(&app, &list).await, "{query}");
    }
    let mut search = Walk::new(
        &app,
        &format!("{SEARCH}?store_id=1&q=%20P&page=7&cursor=x&b=2&b=1"),
    );
    search.step().await;
    let next = search.next().unwrap();
    let (before, after) = next.split_once("cursor=").unwrap();
    assert_eq!(before, format!("{SEARCH}?b=2&b=1&"));
    assert_eq!(after.split_once('&').unwrap().1, "q=+P&store_id=1");
}

#[tokio::test]
async fn cursor_page_has_twenty_rows_no_count_and_a_next_link() {
    let app = TestApp::start().await;
    for list in LISTS {
        app.get(&format!("{list}?cursor="))
            .await
            .is_text(200, r#"{"next":null,"results":[]}"#);
    }
    fill(&app, 20).await;
    for list in LISTS {
        let twenty = app.get(&format!("{list}?cursor")).await;
        assert!(
            twenty.text.starts_with(r#"{"next":null,"results":[{"id":"#),
            "{}",
            twenty.text
        );
        assert_eq!(twenty.column("id").len(), 20);
    }
    app.store("Z").await;
    for query in [
        "cursor=",
        "page=abc&cursor=",
        "cursor=&page=last&page_size=3",
        "cursor=x&cursor=",
    ] {
        let first = app.get(&format!("{STORES}?{query}")).await;
        assert_eq!(first.column("id").len(), 20, "{query}");
        let next = first.body["next"].as_str().unwrap();
        let start = format!("http://{}{STORES}?cursor=", app.address);
        let (cursor, rest) = next
            .strip_prefix(&start)
            .and_then(|rest| rest.split_at_checked(rest.find('&').unwrap_or(rest.len())))
            .unwrap();
        assert!(!cursor.is_empty());
        assert_eq!(
            rest,
            if query.contains("size") {
                "&page_size=3"
            } else {
                ""
            }
        );
        let second = app.get(&format!("{STORES}?cursor={cursor}")).await;
        assert_eq!(second.column("name"), ["Z"]);
        assert_eq!(second.body["next"], json!(null));
    }
}

#[tokio::test]
async fn cursor_skips_new_rows_before_it_and_shows_those_after_it() {
    let app = TestApp::start().await;
    for (list, name) in [
        (STORES, "name"),
        (SEARCH, "title"),
        ("/api/products/", "title"),
        (CATEGORIES, "name"),
    ] {
        let make = async |title: String| match list {
            STORES => app.store(&title).await,
            CATEGORIES => app.category(&title).await,
            _ => app.product(&title, "1").await,
        };
        let mut expected = Vec::new();
        for number in 10..55 {
            make(format!("Row {number}")).await;
            expected.push(json!(format!("Row {number}")));
        }
        let query = if list == SEARCH { "?q=row" } else { "" };
        let mut walk = Walk::new(&app, &format!("{list}{query}"));
        let seen = walk.step().await;
        make("Row 00".to_owned()).await;
        make("Row 40 and a half".to_owned()).await;
        // The row of the cursor is deleted.
        let last = seen[19]["id"].as_i64().unwrap();
        let detail = list.replace("search/", "");
        app.delete(&format!("{detail}{last}/")).await.is_text(204, "");
        expected.insert(31, json!("Row 40 and a half"));
        let mut titles = column(&seen, name);
        titles.extend(column(&walk.rest().await, name));
        assert_eq!(titles, expected, "{list}");
        for delete in ["delete from store", "delete from product", "delete from category"] {
            sqlx::query(delete).execute(&app.pool).await.unwrap();
        }
    }
}

#[tokio::test]
async fn cursor_walk_continues_after_rows_with_unusual_names() {
    let app = TestApp::start().await;
    fill(&app, 0).await;
    let insert = "insert into store (name, location) select chr(1), 'L' from generate_series(1, 20)";
    sqlx::query(insert).execute(&app.pool).await.unwrap();
    sqlx::query("insert into store (name, location) values (repeat(chr(1114111), 200), 'L')")
        .execute(&app.pool)
        .await
        .unwrap();
    let control = "\u{1f}".repeat(200);
    let wide = "😀".repeat(200);
    for name in [
        r"\u0000",
        r#"a"b\"#,
        "Ö ß 1+1=2&x",
        "%_",
        "\u{7f}\u{2028}",
        "' or 1=1 --",
        &control,
        &wide,
    ] {
        sqlx::query("update store set name = $1 where id = 20")
            .bind(name)
            .execute(&app.pool)
            .await
            .unwrap();
        let rows = walk(&app, STORES).await;
        assert_eq!(rows[19]["name"], name);
        assert_eq!(rows.len(), 21, "{name}");
    }
}

#[tokio::test]
async fn cursor_of_another_list_or_malformed_is_rejected_with_400() {
    const REFUSED: &str = r#"{"cursor":["Invalid cursor."]}"#;
    let app = TestApp::start().await;
    fill(&app, 21).await;
    let mut cursors = Vec::new();
    for list in LISTS {
        let mut walk = Walk::new(&app, list);
        walk.step().await;
        cursors.push(walk.next().unwrap().split_once("cursor=").unwrap().1.to_owned());
    }
    let long = "A".repeat(8_000);
    let names = [
        "categories",
        "products",
        "search",
        "stores",
        "inventory",
        "orders",
    ];
    for ((list, own), name) in LISTS.iter().zip(&cursors).zip(names) {
        let json = BASE64_URL_SAFE_NO_PAD.decode(own).unwrap();
        assert!(json.starts_with(format!("[1,\"{name}\",").as_bytes()), "{own}");
        assert_eq!(
            app.get(&format!("{list}?cursor={own}")).await.column("id").len(),
            1
        );
        let mut bad: Vec<String> = cursors.iter().filter(|cursor| *cursor != own).cloned().collect();
        bad.extend(
            [
                "x", "%00", "%FF", "%20", "null", "W10", "e30", "MQ", "2", "last", &long,
            ]
            .map(str::to_owned),
        );
        bad.extend([
            format!("{own}="),
            format!("{own}A"),
            format!("%20{own}"),
            own[4..].to_owned(),
        ]);
        for key in [
            r#"[1,NAME,["\u0000",1]]"#,
            r#"[0,NAME,["S",1]]"#,
            r#"[1,NAME,["S"]]"#,
            r#"[1,NAME,["S",1.5]]"#,
        ] {
            bad.push(BASE64_URL_SAFE_NO_PAD.encode(key.replace("NAME", &format!("\"{name}\""))));
        }
        for cursor in bad {
            app.get(&format!("{list}?cursor={cursor}"))
                .await
                .is_text(400, REFUSED);
        }
        app.get(&format!("{list}?cursor={own}&cursor=x&page=1"))
            .await
            .is_text(400, REFUSED);
    }
    // Filters are validated first, as for pages.
    app.get(&format!("{SEARCH}?store_id=x&cursor=x"))
        .await
        .is_text(400, r#"{"store_id":["A valid integer is required."]}"#);
}

#[tokio::test]
async fn head_works_with_a_cursor() {
    let app = TestApp::start().await;
    for list in LISTS {
        for (cursor, status) in [("", 200), ("x", 400)] {
            let url = format!("{list}?cursor={cursor}");
            send(app.request(Method::HEAD, &url)).await.is_text(status, "");
        }
    }
}
