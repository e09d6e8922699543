//! `/admin/products/`

use serde_json::json;

use super::{Desk, led, message, text_of};
use crate::support::app::TestApp;

#[tokio::test]
async fn product_is_created_changed_deactivated_and_deleted() {
    let app = TestApp::start().await;
    let desk = Desk::of(&app, "staff", None).await;
    assert!(
        desk.html("/admin/products/")
            .await
            .contains("There are no products yet.")
    );
    let category = app.category("Tools & Co").await.to_string();
    let blank = desk
        .html(&format!("/admin/products/new/?category={category}"))
        .await;
    assert!(
        blank.contains(&format!(
            r#"<option value="{category}" selected>Tools &#38; Co</option>"#
        )),
        "{blank}"
    );

    let mut fields = vec![
        ("title", "Saw"),
        ("price", "12.5"),
        ("category_id", &category),
        ("description", "Cuts.\r\nWell."),
        ("is_active", "on"),
        ("idempotency_key", "one"),
    ];
    let made = desk.post("/admin/products/new/", &fields).await;
    let path = led(&made).to_owned();
    assert_eq!(
        led(&desk.post("/admin/products/new/", &fields).await),
        led(&made),
        "the same form is done once"
    );
    let id = path.split('/').nth(3).unwrap();
    let product = app.get(&format!("/api/products/{id}/")).await.body;
    assert_eq!(
        (
            &product["title"],
            &product["price"],
            &product["description"],
            &product["is_active"]
        ),
        (
            &json!("Saw"),
            &json!("12.50"),
            &json!("Cuts.\nWell."),
            &json!(true)
        )
    );

    fields[0] = ("title", "Handsaw");
    fields.retain(|(name, _)| *name != "is_active");
    let saved = desk.post(&format!("{path}edit/"), &fields).await;
    assert_eq!(led(&saved), path);
    let text = text_of(&desk.html(&path).await);
    assert!(
        text.contains("Handsaw")
            && text.contains("Inactive")
            && text.contains("Not stocked in any store yet."),
        "{text}"
    );
    assert!(
        text.contains("product.changed by staff"),
        "its latest changes: {text}"
    );

    assert_eq!(
        message(&desk.post(&format!("{path}activate/"), &[]).await),
        "Handsaw activated."
    );
    let listed = format!("{path}deactivate/?list=%3Fq%3Dsaw%26page%3D1");
    assert_eq!(led(&desk.post(&listed, &[]).await), "/admin/products/?q=saw");
    let product = app.get(&format!("/api/products/{id}/")).await.body;
    assert_eq!(product["is_active"], json!(false));

    assert_eq!(
        led(&desk.post(&format!("{path}delete/"), &[]).await),
        "/admin/products/"
    );
    assert_eq!(desk.get(&path).await.status, 404);
    assert_eq!(desk.post(&format!("{path}activate/"), &[]).await.status, 404);
}

#[tokio::test]
async fn rejected_form_shows_errors_at_fields_and_keeps_values() {
    let app = TestApp::start().await;
    let desk = Desk::of(&app, "superuser", None).await;
    app.category("Tools").await;
    let title = "<script>alert(1)</script>";
    let fields = [
        ("title", title),
        ("price", "cheap"),
        ("category_id", "99"),
        ("description", "</textarea>"),
    ];
    let refused = desk.post("/admin/products/new/", &fields).await;
    assert_eq!(refused.status, 400);
    let html = refused.text;
    assert!(!html.contains("<script>alert") && html.contains("&#60;script&#62;alert(1)&#60;/script&#62;"));
    assert!(
        html.contains(r#"value="cheap" aria-describedby="price-hint price-error" aria-invalid="true""#),
        "{html}"
    );
    assert!(html.contains("A valid number is required."), "{html}");
    assert!(html.contains("object does not exist."), "{html}");
    assert_eq!(html.matches("</textarea>").count(), 1);
    assert!(!html.contains("checked"), "it was not checked");
    let focused: Vec<&str> = html.split(" autofocus").collect();
    assert!(
        focused.len() > 1 && focused[0].rsplit('<').next().unwrap().contains(r#"id="price""#),
        "the first field with an error has the focus: {html}"
    );
}

#[tokio::test]
async fn delete_page_lists_dependent_records_or_the_reason_for_refusal() {
    let app = TestApp::start().await;
    let desk = Desk::of(&app, "staff", None).await;
    let product = app.product("Saw", "5.00").await;
    let stores = [app.store("North").await, app.store("South").await];
    for store in stores {
        app.stock(store, product, 20).await;
    }
    let path = format!("/admin/products/{product}/");
    let asked = text_of(&desk.html(&format!("{path}delete/")).await);
    assert!(
        asked.contains("Also deletes its stock in 2 stores: 40 units. This cannot be undone."),
        "{asked}"
    );
    app.order(stores[0], &[(product, 1)]).await;
    let asked = desk.html(&format!("{path}delete/")).await;
    assert!(text_of(&asked).contains("Has orders, so it can&#39;t be deleted. Deactivate it instead."));
    assert!(asked.contains(&format!(r#"action="{path}deactivate/""#)) && !asked.contains(">Delete<"));
    let refused = desk.post(&format!("{path}delete/"), &[]).await;
    assert_eq!(refused.status, 409);
    assert!(
        refused
            .text
            .contains("Cannot delete this product: it was ordered.")
    );
}

/// The titles that a list shows, in its order.
fn titles(html: &str) -> Vec<&str> {
    let rows = html.split(r#"<th scope="row" class="title">"#).skip(1);
    rows.map(|row| row.split_once("<a ").unwrap().1.split(['>', '<']).nth(1).unwrap())
        .collect()
}

#[tokio::test]
async fn search_finds_active_and_inactive_products() {
    let app = TestApp::start().await;
    let desk = Desk::of(&app, "viewer", None).await;
    let (tools, toys) = (app.category("Tools").await, app.category("Toys").await);
    for (category, title, price) in [
        (tools, "Axe", "30"),
        (tools, "Saw 50%", "20"),
        (toys, "Bear", "10"),
        (toys, "Saw toy", "25"),
    ] {
        app.product_in(category, title, price).await;
    }
    let off = app.product_in(toys, "Chainsaw", "15").await;
    app.patch(
        &format!("/api/products/{off}/"),
        &json!({ "is_active": false, "description": "an axe", "sku": "CS-15", "barcodes": [{ "code": "4006381333931" }] }),
    )
    .await;
    let cases: [(&str, &[&str]); 22] = [
        ("", &["Axe", "Bear", "Chainsaw", "Saw 50%", "Saw toy"]),
        ("?sort=-title", &["Saw toy", "Saw 50%", "Chainsaw", "Bear", "Axe"]),
        ("?sort=price", &["Bear", "Chainsaw", "Saw 50%", "Saw toy", "Axe"]),
        (
            "?sort=-created",
            &["Chainsaw", "Saw toy", "Bear", "Saw 50%", "Axe"],
        ),
        ("?state=active", &["Axe", "Bear", "Saw 50%", "Saw toy"]),
        ("?state=inactive", &["Chainsaw"]),
        ("?q=saw", &["Chainsaw", "Saw 50%", "Saw toy"]),
        ("?q=0%25", &["Saw 50%"]),
        ("?q=axe", &["Axe", "Chainsaw"]),
        ("?q=toy+saw", &["Chainsaw", "Saw toy"]),
        ("?q=SAW+an++tools", &[]),
        ("?q=an+saw+toys", &["Chainsaw"]),
        ("?q=tools+x", &["Axe"]),
        (&format!("?q={off}"), &["Chainsaw", "Saw 50%"]),
        (&format!("?q=+{off}+chain"), &["Chainsaw"]),
        (&format!("?q={off}+bear"), &[]),
        (&format!("?q={}", "saw+".repeat(300)), &[]),
        (&format!("?category={toys}&q=saw"), &["Chainsaw", "Saw toy"]),
        (
            "?min_price=15,0&max_price=25,00&sort=-price",
            &["Saw toy", "Saw 50%", "Chainsaw"],
        ),
        ("?q=CS-15", &["Chainsaw"]),
        ("?q=4006381333931", &["Chainsaw"]),
        ("?q=nothing", &[]),
    ];
    for (query, expected) in cases {
        let html = desk.html(&format!("/admin/products/{query}")).await;
        assert_eq!(titles(&html), expected, "{query}");
    }
    let counts = [
        ("", "5 in all"),
        ("?state=inactive", "1 in all"),
        (&*format!("?category={tools}"), "2 in all"),
    ];
    for (query, count) in counts {
        assert!(
            desk.html(&format!("/admin/products/{query}"))
                .await
                .contains(count),
            "{query}"
        );
    }
}

#[tokio::test]
async fn pages_continue_through_active_and_inactive_products() {
    let app = TestApp::start().await;
    let desk = Desk::of(&app, "viewer", None).await;
    let category = app.category("Tools").await;
    sqlx::query(
        "insert into product (title, price, category_id, is_active)
         select 'Product ' || to_char(n, 'FM000'), 1, $1, n % 3 > 0 from generate_series(1, 120) n",
    )
    .bind(category)
    .execute(&app.pool)
    .await
    .unwrap();
    let mut seen = Vec::new();
    for page in 1..=3 {
        let html = desk.html(&format!("/admin/products/?page={page}")).await;
        assert!(html.contains("of 3") && html.contains("120 in all"));
        seen.extend(titles(&html).into_iter().map(str::to_owned));
    }
    let all: Vec<String> = (1..=120).map(|n| format!("Product {n:03}")).collect();
    assert_eq!(seen, all);
}

#[tokio::test]
async fn account_bound_to_stores_sees_their_stock_and_changes_no_product() {
    let app = TestApp::start().await;
    let product = app.product("Saw", "5.00").await;
    let (north, south) = (app.store("North").await, app.store("South").await);
    app.stock(north, product, 1100).await;
    app.stock(south, product, 7).await;
    let page = format!("/admin/products/{product}/");
    let all = Desk::of(&app, "viewer", None).await;
    assert!(text_of(&all.html("/admin/products/").await).contains("1,107 in 2"));
    let bound = Desk::of(&app, "staff", Some(&[south])).await;
    assert!(text_of(&bound.html("/admin/products/").await).contains("7 in 1"));
    let html = bound.html(&page).await;
    assert!(html.contains("South") && !html.contains("North"));

    for desk in [all, bound] {
        let html = desk.html("/admin/products/").await + &desk.html(&page).await;
        for offer in ["products/new/", "/edit/", "/delete/", "activate/"] {
            assert!(!html.contains(offer), "{offer} is not offered");
        }
        for act in ["edit/", "activate/", "deactivate/", "delete/"] {
            let answer = desk
                .post(&format!("{page}{act}"), &[("title", "Mine"), ("price", "1")])
                .await;
            assert_eq!(answer.status, 403, "{act}");
        }
        assert_eq!(
            desk.post("/admin/products/new/", &[("title", "Mine")])
                .await
                .status,
            403
        );
    }
    let kept = app.get(&format!("/api/products/{product}/")).await.body;
    assert_eq!(
        (&kept["title"], &kept["is_active"]),
        (&json!("Saw"), &json!(true))
    );
}

#[tokio::test]
async fn actions_from_a_list_lead_back_to_it() {
    let app = TestApp::start().await;
    let desk = Desk::of(&app, "staff", None).await;
    let category = app.category("Tools").await;
    let product = app.product_in(category, "Blue saw", "5.00").await;
    let list = desk.html("/admin/products/?q=blue&state=active").await;
    let back = "?list=%3Fq%3Dblue%26state%3Dactive";
    let page = format!("/admin/products/{product}/");
    for link in [
        format!(r#"href="{page}{back}""#),
        format!(r#"href="{page}edit/{back}""#),
        format!(r#"action="{page}deactivate/{back}""#),
        r#"name="list" value="?q=blue&#38;state=active""#.to_owned(),
    ] {
        assert!(list.contains(&link), "{link}: {list}");
    }
    let category = category.to_string();
    let fields = [
        ("title", "Blue saw"),
        ("price", "6"),
        ("category_id", &*category),
        ("is_active", "on"),
    ];
    let there = "/admin/products/?q=blue&state=active";
    assert_eq!(
        led(&desk.post(&format!("{page}edit/{back}"), &fields).await),
        there
    );

    let detail = desk.html(&format!("{page}{back}")).await;
    let escaped = there.replace('&', "&#38;");
    assert!(
        detail.contains(&format!(r#"<a href="{escaped}">All products</a>"#)),
        "{detail}"
    );
    let stays = format!("{back}&stay=on");
    assert!(
        detail.contains(&format!("{page}edit/{back}&#38;stay=on")),
        "{detail}"
    );
    assert_eq!(
        led(&desk.post(&format!("{page}edit/{stays}"), &fields).await),
        format!("{page}{back}"),
        "from its page one goes back to its page"
    );
    let asked = desk.html(&format!("{page}delete/{stays}")).await;
    assert!(
        asked.contains(&format!(r#"action="{page}delete/{back}&#38;stay=on""#)),
        "{asked}"
    );
    assert_eq!(
        led(&desk.post(&format!("{page}delete/{stays}"), &[]).await),
        there
    );
    let elsewhere = desk.html("/admin/products/new/?list=%2F%2Fevil.example%2F").await;
    assert!(!elsewhere.contains(r#"href="//evil"#) && elsewhere.contains(r#"href="/admin/products/"#));
}

#[tokio::test]
async fn product_form_needs_a_category_and_offers_another() {
    let app = TestApp::start().await;
    let desk = Desk::of(&app, "staff", None).await;
    let blank = desk.html("/admin/products/new/").await;
    assert!(
        blank.contains(r#"href="/admin/categories/new/">Create a category first</a>"#),
        "{blank}"
    );
    assert!(!blank.contains(r#"name="category_id""#));
    let category = app.category("Tools").await.to_string();
    assert!(
        desk.html("/admin/products/new/")
            .await
            .contains("Save and add another")
    );
    let fields = [
        ("title", "Saw"),
        ("price", "6"),
        ("category_id", &*category),
        ("another", "on"),
    ];
    let made = desk.post("/admin/products/new/", &fields).await;
    assert_eq!(message(&made), "Saw created.");
    let next = led(&made).to_owned();
    assert_eq!(next, format!("/admin/products/new/?category={category}"));
    let next = desk.html(&next).await;
    assert!(next.contains(&format!(r#"value="{category}" selected"#)));
    assert!(!desk.html("/admin/products/1/edit/").await.contains("add another"));
}

#[tokio::test]
async fn a_price_may_have_a_decimal_comma() {
    let app = TestApp::start().await;
    let category = app.category("Tools").await.to_string();
    let desk = Desk::of(&app, "staff", None).await;
    let mut fields = [("title", "Saw"), ("price", "12,50"), ("category_id", &*category)];
    led(&desk.post("/admin/products/new/", &fields).await);
    assert_eq!(app.get("/api/products/1/").await.body["price"], "12.50");
    fields[1].1 = "13,5";
    led(&desk.post("/admin/products/1/edit/", &fields).await);
    assert_eq!(app.get("/api/products/1/").await.body["price"], "13.50");
    fields[1].1 = "1,000";
    assert_eq!(desk.post("/admin/products/1/edit/", &fields).await.status, 400);
}
