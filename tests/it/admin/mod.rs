//! The console, as a browser without JavaScript sees it.

mod login;

use afforo::access::{Account, AccountFields, PasswordHash, Role, account};
use argon2::{
    Algorithm, Argon2, Params, Version,
    password_hash::{PasswordHasher, phc},
};
use form_urlencoded::Serializer;
use reqwest::{Method, RequestBuilder};

use crate::support::app::{Answer, TestApp, production, send};

/// The password of every account that [`account`] makes.
pub const PASSWORD: &str = "correct horse battery";

/// Makes an active account, in no time.
pub async fn account(app: &TestApp, username: &str, role: Role, stores: Option<Vec<i64>>) -> Account {
    let fields = AccountFields {
        username: username.to_owned(),
        email: String::new(),
        role,
        stores,
        is_active: true,
    };
    // What a hash costs stands in it.
    let cheap = Argon2::new(
        Algorithm::Argon2id,
        Version::V0x13,
        Params::new(8, 1, 1, None).unwrap(),
    );
    let hash: phc::PasswordHash = cheap.hash_password(PASSWORD.as_bytes()).unwrap();
    let hash = PasswordHash::of_column(hash.to_string());
    account::create(&app.pool, &fields, &hash).await.unwrap()
}

/// Makes an account of that role, named after it, that sees all stores, and logs in.
pub async fn browser(app: &TestApp, role: Role) -> Browser<'_> {
    account(app, role.as_str(), role, None).await;
    Browser::log_in(app, role.as_str()).await
}

/// A browser: it keeps its cookie, and says what a browser says. It follows no redirect.
pub struct Browser<'a> {
    app: &'a TestApp,
    pub cookie: Option<String>,
}

impl<'a> Browser<'a> {
    /// One that nobody has logged in with.
    pub fn new(app: &'a TestApp) -> Self {
        Self { app, cookie: None }
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
    #[track_caller]
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
        let body = Serializer::new(String::new()).extend_pairs(fields).finish();
        let request = self
            .request(Method::POST, path)
            .header("content-type", "application/x-www-form-urlencoded")
            .header("sec-fetch-site", "same-origin")
            .header("origin", format!("http://{}", self.app.address))
            .body(body);
        self.send(request).await
    }

    /// A request with the cookie, to be completed.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self
            .app
            .request(method, path)
            .header("accept", "text/html,*/*;q=0.8");
        match &self.cookie {
            Some(cookie) => request.header("cookie", cookie),
            None => request,
        }
    }

    /// Sends a request, and keeps the cookie that it is answered with.
    pub async fn send(&mut self, request: RequestBuilder) -> Answer {
        let answer = send(request).await;
        if let Some(set) = answer.headers.get("set-cookie") {
            let cookie = set.to_str().unwrap().split(';').next().unwrap().to_owned();
            self.cookie = Some(cookie).filter(|cookie| !cookie.ends_with('='));
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
