//! Who may do what with the API: keys, scopes, stores, and what is written down about it.

mod keys;
mod limits;
mod matrix;
mod records;

use afforo::config::{ApiAuth, ApiAuthSetting, HttpSettings};
use reqwest::Method;
use serde_json::Value;

use crate::support::app::{Answer, TestApp, production, send};

/// The settings of a server that asks for keys.
fn guarded(auth: ApiAuth) -> HttpSettings {
    HttpSettings {
        api_auth: ApiAuthSetting(Some(auth)),
        ..production()
    }
}

/// Sends a request with a key; a body of null is none.
async fn ask(app: &TestApp, key: &str, method: Method, path: &str, body: &Value) -> Answer {
    let request = app.request(method, path).bearer_auth(key);
    match body {
        Value::Null => send(request).await,
        body => send(request.json(body)).await,
    }
}
