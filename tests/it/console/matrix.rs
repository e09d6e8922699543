//! Every route of the console × every role × stores that are the operator's or not. The routes are read from the source, so that
//! none can be forgotten; what each caller is answered follows from where it is.

use afforo::auth::Role;
use reqwest::{Method, StatusCode};
use serde_json::json;

use super::{Browser, Desk, account};
use crate::{architecture::sources, support::app::TestApp};

/// Where nobody need be logged in.
const OPEN: [&str; 3] = ["/admin/login/", "/admin/setup/", "/admin/assets/"];
/// What everybody may do to their own account.
const OWN: [&str; 2] = ["/admin/account/", "/admin/logout/"];
/// What is for superusers.
const SUPERUSERS: [&str; 3] = ["/admin/access/", "/admin/jobs/drop/", "/admin/jobs/run/"];
/// Pages that lead to a write, by the end of their path.
const TO_WRITE: [&str; 11] = [
    "/ship/",
    "/receive/",
    "/cancel/",
    "/fulfill/",
    "/return/",
    "/new/",
    "/edit/",
    "/delete/",
    "/revoke/",
    "/new/products/",
    "/selected/",
];

/// A route of the console.
#[derive(Clone, Debug)]
struct Route {
    path: String,
    method: Method,
}

impl Route {
    fn begins(&self, with: &[&str]) -> bool {
        with.iter().any(|start| self.path.starts_with(start))
    }

    fn writes(&self) -> bool {
        self.method == Method::POST
    }

    fn leads_to_a_write(&self) -> bool {
        self.writes() || TO_WRITE.iter().any(|end| self.path.ends_with(end))
    }

    /// Whether it is about what belongs to a store.
    fn is_of_a_store(&self) -> bool {
        self.begins(&[
            "/admin/orders/{id}",
            "/admin/stock/{id}",
            "/admin/stores/{id}",
            "/admin/transfers/{id}",
        ])
    }

    /// Of what is checked, something is.
    fn url(&self, id: i64) -> String {
        let url = self.path.replace("{id}", &id.to_string());
        match url.as_str() {
            "/admin/selected/" => url + "?of=stock&do=delete&id=" + &id.to_string(),
            _ => url,
        }
    }

    /// What its form has to say to be read at all.
    fn fields(&self) -> &'static [(&'static str, &'static str)] {
        match self.path.as_str() {
            "/admin/selected/" => &[("of", "products"), ("do", "delete"), ("id", "1")],
            _ => &[],
        }
    }
}

/// The routes that the source of the console has, in the order of their paths.
fn routes() -> Vec<Route> {
    let sources = sources("src/console");
    let resources: Vec<&str> = sources.iter().filter_map(|(_, source)| section(source)).collect();
    assert_eq!(resources.len(), 3, "{resources:?}");
    let mut routes = Vec::new();
    for (_, source) in &sources {
        for after in source.split(".route(").skip(1) {
            let call = call(after);
            for path in paths(call, &resources) {
                let methods = methods(call);
                routes.extend(methods.map(|method| Route {
                    path: path.clone(),
                    method,
                }));
            }
        }
    }
    routes.sort_by(|one, other| one.path.cmp(&other.path));
    assert!(routes.len() > 60, "{routes:#?}");
    routes
}

/// The section of a file that has the routes of a resource.
fn section(source: &str) -> Option<&str> {
    source.contains("resource::routes::<").then_some(())?;
    source.split("const SECTION: &str = \"").nth(1)?.split('"').next()
}

/// The paths of a route. One that is not written out belongs to each resource.
fn paths(call: &str, resources: &[&str]) -> Vec<String> {
    let path = call.split('"').nth(1).unwrap_or_default();
    if path.contains('*') {
        return Vec::new();
    }
    if path.starts_with("/admin/") {
        return vec![path.to_owned()];
    }
    let is_of = |section: &str| !path.contains("activate") || section != "/admin/categories/";
    let sections = resources.iter().filter(|section| is_of(section));
    sections.map(|section| format!("{section}{path}")).collect()
}

/// The methods of a route; GET for a handler that it is given.
fn methods(call: &str) -> impl Iterator<Item = Method> {
    let is_there = |name: &str| {
        call.split(|c: char| !c.is_alphanumeric() && c != '(')
            .any(|word| word.starts_with(name))
    };
    let (gets, posts) = (is_there("get("), is_there("post("));
    let get = (gets || !posts).then_some(Method::GET);
    get.into_iter().chain(posts.then_some(Method::POST))
}

/// What stands between the parentheses of a call, which are open already.
fn call(after: &str) -> &str {
    let mut depth = 1;
    let end = after.find(|c| {
        depth += match c {
            '(' => 1,
            ')' => -1,
            _ => 0,
        };
        depth == 0
    });
    &after[..end.unwrap()]
}

/// Two stores with stock, an order and a transfer each, whose ids are 1 and 2, a category, a product, an account and a key.
async fn app() -> TestApp {
    let app = TestApp::start().await;
    let product = app.product("Lamp", "10.00").await;
    for (id, name) in [(1, "Ours"), (2, "Theirs")] {
        assert_eq!(app.store(name).await, id);
        assert_eq!(app.stock(id, product, 10).await, id);
        assert_eq!(app.order(id, &[(product, 1)]).await.created(), id);
    }
    app.store("Elsewhere").await;
    for from in [1, 2] {
        let items = json!([{ "product_id": product, "quantity": 1 }]);
        let new = json!({ "from_store_id": from, "to_store_id": 3, "items": items });
        assert_eq!(app.post("/api/transfers/", &new).await.created(), from);
    }
    app.key(&[], afforo::auth::Stores::All).await;
    account(&app, "somebody", Role::Superuser, None).await;
    app
}

/// The status of an answer; its body may have no end.
async fn status(desk: &Desk<'_>, route: &Route, id: i64) -> StatusCode {
    let url = route.url(id);
    let request = if route.writes() {
        desk.0.form(&url, route.fields())
    } else {
        desk.0.request(Method::GET, &url)
    };
    request.send().await.unwrap().status()
}

#[tokio::test]
async fn anonymous_request_redirects_to_login() {
    let app = app().await;
    let desk = Desk(Browser::new(&app));
    for route in routes().iter().filter(|route| !route.begins(&OPEN)) {
        assert_eq!(status(&desk, route, 1).await, 303, "{route:?}");
        let url = route.url(1);
        let answer = if route.writes() {
            desk.post(&url, &[]).await
        } else {
            desk.get(&url).await
        };
        assert!(
            answer.header("location").starts_with("/admin/login/"),
            "{route:?}"
        );
    }
    let orders: i64 = sqlx::query_scalar("select count(*) from orders")
        .fetch_one(&app.pool)
        .await
        .unwrap();
    assert_eq!(orders, 2);
}

#[tokio::test]
async fn viewers_read_everything_but_accounts_and_write_nothing() {
    let app = app().await;
    let desk = Desk::of(&app, "viewer", None).await;
    for route in routes() {
        if route.begins(&OPEN) || route.begins(&OWN) {
            continue;
        }
        let expected = if route.leads_to_a_write() || route.begins(&SUPERUSERS) {
            403
        } else {
            200
        };
        assert_eq!(status(&desk, &route, 1).await, expected, "{route:?}");
    }
}

#[tokio::test]
async fn staff_get_403_for_superuser_pages_only() {
    let app = app().await;
    let desk = Desk::of(&app, "staff", None).await;
    for route in routes() {
        if route.begins(&OPEN) || route.begins(&OWN) {
            continue;
        }
        let got = status(&desk, &route, 1).await;
        if route.begins(&SUPERUSERS) {
            assert_eq!(got, 403, "{route:?}");
        } else {
            assert_ne!(got, 403, "{route:?}");
            assert!(!got.is_server_error(), "{route:?}: {got}");
        }
    }
}

#[tokio::test]
async fn superusers_never_get_401_or_403() {
    let app = app().await;
    let desk = Desk::of(&app, "superuser", None).await;
    for route in routes()
        .iter()
        .filter(|route| !route.begins(&OPEN) && !route.begins(&OWN))
    {
        let got = status(&desk, route, 1).await;
        assert!(
            ![401, 403].contains(&got.as_u16()) && !got.is_server_error(),
            "{route:?}: {got}"
        );
    }
}

#[tokio::test]
async fn records_of_another_store_are_hidden_from_bound_accounts() {
    let app = app().await;
    for role in ["viewer", "staff"] {
        let desk = Desk::of(&app, role, Some(&[1])).await;
        for route in routes() {
            if route.is_of_a_store() {
                let got = status(&desk, &route, 2).await.as_u16();
                let is_hidden = got == 404 || (got == 403 && route.leads_to_a_write());
                assert!(is_hidden, "{role} {route:?}: {got}");
            } else if route.begins(&["/admin/products/", "/admin/categories/"]) && route.leads_to_a_write() {
                assert_eq!(status(&desk, &route, 1).await, 403, "{role} {route:?}");
            }
        }
    }
    let quantities: Vec<i32> = sqlx::query_scalar("select quantity from inventory order by id")
        .fetch_all(&app.pool)
        .await
        .unwrap();
    assert_eq!(quantities, [9, 9]);
}
