//! Metrics, traces and logs of the process.

mod logs;
mod metrics;
mod names;
mod traces;

use std::collections::BTreeMap;

use crate::support::{
    app::{TestApp, client, send},
    program::{Running, afforo, on},
};

/// Starts a server on the database and Redis of a test, with more settings.
fn serve(app: &TestApp, settings: &[(&str, &str)]) -> Running {
    let mut command = afforo(&["serve", "127.0.0.1:0"]);
    on(&mut command, &app.database_url, app.redis.url());
    Running::start(command.envs(settings.iter().copied()))
}

/// The address of `/metrics`.
async fn metrics_url(program: &mut Running) -> String {
    let line = program.says("metrics are at http://").await;
    format!("http://{}", line.split_once("http://").unwrap().1.trim())
}

/// All samples, by name and labels. Every other line must be a comment.
async fn scrape(url: &str) -> BTreeMap<String, f64> {
    let answer = send(client().get(url)).await;
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.header("content-type"),
        "text/plain; version=0.0.4; charset=utf-8"
    );
    let lines = answer.text.lines().filter(|line| !line.is_empty());
    let samples = lines.filter(|line| !line.starts_with("# HELP ") && !line.starts_with("# TYPE "));
    let mut scraped = BTreeMap::new();
    for sample in samples {
        let (series, value) = sample.rsplit_once(' ').unwrap();
        let twice = scraped.insert(series.to_owned(), value.parse().unwrap());
        assert_eq!(twice, None, "{series} is there twice");
    }
    scraped
}

/// The samples of one metric, by labels.
fn of<'a>(scraped: &'a BTreeMap<String, f64>, name: &str) -> BTreeMap<&'a str, f64> {
    scraped
        .iter()
        .filter_map(|(series, value)| {
            let labels = series.strip_prefix(name)?;
            (labels.is_empty() || labels.starts_with('{')).then_some((labels, *value))
        })
        .collect()
}
