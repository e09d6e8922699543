//! The console, as a browser without JavaScript sees it.

mod accounts;
mod audit;
mod bulk;
mod categories;
mod conflicts;
mod filters;
mod flash;
mod jobs;
mod keys;
mod live;
mod login;
mod low;
mod manners;
mod manual_order;
mod matrix;
mod movements;
mod order_documents;
mod orders;
mod out_of_order;
mod overview;
mod own_account;
mod products;
mod resume;
mod sessions;
mod setup;
mod stock;
mod stock_access;
mod stores;
mod system;
mod throttling;
mod transfers;

use afforo::auth::Role;
use form_urlencoded::Serializer;
use reqwest::{Method, RequestBuilder};
use serde_json::Value;

pub use crate::support::accounts::{PASSWORD, account};
use crate::support::app::{Answer, TestApp, production, send};

/// Makes an account of that role, named after it, that sees all stores, and logs in.
pub async fn browser(app: &TestApp, role: Role) -> Browser<'_> {
    account(app, role.as_str(), role, None).await;
    Browser::log_in(app, role.as_str()).await
}

/// A browser: it keeps its cookie, and says what a browser says. It follows no redirect.
pub struct Browser<'a> {
    app: &'a TestApp,
    pub cookie: Option<String>,
    /// The cookie with a message for the next page.
    flash: Option<String>,
}

impl<'a> Browser<'a> {
    /// One that nobody has logged in with.
    pub fn new(app: &'a TestApp) -> Self {
        Self {
            app,
            cookie: None,
            flash: None,
        }
    }

    /// One that somebody has logged in with, through the form.
    pub async fn log_in(app: &'a TestApp, username: &str) -> Self {
        let mut browser = Self::new(app);
        let answer = browser.enter(username, PASSWORD).await;
        assert_eq!(
            (answer.status.as_u16(), answer.header("location")),
            (303, "/admin/"),
            "{}",
            answer.text
        );
        browser
    }

    /// Sends the form of the login.
    pub async fn enter(&mut self, username: &str, password: &str) -> Answer {
        self.post("/admin/login/", &[("username", username), ("password", password)])
            .await
    }

    /// Asks for a page.
    pub async fn get(&mut self, path: &str) -> Answer {
        let request = self.request(Method::GET, path);
        self.send(request).await
    }

    /// The page itself, which must be there.
    pub async fn page(&mut self, path: &str) -> String {
        let answer = self.get(path).await;
        assert_eq!(
            answer.status,
            200,
            "{path}: {} {}",
            answer.header("location"),
            answer.text
        );
        answer.text
    }

    /// Sends a form.
    pub async fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> Answer {
        self.send(self.form(path, fields)).await
    }

    /// A form, to be sent.
    pub fn form(&self, path: &str, fields: &[(&str, &str)]) -> RequestBuilder {
        let body = Serializer::new(String::new()).extend_pairs(fields).finish();
        self.request(Method::POST, path)
            .header("content-type", "application/x-www-form-urlencoded")
            .header("sec-fetch-site", "same-origin")
            .header("origin", format!("http://{}", self.app.address))
            .body(body)
    }

    /// A request with the cookie, to be completed.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self
            .app
            .request(method, path)
            .header("accept", "text/html,*/*;q=0.8");
        let cookies: Vec<&str> = [&self.cookie, &self.flash]
            .into_iter()
            .flatten()
            .map(String::as_str)
            .collect();
        if cookies.is_empty() {
            request
        } else {
            request.header("cookie", cookies.join("; "))
        }
    }

    /// Sends a request, and keeps the cookies of the answer, but not the position of a write.
    pub async fn send(&mut self, request: RequestBuilder) -> Answer {
        let answer = send(request).await;
        for set in answer.headers.get_all("set-cookie") {
            let cookie = set.to_str().unwrap().split(';').next().unwrap().to_owned();
            if cookie.contains("position") {
                continue;
            }
            let kept = if cookie.contains("flash") {
                &mut self.flash
            } else {
                &mut self.cookie
            };
            *kept = Some(cookie).filter(|cookie| !cookie.ends_with('='));
        }
        answer
    }
}

/// How many rows a query counts.
pub async fn count(app: &TestApp, sql: &'static str) -> i64 {
    sqlx::query_scalar(sql).fetch_one(&app.pool).await.unwrap()
}

/// Changes something behind the back of the server.
pub async fn execute(app: &TestApp, sql: &'static str) {
    sqlx::query(sql).execute(&app.pool).await.unwrap();
}

/// The audit log, as `actor action subject after`.
pub async fn audit_log(app: &TestApp) -> Vec<String> {
    sqlx::query_scalar("select concat_ws(' ', coalesce(actor, '-'), action, coalesce(subject, '-'), after) from audit_log order by id")
        .fetch_all(&app.pool)
        .await
        .unwrap()
}

/// The console as somebody new with a role has it, who stays logged in.
pub struct Desk<'a>(Browser<'a>);

impl<'a> Desk<'a> {
    /// Logs in as somebody new with this role, bound to these stores, if to any.
    pub async fn of(app: &'a TestApp, role: &str, stores: Option<&[i64]>) -> Self {
        let role = role.parse().unwrap();
        let number = count(app, "select count(*) from account").await;
        let name = format!("{} {number}", Role::as_str(role));
        account(app, &name, role, stores.map(<[i64]>::to_vec)).await;
        Self(Browser::log_in(app, &name).await)
    }

    /// The same session on another server, with one more cookie.
    pub fn on<'b>(&self, app: &'b TestApp, cookie: Option<&str>) -> Desk<'b> {
        let cookies: Vec<&str> = self.0.cookie.as_deref().into_iter().chain(cookie).collect();
        Desk(Browser {
            app,
            cookie: Some(cookies.join("; ")),
            flash: None,
        })
    }

    /// A page.
    pub async fn get(&self, path: &str) -> Answer {
        send(self.0.request(Method::GET, path)).await
    }

    /// A page that is there.
    pub async fn html(&self, path: &str) -> String {
        let page = self.get(path).await;
        assert_eq!(page.status, 200, "{path}: {}", page.text);
        page.text
    }

    /// Sends a form.
    pub async fn post(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        send(self.0.form(path, fields)).await
    }
}

/// Asserts that a form was done, and returns where it leads.
#[track_caller]
pub fn led(answer: &Answer) -> &str {
    assert_eq!(answer.status, 303, "{}", answer.text);
    answer.header("location")
}

/// The message that a redirect has for the next page.
#[track_caller]
pub fn message(answer: &Answer) -> String {
    assert_eq!(answer.status, 303, "{}", answer.text);
    let cookie = answer.header("set-cookie").split(';').next().unwrap();
    let (name, value) = cookie.split_once('=').expect("a message is set");
    assert!(name.ends_with("afforo-flash"), "{name}");
    let value = percent_encoding::percent_decode_str(value).decode_utf8().unwrap();
    // Before it are the signature and the tone.
    value[45..].to_owned()
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
