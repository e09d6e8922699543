//! `/api/products/`

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::app::TestApp;

const LIST: &str = "/api/products/";

#[tokio::test]
async fn product_is_created_read_changed_and_deleted() {
    let app = TestApp::start().await;
    let (lamps, rugs) = (app.category("Lamps").await, app.category("Rugs").await);
    let created = app
        .post(
            LIST,
            &json!({ "title": " Lamp ", "price": 4.5, "category_id": lamps, "category": 9, "id": 9 }),
        )
        .await;
    assert_eq!(created.status, 201);
    assert_eq!(
        created.untimed(),
        r#"{"id":1,"title":"Lamp","description":"","price":"4.50","category":{"id":1,"name":"Lamps"},"is_active":true,"sku":null,"unit":"","barcodes":[],"created_at":"…","updated_at":"…"}"#
    );
    app.get("/api/products/1/").await.is_text(200, &created.text);

    let put = app
        .put(
            "/api/products/1/",
            &json!({ "title": "Rug", "description": " soft ", "price": "10", "category_id": rugs.to_string(), "is_active": "no" }),
        )
        .await;
    assert_eq!(put.status, 200);
    assert_eq!(
        put.untimed(),
        r#"{"id":1,"title":"Rug","description":"soft","price":"10.00","category":{"id":2,"name":"Rugs"},"is_active":false,"sku":null,"unit":"","barcodes":[],"created_at":"…","updated_at":"…"}"#
    );
    let kept = app
        .put(
            "/api/products/1/",
            &json!({ "title": "Mat", "price": "1", "category_id": rugs }),
        )
        .await;
    assert_eq!(
        (&kept.body["description"], &kept.body["is_active"]),
        (&json!("soft"), &json!(false)),
        "optional fields that are left out keep their values"
    );
    let patched = app.patch("/api/products/1/", &json!({ "description": "" })).await;
    assert_eq!(
        patched.untimed(),
        r#"{"id":1,"title":"Mat","description":"","price":"1.00","category":{"id":2,"name":"Rugs"},"is_active":false,"sku":null,"unit":"","barcodes":[],"created_at":"…","updated_at":"…"}"#
    );
    assert!(patched.body["updated_at"].as_str() > kept.body["updated_at"].as_str());

    app.delete("/api/products/1/").await.is_text(204, "");
    app.get("/api/products/1/")
        .await
        .is_text(404, r#"{"detail":"No Product matches the given query."}"#);
}

#[tokio::test]
async fn list_has_active_products_by_title_and_detail_has_any() {
    let app = TestApp::start().await;
    let category = app.category("All").await;
    for title in ["b", "a", "B", "a"] {
        app.product_in(category, title, "1").await;
    }
    let hidden = json!({ "title": "hidden", "price": "1", "category_id": category, "is_active": false });
    let hidden = app.post(LIST, &hidden).await.created();
    let list = app
        .get(&format!(
            "{LIST}?q=zzz&category_id=x&is_active=false&page_size=1&title=b"
        ))
        .await;
    assert_eq!(
        list.column("id"),
        [3, 2, 4, 1],
        "ties by id, every parameter but page is ignored"
    );
    assert!(
        list.untimed().starts_with(
            r#"{"count":4,"next":null,"previous":null,"results":[{"id":3,"title":"B","description":"","price":"1.00","category":{"id":1,"name":"All"},"is_active":true,"sku":null,"unit":"","created_at":"…","updated_at":"…"},"#
        ),
        "{}",
        list.text
    );
    assert_eq!(
        app.get(&format!("{LIST}{hidden}/")).await.body["is_active"],
        false
    );
}

#[tokio::test]
async fn invalid_product_fields_are_reported_in_field_order() {
    let app = TestApp::start().await;
    app.post_text(
        LIST,
        r#"{"is_active":2,"category_id":7,"price":"x","description":null,"title":""}"#,
    )
    .await
    .is_text(
        400,
        r#"{"title":["This field may not be blank."],"description":["This field may not be null."],"price":["A valid number is required."],"category_id":["Invalid pk \"7\" - object does not exist."],"is_active":["Must be a valid boolean."]}"#,
    );
    let required = r#"{"title":["This field is required."],"price":["This field is required."],"category_id":["This field is required."]}"#;
    app.post(LIST, &json!({})).await.is_text(400, required);
    let product = app.product("Lamp", "1").await;
    app.put(&format!("{LIST}{product}/"), &json!({}))
        .await
        .is_text(400, required);
}

#[tokio::test]
async fn each_invalid_field_has_one_error_message() {
    const NUMBER: &str = "A valid number is required.";
    const TOTAL: &str = "Ensure that there are no more than 10 digits in total.";
    const PLACES: &str = "Ensure that there are no more than 2 decimal places.";
    const WHOLE: &str = "Ensure that there are no more than 8 digits before the decimal point.";
    const LEAST: &str = "Ensure this value is greater than or equal to 0.01.";
    const LARGE: &str = "String value too large.";
    const BOOLEAN: &str = "Must be a valid boolean.";
    const NULL: &str = "This field may not be null.";
    let app = TestApp::start().await;
    let path = format!("{LIST}{}/", app.product("Lamp", "1").await);
    let type_of = |name: &str| format!("Incorrect type. Expected pk value, received {name}.");
    let no_such = |id: &str| format!("Invalid pk \\\"{id}\\\" - object does not exist.");
    let long = format!("\"{}\"", "t".repeat(201));
    let (digits, long_number) = (format!("\"{}\"", "1".repeat(1001)), "1".repeat(1001));
    let wide_text = format!("\"{}\"", "٣".repeat(900));
    let cases: &[(&str, &str, &str)] = &[
        (
            "title",
            &long,
            "Ensure this field has no more than 200 characters.",
        ),
        ("title", "false", "Not a valid string."),
        ("description", "[]", "Not a valid string."),
        ("description", "null", NULL),
        ("description", r#""\u0000""#, "Null characters are not allowed."),
        ("price", "null", NULL),
        ("price", r#""""#, NUMBER),
        ("price", r#"" ""#, NUMBER),
        ("price", "true", NUMBER),
        ("price", "[1]", NUMBER),
        ("price", "{}", NUMBER),
        ("price", r#""NaN""#, NUMBER),
        ("price", r#""-Infinity""#, NUMBER),
        ("price", r#""1,5""#, NUMBER),
        ("price", r#""0x10""#, NUMBER),
        ("price", &wide_text, NUMBER),
        ("price", "10.555", PLACES),
        ("price", r#""10.000""#, PLACES),
        ("price", "0.30000000000000004", TOTAL),
        ("price", r#""100000000""#, WHOLE),
        ("price", "100000000", WHOLE),
        ("price", "1e8", WHOLE),
        ("price", r#""100000000.00""#, TOTAL),
        ("price", r#""99999999.999""#, TOTAL),
        ("price", "1e300", TOTAL),
        ("price", "0", LEAST),
        ("price", "0.00", LEAST),
        ("price", "-0.01", LEAST),
        ("price", "0.009", PLACES),
        ("price", &digits, LARGE),
        ("price", &long_number, LARGE),
        ("category_id", "null", NULL),
        ("category_id", r#""""#, NULL),
        ("category_id", "0", &no_such("0")),
        ("category_id", "-1", &no_such("-1")),
        (
            "category_id",
            "99999999999999999999",
            &no_such("99999999999999999999"),
        ),
        ("category_id", r#""007""#, &no_such("007")),
        ("category_id", "7.0", &no_such("7.0")),
        ("category_id", r#""abc""#, &type_of("str")),
        ("category_id", "true", &type_of("bool")),
        ("category_id", "[1]", &type_of("list")),
        ("category_id", r#"{"id":1}"#, &type_of("dict")),
        ("category_id", "5.5", &type_of("float")),
        ("is_active", "null", NULL),
        ("is_active", r#""""#, BOOLEAN),
        ("is_active", r#""null""#, BOOLEAN),
        ("is_active", "2", BOOLEAN),
        ("is_active", "[]", BOOLEAN),
        ("is_active", "{}", BOOLEAN),
    ];
    for (field, value, message) in cases {
        let body = format!(r#"{{"{field}":{value}}}"#);
        let answer = app.send_text(Method::PATCH, &path, body).await;
        assert_eq!(
            (answer.status.as_u16(), answer.text),
            (400, format!(r#"{{"{field}":["{message}"]}}"#)),
            "{field}: {value}"
        );
    }
}

#[tokio::test]
async fn field_values_are_accepted_in_common_spellings() {
    let app = TestApp::start().await;
    let category = app.category("C").await;
    let path = format!("{LIST}{}/", app.product_in(category, "Lamp", "1").await);
    let longest = "ü".repeat(200);
    let long_text = "text ".repeat(3000);
    let cases: Vec<(&str, String, Value)> = vec![
        ("title", "12".into(), json!("12")),
        ("title", "1e2".into(), json!("100.0")),
        ("title", format!("\" {longest}\\n\""), json!(longest)),
        ("description", format!("\"{long_text}\""), json!(long_text.trim())),
        ("description", r#""  ""#.into(), json!("")),
        ("price", "10.10".into(), json!("10.10")),
        ("price", r#"" +5 ""#.into(), json!("5.00")),
        ("price", r#"".5""#.into(), json!("0.50")),
        ("price", r#""5.""#.into(), json!("5.00")),
        ("price", r#""0005.10""#.into(), json!("5.10")),
        ("price", r#""1e2""#.into(), json!("100.00")),
        ("price", r#""1e-2""#.into(), json!("0.01")),
        ("price", "1.00000000000000000001".into(), json!("1.00")),
        ("price", "99999999".into(), json!("99999999.00")),
        ("price", r#""99999999.99""#.into(), json!("99999999.99")),
        ("is_active", "0".into(), json!(false)),
        ("is_active", "1.0".into(), json!(true)),
        ("is_active", r#""OFF""#.into(), json!(false)),
        ("is_active", r#""yEs""#.into(), json!(true)),
        (
            "category_id",
            format!("\" +0{category} \""),
            json!({ "id": category, "name": "C" }),
        ),
        (
            "category_id",
            format!("{category}.0"),
            json!({ "id": category, "name": "C" }),
        ),
    ];
    for (field, value, kept) in cases {
        let body = format!(r#"{{"{field}":{value}}}"#);
        let answer = app.send_text(Method::PATCH, &path, body).await;
        let shown = field.trim_end_matches("_id");
        assert_eq!(
            (answer.status.as_u16(), &answer.body[shown]),
            (200, &kept),
            "{field}: {value}"
        );
    }
}

#[tokio::test]
async fn deleting_a_product_deletes_its_stock_unless_it_was_ordered() {
    let app = TestApp::start().await;
    let store = app.store("Main").await;
    let (free, sold) = (app.product("Free", "1").await, app.product("Sold", "1").await);
    let (free_stock, sold_stock) = (app.stock(store, free, 3).await, app.stock(store, sold, 3).await);
    app.order(store, &[(sold, 1)]).await.created();
    assert_eq!(app.order(store, &[(free, 9)]).await.status, 200, "rejected");

    app.delete(&format!("{LIST}{free}/")).await.is_text(204, "");
    assert_eq!(
        app.get(&format!("/api/inventory/{free_stock}/")).await.status,
        404
    );
    app.delete(&format!("{LIST}{sold}/"))
        .await
        .is_text(409, r#"{"detail":"Cannot delete this product: it was ordered."}"#);
    assert_eq!(app.quantity(sold_stock).await, 2);
    assert!(app.unbalanced().await.is_empty());
}

#[tokio::test]
async fn unknown_product_is_404_before_the_body_is_parsed() {
    let app = TestApp::start().await;
    for method in [Method::GET, Method::PUT, Method::PATCH, Method::DELETE] {
        app.send_text(method, "/api/products/5/", "[")
            .await
            .is_text(404, r#"{"detail":"No Product matches the given query."}"#);
    }
}
