//! `/admin/categories/`

use serde_json::json;

use super::{Desk, led, message, text_of};
use crate::support::app::TestApp;

#[tokio::test]
async fn category_is_created_renamed_and_deleted() {
    let app = TestApp::start().await;
    let desk = Desk::of(&app, "staff", None).await;
    let empty = desk.html("/admin/categories/").await;
    assert!(empty.contains("There are no categories yet. Products need one: create the first."));

    let made = desk
        .post(
            "/admin/categories/new/",
            &[("name", "Desk & Chair"), ("idempotency_key", "k1")],
        )
        .await;
    let page = led(&made).to_owned();
    let html = desk.html(&page).await;
    assert_eq!(message(&made), "Desk & Chair created.");
    assert!(html.contains("<h1>Desk &#38; Chair</h1>"), "{html}");
    let twice = desk
        .post(
            "/admin/categories/new/",
            &[("name", "Desk & Chair"), ("idempotency_key", "k1")],
        )
        .await;
    assert_eq!(led(&twice), page, "the same form is done once");

    let path = page.split('?').next().unwrap();
    let saved = desk.post(&format!("{path}edit/"), &[("name", "Desks")]).await;
    assert_eq!((led(&saved), message(&saved).as_str()), (path, "Desks saved."));
    assert!(
        desk.html("/admin/categories/?q=DESK")
            .await
            .contains(">Desks</a>")
    );

    let asked = text_of(&desk.html(&format!("{path}delete/")).await);
    assert!(
        asked.contains("Delete the category Desks? It has no products: nothing else is deleted."),
        "{asked}"
    );
    let deleted = desk.post(&format!("{path}delete/"), &[]).await;
    assert_eq!(led(&deleted), "/admin/categories/");
    assert_eq!(message(&deleted), "Desks deleted.");
    assert_eq!(desk.get(path).await.status, 404);
    assert_eq!(desk.post(&format!("{path}delete/"), &[]).await.status, 404);
}

#[tokio::test]
async fn rejected_form_keeps_its_values_and_shows_the_error() {
    let app = TestApp::start().await;
    let desk = Desk::of(&app, "superuser", None).await;
    app.category("Taken").await;
    let taken = desk.post("/admin/categories/new/", &[("name", "Taken")]).await;
    assert_eq!(taken.status, 400);
    assert!(
        taken
            .text
            .contains(r#"value="Taken" aria-describedby="name-hint name-error" aria-invalid="true""#),
        "{}",
        taken.text
    );
    assert!(taken.text.contains("Category with this name already exists."));
    let long = "<b>".repeat(40);
    let long = desk.post("/admin/categories/new/", &[("name", &long)]).await;
    assert_eq!(long.status, 400);
    assert!(!long.text.contains("<b>"));
}

#[tokio::test]
async fn delete_page_lists_dependent_records_or_the_reason_for_refusal() {
    let app = TestApp::start().await;
    let desk = Desk::of(&app, "staff", None).await;
    let (category, store) = (app.category("Tools").await, app.store("North").await);
    let product = app.product_in(category, "Saw", "5.00").await;
    app.stock(store, product, 1200).await;
    let path = format!("/admin/categories/{category}/delete/");
    let asked = text_of(&desk.html(&path).await);
    assert!(
        asked.contains(
            "Also deletes its 1 product and their stock: 1,200 units in 1 stock row. This cannot be undone."
        ),
        "{asked}"
    );
    app.order(store, &[(product, 1)]).await;
    let asked = desk.html(&path).await;
    assert!(text_of(&asked).contains("Some of its products have orders, so it can&#39;t be deleted."));
    assert!(!asked.contains(">Delete</button>"));
    let refused = desk.post(&path, &[]).await;
    assert_eq!(refused.status, 409);
    assert!(
        refused
            .text
            .contains("Cannot delete this category: it has products that were ordered.")
    );
}

#[tokio::test]
async fn categories_are_sorted_by_product_count() {
    let app = TestApp::start().await;
    let desk = Desk::of(&app, "viewer", None).await;
    let many = app.category("B").await;
    app.category("A").await;
    let product = app.product_in(many, "Saw", "5.00").await;
    app.product_in(many, "Axe", "5.00").await;
    app.patch(
        &format!("/api/products/{product}/"),
        &json!({ "is_active": false }),
    )
    .await;
    let order = |html: &str| {
        let (a, b) = (html.find(">A</a>").unwrap(), html.find(">B</a>").unwrap());
        a < b
    };
    assert!(order(&desk.html("/admin/categories/").await));
    let by_products = desk.html("/admin/categories/?sort=-products").await;
    assert!(!order(&by_products));
    assert!(by_products.contains(r#"aria-sort="descending""#));
    assert!(
        text_of(&by_products).contains("B 2 1"),
        "{}",
        text_of(&by_products)
    );
}

#[tokio::test]
async fn viewers_and_bound_staff_cannot_change_categories() {
    let app = TestApp::start().await;
    let (category, store) = (app.category("Tools").await, app.store("North").await);
    let page = format!("/admin/categories/{category}/");
    for (role, stores) in [("viewer", None), ("staff", Some(&[store][..]))] {
        let desk = Desk::of(&app, role, stores).await;
        let html = desk.html("/admin/categories/").await + &desk.html(&page).await;
        for offer in ["/new/", "/edit/", "/delete/"] {
            assert!(!html.contains(offer), "{role} is not offered {offer}");
        }
        for path in [
            "/admin/categories/new/",
            &format!("{page}edit/"),
            &format!("{page}delete/"),
        ] {
            assert_eq!(desk.get(path).await.status, 403, "{role} {path}");
            assert_eq!(
                desk.post(path, &[("name", "New")]).await.status,
                403,
                "{role} {path}"
            );
        }
    }
    let kept = app.get(&format!("/api/categories/{category}/")).await;
    assert_eq!(kept.body["name"], "Tools");
}
