//! What the standard has no words for: the protocol of Chromium's own tools, and its logs.

use axum::http::Method;
use fantoccini::{Client, error::CmdError, wd::WebDriverCompatibleCommand};
use reqwest::Url;
use serde_json::{Value, json};

/// A command of chromedriver's own.
#[derive(Debug)]
struct Vendor {
    path: &'static str,
    body: Value,
}

impl WebDriverCompatibleCommand for Vendor {
    fn endpoint(&self, base: &Url, session: Option<&str>) -> Result<Url, <Url as std::str::FromStr>::Err> {
        let session = session.unwrap_or_default();
        base.join(&format!("session/{session}/{}", self.path))
    }

    fn method_and_body(&self, _: &Url) -> (Method, Option<String>) {
        (Method::POST, Some(self.body.to_string()))
    }
}

/// Executes a command of that protocol.
pub async fn cdp(client: &Client, cmd: &'static str, params: Value) -> Result<Value, CmdError> {
    let body = json!({ "cmd": cmd, "params": params });
    client
        .issue_cmd(Vendor {
            path: "goog/cdp/execute",
            body,
        })
        .await
}

/// What has been logged since this was last asked.
pub async fn log(client: &Client, kind: &'static str) -> Result<Vec<Value>, CmdError> {
    let body = json!({ "type": kind });
    let entries = client.issue_cmd(Vendor { path: "se/log", body }).await?;
    Ok(entries.as_array().cloned().unwrap_or_default())
}
