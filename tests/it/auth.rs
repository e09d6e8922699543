//! Access to the API: keys, scopes, granted stores, and the records of changes.

mod keys;
mod limits;
mod matrix;
mod operations;
mod records;

use afforo::config::{ApiAuth, ApiAuthSetting, HttpSettings};
use reqwest::Method;
use serde_json::Value;

use crate::support::app::{Answer, TestApp, production, send};

/// The settings of a server that requires keys.
pub fn guarded(auth: ApiAuth) -> HttpSettings {
    HttpSettings {
        api_auth: ApiAuthSetting(Some(auth)),
        ..production()
    }
}

/// Sends a request with a key. A null body means no body.
async fn ask(app: &TestApp, key: &str, method: Method, path: &str, body: &Value) -> Answer {
    let request = app.request(method, path).bearer_auth(key);
    match body {
        Value::Null => send(request).await,
        body => send(request.json(body)).await,
    }
}
