//! The examples of the OpenAPI document and of docs/API.md get the responses that are written there, one after the other, from
//! a server with demo data. `REWRITE_EXAMPLES=1` writes the responses anew.

use std::fs;

use afforo::{
    auth::{Scope, Stores},
    config::ApiAuth,
    seed::{self, Plan},
    server::examples::{Example, examples},
};

use super::{blocks, untimed};
use crate::{
    auth::guarded,
    support::app::{Answer, TestApp, send},
};

/// A server with demo data that does not depend on chance, and the key of an administrator.
async fn shop() -> (TestApp, String) {
    let app = TestApp::start_with(guarded(ApiAuth::All)).await;
    let plan = Plan {
        products: 200,
        stores: 5,
        inventory: Some(400),
        orders: 0,
        random_seed: Some(1),
        ..Plan::default()
    };
    let options = app.database_url.parse().unwrap();
    seed::run(&options, &plan, |_| ()).await.unwrap();
    let key = app.key(&[Scope::Admin], Stores::All).await;
    (app, key)
}

async fn ask(app: &TestApp, key: &str, example: &Example<'_>) -> Answer {
    let mut request = app.request(example.method.parse().unwrap(), example.path);
    for (name, value) in &example.headers {
        request = request.header(*name, *value);
    }
    if let Some(body) = &example.body {
        request = request.json(body);
    }
    send(request.bearer_auth(key)).await
}

/// Sends the examples. Returns the texts of responses that differ, and what they are.
async fn differences(examples: &[Example<'_>]) -> Vec<(String, String)> {
    let (app, key) = shop().await;
    let mut differences = Vec::new();
    for example in examples {
        let answer = ask(&app, &key, example).await;
        let what = format!("{} {}: {}", example.method, example.path, answer.text);
        assert_eq!(answer.status.as_str(), example.status, "{what}");
        let text = answer.text.replace(&app.address.to_string(), "localhost:8000");
        let is_written = example.answer.starts_with(['{', '[']);
        if !is_written || untimed(example.answer) != untimed(&text) {
            differences.push((example.answer.to_owned(), text));
        }
    }
    assert_eq!(app.unbalanced().await, []);
    differences
}

/// Fails if there are differences, or replaces the responses in the file.
fn settle(file: &str, differences: &[(String, String)]) {
    if std::env::var_os("REWRITE_EXAMPLES").is_none() {
        assert_eq!(
            differences,
            [],
            "REWRITE_EXAMPLES=1 writes the responses of {file} anew"
        );
        return;
    }
    let text = fs::read_to_string(file).unwrap();
    let (mut rest, mut rewritten) = (text.as_str(), String::new());
    for (old, new) in differences {
        let (before, after) = rest.split_once(&format!("\n{old}\n")).unwrap();
        rewritten.extend([before, "\n", new, "\n"]);
        rest = after;
    }
    fs::write(file, rewritten + rest).unwrap();
}

#[tokio::test]
async fn examples_of_the_openapi_document_answer_as_written() {
    let examples = examples();
    assert!(examples.len() > 20);
    settle("src/server/examples.http", &differences(&examples).await);
}

#[tokio::test]
async fn examples_of_the_api_document_answer_as_written() {
    let blocks = blocks("docs/API.md");
    let blocks = blocks.iter().filter(|block| block.language == "http");
    let examples =
        blocks.map(|block| Example::parse(&block.text).unwrap_or_else(|| panic!("{}", block.text)));
    let examples: Vec<_> = examples.collect();
    assert!(examples.len() > 5);
    settle("docs/API.md", &differences(&examples).await);
}
