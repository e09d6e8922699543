//! Reads whole lists by cursor.

use serde_json::Value;

use super::app::TestApp;

/// A walk through a list. Asserts the invariants of each step.
pub struct Walk<'a> {
    app: &'a TestApp,
    next: Option<String>,
}

impl<'a> Walk<'a> {
    /// Begins a walk through a list: a path, with or without parameters.
    pub fn new(app: &'a TestApp, list: &str) -> Self {
        let separator = if list.contains('?') { '&' } else { '?' };
        Self {
            app,
            next: Some(format!("{list}{separator}cursor=")),
        }
    }

    /// The path and the parameters of the next step; `None` at the end.
    pub fn next(&self) -> Option<&str> {
        self.next.as_deref()
    }

    /// Takes a step and returns its rows: twenty, except at the end.
    pub async fn step(&mut self) -> Vec<Value> {
        let url = self.next.take().expect("the walk goes on");
        let answer = self.app.get(&url).await;
        assert_eq!(answer.status, 200, "{url}: {}", answer.text);
        let keys: Vec<&String> = answer.body.as_object().unwrap().keys().collect();
        assert_eq!(keys, ["next", "results"], "{url}");
        let rows = answer.body["results"].as_array().unwrap().clone();
        if let Some(next) = answer.body["next"].as_str() {
            assert_eq!(rows.len(), 20, "{url}");
            let host = format!("http://{}", self.app.address);
            self.next = Some(next.strip_prefix(&host).expect(next).to_owned());
        } else {
            assert!(rows.len() <= 20 && answer.body["next"].is_null(), "{url}");
        }
        rows
    }

    /// Walks to the end and returns all remaining rows.
    pub async fn rest(mut self) -> Vec<Value> {
        let mut rows = Vec::new();
        while self.next.is_some() {
            rows.extend(self.step().await);
            assert!(rows.len() < 10_000, "the walk ends");
        }
        rows
    }
}

/// All rows of a list, by cursor.
pub async fn walk(app: &TestApp, list: &str) -> Vec<Value> {
    Walk::new(app, list).rest().await
}

/// One field of rows.
pub fn column(rows: &[Value], field: &str) -> Vec<Value> {
    rows.iter().map(|row| row[field].clone()).collect()
}
