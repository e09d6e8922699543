//! The console, page by page, as a browser without JavaScript has it.

mod audit;
mod categories;

use std::sync::Arc;

use afforo::{
    access::{Grant, Scope, Scopes, Secret, Stores},
    admin::{self, Api, Console, Operator},
    audit::Who,
    category,
    database::Database,
    inventory,
    order::{self, GroupCommit},
    product,
    rate_limit::RateLimitLayer,
    server::{self, App, Limits},
    shutdown::Stop,
    store,
    web::{AppState, Caller, Repeats},
    worker::Queues,
};
use axum::Extension;
use reqwest::Method;
use serde_json::Value;
use tokio::net::TcpListener;
use utoipa_axum::router::OpenApiRouter;

use crate::support::app::{Answer, TestApp, client, production, send};

/// The console as one operator has it.
pub struct Desk {
    address: std::net::SocketAddr,
    client: reqwest::Client,
    stop: Arc<Stop>,
}

impl Desk {
    /// Logs in as somebody new with this role, bound to these stores, if to any.
    pub async fn of(app: &TestApp, role: &'static str, stores: Option<&[i64]>) -> Self {
        let id: i64 = sqlx::query_scalar(
            "insert into account (username, password_hash, role, stores) values ($1 || nextval('account_id_seq'), '', $1, $2) returning id",
        )
        .bind(role)
        .bind(stores)
        .fetch_one(&app.pool)
        .await
        .unwrap();
        let username: Arc<str> = format!("{role} {id}").into();
        let who = Who::Account {
            id,
            name: username.clone(),
        };
        let scopes = match role {
            "superuser" => Scopes::ALL,
            "staff" => Scope::ALL
                .into_iter()
                .filter(|scope| *scope != Scope::Admin)
                .collect(),
            _ => Scopes::READ,
        };
        let stores = Stores::of_column(stores.map(<[i64]>::to_vec));
        let operator = Operator {
            account_id: id,
            username,
            role,
            caller: Caller {
                grant: Arc::new(Grant { who, scopes, stores }),
                address: None,
                request_id: None,
            },
        };
        Self::serve(app, operator).await
    }

    async fn serve(app: &TestApp, operator: Operator) -> Self {
        let database = Arc::new(Database::new(&app.database_url, 4, 1).unwrap());
        let stop = Arc::new(Stop::default());
        let state = AppState {
            database: database.clone(),
            order_confirmed: app.order_confirmed.clone(),
            stop: stop.clone(),
        };
        let limit = RateLimitLayer::builder(redis::Client::open(app.redis.url()).unwrap())
            .enabled(false)
            .build();
        let (api, _) = OpenApiRouter::new()
            .merge(category::router())
            .merge(product::router(limit))
            .merge(store::router())
            .merge(inventory::router())
            .merge(order::router())
            .split_for_parts();
        let placement = GroupCommit::start(&database.placement, order::Limits::with_lanes(1));
        let repeats = Repeats::new(database.pool.clone(), std::time::Duration::from_secs(5));
        let api = api.layer(Extension(placement)).layer(Extension(repeats));
        let console = Console {
            app: state.clone(),
            api: Api::new(api.with_state(state.clone())),
            queues: Queues::new(&app.redis).unwrap(),
            secret: Secret::new("a secret of the tests".into()),
            debug: false,
            configuration: Arc::new([("SECRET_KEY".to_owned(), "set".to_owned())]),
        };
        let routes = admin::router(console)
            .with_state(state)
            .layer(Extension(operator));
        let served = App::new(routes, &production(), Limits::default(), stop.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(server::run(listener, served));
        Self {
            address,
            client: client(),
            stop,
        }
    }

    /// A page.
    pub async fn get(&self, path: &str) -> Answer {
        send(self.client.get(format!("http://{}{path}", self.address))).await
    }

    /// A page that is there.
    #[track_caller]
    pub fn html(&self, path: &str) -> impl Future<Output = String> {
        let page = self.client.get(format!("http://{}{path}", self.address));
        let path = path.to_owned();
        async move {
            let page = send(page).await;
            assert_eq!(page.status, 200, "{path}: {}", page.text);
            page.text
        }
    }

    /// Sends a form.
    pub async fn post(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let mut body = form_urlencoded::Serializer::new(String::new());
        body.extend_pairs(fields);
        let request = self
            .client
            .request(Method::POST, format!("http://{}{path}", self.address));
        let request = request
            .header("content-type", "application/x-www-form-urlencoded")
            .header("sec-fetch-site", "same-origin");
        send(request.body(body.finish())).await
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        self.stop.announced.cancel();
    }
}

/// Asserts that a form was done, and returns where it leads.
#[track_caller]
pub fn led(answer: &Answer) -> &str {
    assert_eq!(answer.status, 303, "{}", answer.text);
    answer.header("location")
}

/// Writes an entry into the audit log, as the API does, and returns its id.
pub async fn logged(
    app: &TestApp,
    actor: Option<(&str, &str)>,
    action: &str,
    subject: &str,
    change: (Value, Value),
) -> i64 {
    sqlx::query_scalar(
        "insert into audit_log (actor, actor_name, address, action, subject, before, after)
         values ($1, $2, '203.0.113.7', $3, $4, $5, $6) returning id",
    )
    .bind(actor.map(|actor| actor.0))
    .bind(actor.map(|actor| actor.1))
    .bind(action)
    .bind(subject)
    .bind(change.0)
    .bind(change.1)
    .fetch_one(&app.pool)
    .await
    .unwrap()
}

/// The text of a page without its tags, each run of blanks as one.
pub fn text_of(html: &str) -> String {
    let main = html.split_once("<main").map_or(html, |(_, main)| main);
    let mut text = String::new();
    let mut within = true;
    for c in main.chars() {
        match c {
            '<' => within = true,
            '>' if within => {
                within = false;
                text.push(' ');
            }
            c if !within => text.push(c),
            _ => {}
        }
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
