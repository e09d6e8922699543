//! Every operation of the API × every scope × granted and other stores. The table has a row for each operation, from which
//! the expected status follows; an operation without a row fails the test.

use std::{collections::BTreeSet, net::Ipv4Addr};

use afforo::{
    auth::{Scope, Stores},
    config::{ApiAuth, HttpSettings},
};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::{
    ask, guarded,
    operations::{
        About::{self, Action, Creation, Document, Everyone, Object, Store},
        LAST, OPERATIONS,
    },
};
use crate::support::app::{TestApp, order, send};

/// Two stores, each with stock and an order of one product.
struct Fixture {
    app: TestApp,
    /// `[ours, theirs]`.
    stores: [i64; 2],
    stock: [i64; 2],
    orders: [i64; 2],
    /// A store with stock that no bound key has.
    elsewhere: i64,
    product: i64,
    category: i64,
    /// A key with every permission.
    admin: String,
    /// A counter that keeps names unique.
    made: usize,
}

impl Fixture {
    /// A key with all scopes for the first store only.
    async fn key_of_first_store(&self) -> String {
        let stores = Stores::Only([self.stores[0]].into());
        self.app.key(&[Scope::Admin], stores).await
    }

    async fn build() -> Self {
        let open = TestApp::start().await;
        let category = open.category("Lamps").await;
        let product = open.product_in(category, "Lamp", "10.00").await;
        let sku = json!({ "sku": "LAMP" });
        open.patch(&format!("/api/products/{product}/"), &sku).await;
        let (mut stores, mut stock, mut orders) = ([0; 2], [0; 2], [0; 2]);
        for (index, name) in ["Ours", "Theirs"].into_iter().enumerate() {
            stores[index] = open.store(name).await;
            stock[index] = open.stock(stores[index], product, 1000).await;
            orders[index] = open.order(stores[index], &[(product, 1)]).await.created();
        }
        let elsewhere = open.store("Elsewhere").await;
        open.stock(elsewhere, product, 1000).await;
        // Each request has its own address, so that earlier failures do not throttle it.
        let http = HttpSettings {
            trusted_proxies: "127.0.0.1".parse().unwrap(),
            ..guarded(ApiAuth::All)
        };
        let app = open.beside_with(http).await;
        let admin = app.key(&[Scope::Admin], Stores::All).await;
        Self {
            app,
            admin,
            stores,
            stock,
            orders,
            elsewhere,
            product,
            category,
            made: 0,
        }
    }

    /// A new order of a store with this mode.
    async fn sold(&self, store: i64, fulfillment: &str) -> i64 {
        let mode = json!({ "fulfillment": fulfillment });
        let path = format!("/api/stores/{store}/");
        let changed = ask(&self.app, &self.admin, Method::PATCH, &path, &mode).await;
        assert_eq!(changed.status, 200, "{}", changed.text);
        let order = order(store, &[(self.product, 1)]);
        ask(&self.app, &self.admin, Method::POST, "/api/orders/", &order)
            .await
            .created()
    }

    /// Reserves a unit in a store. Returns the id.
    async fn reserved(&self, store: i64) -> i64 {
        let body = order(store, &[(self.product, 1)]);
        ask(&self.app, &self.admin, Method::POST, "/api/reservations/", &body)
            .await
            .created()
    }

    /// A new transfer from a store; or one to it that is shipped, to be received.
    async fn transferred(&self, store: i64, is_to: bool) -> i64 {
        let (from, to) = if is_to {
            (self.elsewhere, store)
        } else {
            (store, self.elsewhere)
        };
        let items = json!([{ "product_id": self.product, "quantity": 1 }]);
        let new = json!({ "from_store_id": from, "to_store_id": to, "items": items });
        let made = ask(&self.app, &self.admin, Method::POST, "/api/transfers/", &new).await;
        let id = made.created();
        if is_to {
            let path = format!("/api/transfers/{id}/ship/");
            let shipped = ask(&self.app, &self.admin, Method::POST, &path, &json!({})).await;
            assert_eq!(shipped.status, 200, "{}", shipped.text);
        }
        id
    }

    /// A new stock count of a store, in which nothing was counted.
    async fn begun(&self, store: i64) -> i64 {
        let new = json!({ "store_id": store, "scope": { "all": true } });
        ask(&self.app, &self.admin, Method::POST, "/api/stock-counts/", &new)
            .await
            .created()
    }

    /// Requests an operation on data of a store: 0 is ours, 1 theirs. An object to be deleted is created first.
    async fn ask(&mut self, key: &str, (method, path): (&str, &str), store: usize) -> (StatusCode, Value) {
        self.made += 1;
        let name = format!("Made {}", self.made);
        let (store_id, product) = (self.stores[store], self.product);
        let fresh_product = async |app: &TestApp| {
            let body = json!({ "title": name, "price": "1.00", "category_id": self.category });
            ask(app, &self.admin, Method::POST, "/api/products/", &body)
                .await
                .created()
        };
        let id = match (method, path) {
            ("DELETE", "/api/categories/{id}/") => {
                let body = json!({ "name": name });
                let made = ask(&self.app, &self.admin, Method::POST, "/api/categories/", &body).await;
                made.created()
            }
            ("DELETE", "/api/products/{id}/") => fresh_product(&self.app).await,
            ("DELETE", "/api/inventory/{id}/") => {
                let body = json!({ "store_id": store_id, "product_id": fresh_product(&self.app).await });
                let made = ask(&self.app, &self.admin, Method::POST, "/api/inventory/", &body).await;
                made.created()
            }
            (_, "/api/inventory/reversals/") => {
                let body = json!({ "kind": "add", "quantity": 1, "reason": "Found" });
                let path = format!("/api/inventory/{}/movements/", self.stock[store]);
                let made = ask(&self.app, &self.admin, Method::POST, &path, &body).await;
                made.created()
            }
            ("POST", "/api/orders/{id}/cancellations/" | "/api/orders/{id}/returns/") => {
                self.sold(store_id, "IMMEDIATE").await
            }
            ("POST", "/api/orders/{id}/fulfillments/") => self.sold(store_id, "TRACKED").await,
            (_, path) if path.starts_with("/api/transfers/{id}/") => {
                self.transferred(store_id, path.ends_with("/receive/")).await
            }
            (_, path) if path.starts_with("/api/stock-counts/{id}/") => self.begun(store_id).await,
            (_, path) if path.starts_with("/api/categories/") => self.category,
            (_, path) if path.starts_with("/api/products/") => product,
            (_, path) if path.starts_with("/api/stores/") => store_id,
            (_, path) if path.starts_with("/api/reservations/{id}/") => self.reserved(store_id).await,
            (_, path) if path.starts_with("/api/inventory/") => self.stock[store],
            _ => self.orders[store],
        };
        let body = match (method, path.split('/').nth(2).unwrap()) {
            ("GET" | "DELETE", _) => Value::Null,
            (_, "categories") if method == "POST" => json!({ "name": name }),
            (_, "categories") => json!({ "name": "Lamps" }),
            ("POST", "products") if path.ends_with("/bulk/") => {
                json!({ "products": [{ "sku": "LAMP", "price": self.made }] })
            }
            (_, "products") => json!({ "title": "Lamp", "price": "10.00", "category_id": self.category }),
            (_, "transfers") if path.ends_with("/receive/") => json!({ "close": true }),
            (_, "transfers") if path.contains("{id}") => json!({}),
            (_, "transfers") => {
                let items = json!([{ "product_id": product, "quantity": 1 }]);
                json!({ "from_store_id": store_id, "to_store_id": self.elsewhere, "items": items })
            }
            (_, "stock-counts") if path.ends_with("/lines/") => {
                json!({ "lines": [{ "product_id": product, "counted": 1 }] })
            }
            (_, "stock-counts") if path.contains("{id}") => json!({}),
            (_, "stock-counts") => json!({ "store_id": store_id, "scope": { "all": true } }),
            (_, "stores") => json!({ "name": name, "location": "Here" }),
            (_, "reservations") if path.ends_with("/extend/") => json!({ "ttl_seconds": 60 }),
            (_, "reservations") if path.ends_with("/release/") => json!({ "items": null }),
            (_, "orders") if path.matches('/').count() > 4 => json!({ "reason": "Late" }),
            (_, "orders" | "reservations") => {
                json!({ "store_id": store_id, "items": [{ "product_id": product, "quantity": 1 }] })
            }
            ("POST", _) if path.ends_with("/movements/") => {
                json!({ "kind": "add", "quantity": 1, "reason": "Found" })
            }
            ("POST", _) if path.ends_with("/reversals/") => {
                json!({ "movement_ids": [id], "reason": "Lost again" })
            }
            ("POST", _) if path.ends_with("/adjustments/") => {
                json!({ "reason_code": "FOUND", "adjustments": [{ "inventory_id": self.stock[store], "delta": 1 }] })
            }
            ("POST", _) => json!({ "store_id": store_id, "product_id": fresh_product(&self.app).await }),
            _ => json!({ "store_id": store_id, "product_id": product, "low_stock_threshold": 5 }),
        };
        let url = path.replace("{id}", &id.to_string()).replace("{sku}", "LAMP");
        let url = if url.ends_with("autocomplete/") {
            url + "?q=lam"
        } else if url.ends_with("lookup/") {
            url + "?code=LAMP"
        } else if url.ends_with("as-of/") {
            url + "?at=2030-01-01T00:00:00Z"
        } else {
            url
        };
        let address = Ipv4Addr::from(u32::try_from(self.made).unwrap());
        let request = self.app.request(method.parse().unwrap(), &url).bearer_auth(key);
        let request = request.header("x-forwarded-for", address.to_string());
        let answer = match body {
            Value::Null => send(request).await,
            body => send(request.json(&body)).await,
        };
        (answer.status, answer.body)
    }
}

/// The statuses that a caller with the scope may get.
fn expected((method, path): (&str, &str), about: About, is_bound: bool, store: usize) -> &'static [u16] {
    let done: &[u16] = match method {
        "POST" if matches!(about, Document | Action) || path.ends_with("/bulk/") => &[200],
        "POST" => &[201],
        "DELETE" => &[204, 409],
        _ => &[200],
    };
    match about {
        _ if !is_bound => done,
        Everyone | Store if method != "GET" => &[403],
        Object | Action if store == 1 => &[404],
        Creation if store == 1 => &[400],
        Document if store == 1 => &[409],
        _ => done,
    }
}

fn statuses(expected: &[u16], got: StatusCode) -> bool {
    expected.contains(&got.as_u16())
}

#[tokio::test]
async fn every_operation_needs_its_scope_and_its_store() {
    let mut fixture = Fixture::build().await;
    let ours = || Stores::Only([fixture.stores[0]].into());
    let (bound, nowhere) = (ours(), Stores::Only([].into()));
    let mut allowed = 0;
    for (method, path, needed, about) in OPERATIONS.iter().chain(LAST).copied() {
        let what = (method, path);
        for key in ["", "afk_1_wrong", "Bearer"] {
            assert_eq!(fixture.ask(key, what, 0).await.0, 401, "{what:?} with {key:?}");
        }
        for scope in Scope::ALL {
            let key = fixture.app.key(&[scope], Stores::All).await;
            let (status, body) = fixture.ask(&key, what, 0).await;
            if scope == needed || scope == Scope::Admin {
                assert!(
                    statuses(expected(what, about, false, 0), status),
                    "{what:?} with {scope}: {status} {body}"
                );
                allowed += 1;
            } else {
                assert_eq!(status, 403, "{what:?} with {scope}: {body}");
                assert!(
                    body["detail"].as_str().unwrap().contains(needed.as_str()),
                    "the scope is named: {body}"
                );
            }
        }
        let all_but = |scope: &Scope| *scope != needed && *scope != Scope::Admin;
        let others: Vec<Scope> = Scope::ALL.into_iter().filter(all_but).collect();
        let key = fixture.app.key(&others, Stores::All).await;
        assert_eq!(
            fixture.ask(&key, what, 0).await.0,
            403,
            "{what:?} without {needed}"
        );

        for scope in [needed, Scope::Admin] {
            for store in [0, 1] {
                let key = fixture.app.key(&[scope], bound.clone()).await;
                let (status, body) = fixture.ask(&key, what, store).await;
                assert!(
                    statuses(expected(what, about, true, store), status),
                    "{what:?} of store {store} with {scope}, bound: {status} {body}"
                );
                let key = fixture.app.key(&[scope], nowhere.clone()).await;
                let (status, body) = fixture.ask(&key, what, store).await;
                assert!(
                    statuses(expected(what, about, true, 1), status),
                    "{what:?} with {scope}, bound to no store: {status} {body}"
                );
            }
        }
    }
    // One operation needs the scope `admin` itself.
    assert_eq!(allowed, 2 * (OPERATIONS.len() + LAST.len()) - 1);
    assert_eq!(fixture.app.unbalanced().await, []);
}

#[test]
fn matrix_has_every_operation() {
    let document = serde_json::to_value(afforo::server::document()).unwrap();
    let paths = document["paths"].as_object().unwrap();
    let known: BTreeSet<(String, String)> = paths
        .iter()
        .filter(|(path, _)| !path.starts_with("/health/"))
        .flat_map(|(path, item)| {
            let methods = item.as_object().unwrap().keys();
            methods.map(move |method| (method.to_ascii_uppercase(), path.clone()))
        })
        .collect();
    let in_table = OPERATIONS.iter().chain(LAST);
    let in_table: BTreeSet<(String, String)> = in_table
        .map(|(method, path, ..)| ((*method).to_owned(), (*path).to_owned()))
        .collect();
    assert_eq!(in_table, known);
}

#[tokio::test]
async fn lists_and_counts_include_granted_stores_only() {
    let fixture = Fixture::build().await;
    let [ours, theirs] = fixture.stores;
    let key = fixture.key_of_first_store().await;
    let get = async |path: String| ask(&fixture.app, &key, Method::GET, &path, &Value::Null).await;
    let movements = get("/api/inventory/movements/".to_owned()).await;
    assert_eq!(movements.column("store_id"), [ours, ours]);
    let as_of = get("/api/inventory/as-of/?at=2030-01-01T00:00:00Z".to_owned()).await;
    assert_eq!(as_of.column("store_id"), [ours]);
    for list in ["/api/stores/", "/api/inventory/", "/api/orders/"] {
        for query in ["", "?cursor="] {
            let rows = get(format!("{list}{query}")).await.column("id");
            assert_eq!(rows.len(), 1, "{list}{query}");
        }
    }
    let count = async |path: &str| get(path.to_owned()).await.body["count"].clone();
    assert_eq!(count("/api/stores/").await, 1);
    for list in ["/api/inventory/", "/api/orders/"] {
        assert_eq!(count(&format!("{list}?store_id={ours}")).await, 1, "{list}");
        assert_eq!(count(&format!("{list}?store_id={theirs}")).await, 0, "{list}");
    }
    assert_eq!(
        count(&format!("/api/inventory/?product_id={}", fixture.product)).await,
        1
    );
    assert_eq!(count("/api/orders/?status=confirmed").await, 1);
    let in_stock = async |store: i64| count(&format!("/api/products/search/?store_id={store}")).await;
    assert_eq!(
        (in_stock(ours).await, in_stock(theirs).await),
        (json!(1), json!(0))
    );
    let orders = async |path: String| get(path).await.body["total_orders"].clone();
    assert_eq!(orders("/api/orders/stats/".to_owned()).await, 1);
    assert_eq!(orders(format!("/api/orders/stats/?store_id={ours}")).await, 1);
    assert_eq!(orders(format!("/api/orders/stats/?store_id={theirs}")).await, 0);
}

#[tokio::test]
async fn body_cannot_name_a_store_that_is_not_granted() {
    let fixture = Fixture::build().await;
    let theirs = fixture.stores[1];
    let key = fixture.key_of_first_store().await;
    let send =
        async |method: Method, path: String, body: Value| ask(&fixture.app, &key, method, &path, &body).await;
    let missing = json!({ "store_id": [format!("Invalid pk \"{theirs}\" - object does not exist.")] });
    let stock = format!("/api/inventory/{}/", fixture.stock[0]);
    send(Method::PATCH, stock.clone(), json!({ "store_id": theirs }))
        .await
        .is(400, missing.clone());
    let complete = json!({ "store_id": theirs, "product_id": fixture.product });
    send(Method::PUT, stock, complete.clone())
        .await
        .is(400, missing.clone());
    send(Method::POST, "/api/inventory/".to_owned(), complete)
        .await
        .is(400, missing);
    let order = json!({ "store_id": theirs, "items": [{ "product_id": fixture.product, "quantity": 1 }] });
    send(Method::POST, "/api/orders/".to_owned(), order).await.is(
        400,
        json!({ "error": "Validation Error", "detail": format!("Store {theirs} not found or inactive") }),
    );
    let stock = fixture.app.key(&[Scope::InventoryRead], Stores::All).await;
    let path = format!("/api/inventory/{}/", fixture.stock[1]);
    let untouched = ask(&fixture.app, &stock, Method::GET, &path, &Value::Null).await;
    assert_eq!(untouched.body["quantity"], 999);
}
