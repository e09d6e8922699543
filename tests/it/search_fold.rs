//! Texts that are equal under Unicode folding match each other: in the search, in autocomplete, and in the console.

use std::collections::HashSet;

use afforo::{auth::Role, product::backfill};
use caseless::Caseless;
use serde_json::json;
use sqlx::PgPool;
use unicode_normalization::UnicodeNormalization;

use crate::{
    console::Desk,
    support::{accounts::account, app::TestApp},
};

fn query(pairs: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new())
        .extend_pairs(pairs)
        .finish()
}

/// The key of compatibility caseless matching: definition D146 of the Unicode standard.
fn caseless(text: &str) -> String {
    text.nfd()
        .default_case_fold()
        .nfkd()
        .default_case_fold()
        .nfkd()
        .collect()
}

async fn searched(app: &TestApp, text: &str) -> Vec<i64> {
    let query = self::query(&[("q", text)]);
    let answer = app.get(&format!("/api/products/search/?{query}")).await;
    assert_eq!(answer.status, 200, "{text:?}: {}", answer.text);
    let ids = answer.column("id");
    ids.iter().map(|id| id.as_i64().unwrap()).collect()
}

async fn suggested(app: &TestApp, text: &str) -> Vec<i64> {
    let query = self::query(&[("q", text)]);
    let answer = app.get(&format!("/api/products/autocomplete/?{query}")).await;
    assert_eq!(answer.status, 200, "{text:?}: {}", answer.text);
    let rows = answer.body.as_array().unwrap();
    rows.iter().map(|row| row["id"].as_i64().unwrap()).collect()
}

/// Whether a page of the console leads to a record when it is asked for a text.
async fn shows(desk: &Desk<'_>, list: &str, text: &str, id: i64) -> bool {
    let html = desk.html(&format!("{list}?{}", query(&[("q", text)]))).await;
    html.contains(&format!("{list}{id}/"))
}

/// A title, and a text that finds it.
const SAME: &[(&str, &str)] = &[
    ("Cafe\u{301} bar", "café"),
    ("Café bar", "cafe\u{301}"),
    ("10 k\u{2126} resistor", "10 k\u{3a9}"),
    ("10 kΩ resistor", "10 k\u{2126}"),
    ("İstanbul rug", "istanbul"),
    ("Istanbul rug", "i\u{307}stanbul"),
    ("Weiße Farbe", "WEIẞE"),
    ("WEIẞE FARBE", "weisse farbe"),
    ("Chef’s knife", "chef's"),
    ("Chef's knife", "chefʼs"),
    ("Two  spaces", "two spaces"),
    ("Two spaces", "two \u{3000}\tspaces"),
    ("No\u{a0}break", "no break"),
    ("ﬀorward ﬁle", "FFORWARD FI"),
    ("ＦＵＬＬ width", "full"),
    ("Full width", "ｆｕｌｌ　ｗ"),
    ("50％ off", "50%"),
    ("ΣΊΣΥΦΟΣ", "σίσυφος"),
    ("Ŀlum", "L·l"),
    ("한글 책", "\u{1112}\u{1161}\u{11ab}글"),
];

#[tokio::test]
async fn texts_equal_under_unicode_folding_match_each_other() {
    let app = TestApp::start().await;
    let desk = Desk::of(&app, "superuser", None).await;
    let (category, store) = (app.category("Things").await, app.store("Main").await);
    for (title, text) in SAME {
        let id = app.product_in(category, title, "1").await;
        let stock = app.stock(store, id, 5).await;
        assert!(searched(&app, text).await.contains(&id), "{text:?} in {title:?}");
        assert!(
            suggested(&app, text).await.contains(&id),
            "{text:?} begins {title:?}"
        );
        assert!(
            shows(&desk, "/admin/products/", text, id).await,
            "{text:?} in {title:?}"
        );
        assert!(
            shows(&desk, "/admin/stock/", text, stock).await,
            "{text:?} in {title:?}"
        );
        let found = query(&[("store", &store.to_string()), ("q", text)]);
        let found = desk.html(&format!("/admin/orders/new/products/?{found}")).await;
        assert!(
            found.contains(&format!("value=\"{id}\"")),
            "{text:?} in {title:?}: {found}"
        );

        let body = json!({ "title": "x", "description": title, "price": "1", "category_id": category });
        let described = app.post("/api/products/", &body).await.created();
        assert!(
            searched(&app, text).await.contains(&described),
            "{text:?} in {title:?}"
        );
        let named = app.category(title).await;
        let sorted = app.product_in(named, "y", "1").await;
        assert!(
            searched(&app, text).await.contains(&sorted),
            "{text:?} in {title:?}"
        );
        assert!(
            shows(&desk, "/admin/categories/", text, named).await,
            "{text:?} in {title:?}"
        );
        let branch = app.store(title).await;
        assert!(
            shows(&desk, "/admin/stores/", text, branch).await,
            "{text:?} in {title:?}"
        );

        let stored = app.get(&format!("/api/products/{id}/")).await;
        assert_eq!(stored.body["title"], *title, "the title is stored unchanged");
    }
}

#[tokio::test]
async fn accents_are_significant_in_every_encoding() {
    let app = TestApp::start().await;
    let desk = Desk::of(&app, "viewer", None).await;
    let category = app.category("C").await;
    for title in ["Café", "Cafe\u{301}"] {
        let id = app.product_in(category, title, "1").await;
        assert_eq!(searched(&app, "cafe").await, [0; 0], "{title:?}");
        assert_eq!(suggested(&app, "cafe").await, [0; 0], "{title:?}");
        assert!(!shows(&desk, "/admin/products/", "cafe", id).await, "{title:?}");
        assert!(searched(&app, "caf").await.contains(&id), "{title:?}");
    }
    let named = app.category("Cafe").await;
    let sorted = app.product_in(named, "Cafe\u{301} crème", "1").await;
    assert_eq!(
        searched(&app, "cafe").await,
        [sorted],
        "its category is called so"
    );
}

#[tokio::test]
async fn every_character_is_folded_as_in_unicode() {
    let app = TestApp::start().await;
    let (texts, folded): (Vec<String>, Vec<String>) = ('\u{1}'..=char::MAX)
        .map(|c| (c.to_string(), caseless(&c.to_string())))
        .filter(|(text, folded)| text != folded)
        .unzip();
    let count = texts.len();
    // Characters of a later version of Unicode than PostgreSQL and ICU have are left as they are by everything.
    let (tested, different): (i64, Vec<String>) = sqlx::query_as(
        r#"select count(*), coalesce(array_agg(text) filter (
               where search_fold(text) <> search_fold(folded) or search_fold(search_fold(text)) <> search_fold(text)
           ), '{}')
           from unnest($1::text[], $2::text[]) t (text, folded)
           where normalize(text, nfkd) <> text
               or upper(text collate "und-x-icu") <> text or lower(text collate "und-x-icu") <> text"#,
    )
    .bind(texts)
    .bind(folded)
    .fetch_one(&app.pool)
    .await
    .unwrap();
    assert_eq!(different, [""; 0]);
    assert!(tested > 17_000, "{tested} of {count}");
}

/// Letters that have more than one form, and marks that combine with them.
const LETTERS: &[&str] = &[
    "a",
    "E",
    "i",
    "s",
    "k",
    "Å",
    "ß",
    "ẞ",
    "ſ",
    "ﬁ",
    "ﬃ",
    "İ",
    "ı",
    "Ω",
    "ς",
    "Σ",
    "ΐ",
    "ᾳ",
    "é",
    "ô",
    "ŉ",
    "ǆ",
    "Ｋ",
    "²",
    "№",
    "\u{301}",
    "\u{302}",
    "\u{307}",
    "\u{323}",
    "\u{327}",
    "\u{345}",
    "が",
    "ｶ\u{ff9e}",
    "각",
    "Ꭰ",
    "ꭰ",
    "ა",
    "𝐁",
    "-",
    "7",
    "%",
    "_",
];

#[tokio::test]
async fn random_texts_are_found_in_all_their_forms() {
    use rand::{Rng, SeedableRng, rngs::StdRng, seq::IndexedRandom};
    let app = TestApp::start().await;
    let desk = Desk::of(&app, "viewer", None).await;
    let category = app.category("C").await;
    let mut rng = StdRng::seed_from_u64(7);
    for _ in 0..40 {
        let length = rng.random_range(3..12);
        let title: String = (0..length).map(|_| *LETTERS.choose(&mut rng).unwrap()).collect();
        let title = format!("x{title}");
        let id = app.product_in(category, &title, "1").await;
        let forms: HashSet<String> = [
            title.to_uppercase(),
            title.to_lowercase(),
            title.nfd().collect(),
            title.nfkc().collect(),
            caseless(&title),
        ]
        .into_iter()
        .filter(|form| caseless(form) == caseless(&title))
        .collect();
        for form in forms {
            assert!(searched(&app, &form).await.contains(&id), "{form:?} in {title:?}");
            assert!(
                suggested(&app, &form).await.contains(&id),
                "{form:?} begins {title:?}"
            );
            assert!(
                shows(&desk, "/admin/products/", &form, id).await,
                "{form:?} in {title:?}"
            );
        }
    }
}

#[tokio::test]
async fn accounts_and_orders_are_found_by_folded_names() {
    let app = TestApp::start().await;
    let desk = Desk::of(&app, "superuser", None).await;
    let store = app.store("Café\u{a0}Süd").await;
    let product = app.product("Lamp", "1").await;
    app.stock(store, product, 5).await;
    let order = app.order(store, &[(product, 1)]).await.created();
    assert!(shows(&desk, "/admin/orders/", "cafe\u{301} su\u{308}d", order).await);
    let josephine = account(&app, "joséphine", Role::Staff, None).await;
    let found = desk
        .html(&format!(
            "/admin/access/?{}",
            self::query(&[("q", "Jose\u{301}")])
        ))
        .await;
    assert!(found.contains(&format!("/admin/access/accounts/{}/", josephine.id)));
}

async fn folded(pool: &PgPool) -> Vec<i64> {
    sqlx::query_scalar("select product_id from product_folded order by product_id")
        .fetch_all(pool)
        .await
        .unwrap()
}

#[tokio::test]
async fn folded_text_follows_every_change_of_a_product() {
    let app = TestApp::start().await;
    let category = app.category("C").await;
    let plain = app.product_in(category, "Straße", "1").await;
    let other = app.product_in(category, "Chef’s knife", "1").await;
    assert_eq!(folded(&app.pool).await, [other]);
    let path = format!("/api/products/{other}/");
    app.patch(&path, &json!({ "title": "Chef's knife" })).await;
    assert_eq!(folded(&app.pool).await, [0; 0]);
    app.patch(&path, &json!({ "description": "the chef’s" })).await;
    assert_eq!(searched(&app, "the chef's").await, [other]);
    app.patch(&format!("/api/products/{plain}/"), &json!({ "title": "WEIẞ" }))
        .await;
    assert_eq!(suggested(&app, "weiss").await, [plain]);
    assert_eq!(suggested(&app, "straße").await, [0; 0]);
    app.delete(&path).await;
    assert_eq!(folded(&app.pool).await, [plain]);
    sqlx::query("truncate product cascade")
        .execute(&app.pool)
        .await
        .unwrap();
    assert_eq!(folded(&app.pool).await, [0; 0]);
    let titles: i64 = sqlx::query_scalar("select count(*) from product_title")
        .fetch_one(&app.pool)
        .await
        .unwrap();
    assert_eq!(
        titles, 0,
        "nothing of a product is left that ids may start over for"
    );
}

#[tokio::test]
async fn unfolded_older_products_are_found_as_before_until_the_backfill() {
    let app = TestApp::start().await;
    let category = app.category("C").await;
    // More than one portion, as they were before the table was there.
    let mut tx = app.pool.begin().await.unwrap();
    for statement in [
        "set local session_replication_role = replica",
        "insert into product (title, price, category_id)
         select case n % 2000 when 0 then 'Chef’s knife' else 'Plain' end, 1, 1 from generate_series(1, 6000) n",
        "insert into product_folding select max(id) from product",
    ] {
        sqlx::query(statement).execute(&mut *tx).await.unwrap();
    }
    tx.commit().await.unwrap();
    assert_eq!(category, 1);
    let old = [2000, 4000, 6000];
    assert_eq!(searched(&app, "chef’s").await, old);
    assert_eq!(suggested(&app, "chef’s").await, old);
    assert_eq!(searched(&app, "chef's").await, [0; 0]);
    let new = app.product_in(category, "Chef’s hat", "1").await;
    assert_eq!(searched(&app, "chef's").await, [new]);

    let mut portions = 0;
    while backfill::fold_portion(&app.pool).await.unwrap() {
        portions += 1;
    }
    assert_eq!(portions, 3, "two that found some, and one that found the end");
    assert_eq!(folded(&app.pool).await, [2000, 4000, 6000, new]);
    for text in ["chef’s", "chef's"] {
        assert_eq!(searched(&app, text).await, [new, 2000, 4000, 6000]);
        assert_eq!(suggested(&app, text).await, [new, 2000, 4000, 6000]);
    }
    // A server of the previous version compares upper-cased text.
    let before: i64 =
        sqlx::query_scalar("select count(*) from product where search_text like fold('%chef’s%')")
            .fetch_one(&app.pool)
            .await
            .unwrap();
    assert_eq!(before, 4);
}
