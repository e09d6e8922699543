//! The names of metrics agree between source, descriptions, documentation, dashboard and alerts.

use std::{collections::BTreeSet, fs};

use crate::architecture;

#[test]
fn recorded_and_described_metrics_are_the_same() {
    for kind in ["counter", "gauge", "histogram"] {
        let counted = named_in_source(&format!("{kind}!("), "describe_");
        let described = named_in_source(&format!("describe_{kind}!("), "\0");
        assert!(!counted.is_empty(), "there is no {kind}");
        assert_eq!(counted, described, "{kind}s");
    }
}

#[test]
fn documentation_lists_exactly_the_metrics() {
    let documented: BTreeSet<String> = read("docs/OBSERVABILITY.md")
        .lines()
        .filter_map(|line| line.strip_prefix("| `afforo_")?.split_once('`'))
        .map(|(name, _)| format!("afforo_{name}"))
        .collect();
    assert_eq!(documented, in_source());
}

#[test]
fn dashboard_and_alerts_use_existing_metrics() {
    let known = in_source();
    for file in ["ops/grafana/afforo.json", "ops/prometheus/alerts.yml"] {
        let asked = words(&read(file));
        assert!(asked.len() > 5, "{file}: {asked:?}");
        for word in asked {
            let base = ["_bucket", "_sum", "_count"]
                .iter()
                .find_map(|suffix| word.strip_suffix(suffix));
            assert!(
                known.contains(&word) || base.is_some_and(|base| known.contains(base)),
                "{file} asks for {word}"
            );
        }
    }
}

#[test]
fn dashboard_shows_every_metric() {
    let dashboard = read("ops/grafana/afforo.json");
    let shown = words(&dashboard);
    let missing: Vec<String> = in_source()
        .into_iter()
        .filter(|name| !shown.iter().any(|word| word.starts_with(name.as_str())))
        .collect();
    assert_eq!(missing, Vec::<String>::new());
}

/// Every quoted name in macros and tables.
fn in_source() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for source in sources() {
        for after in source.split("\"afforo_").skip(1) {
            let name = leading_word(after);
            if after[name.len()..].starts_with('"') {
                found.insert(format!("afforo_{name}"));
            }
        }
    }
    found
}

/// The names after an opening text, unless another text directly precedes it.
fn named_in_source(opening: &str, unless_after: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for source in sources() {
        for (at, _) in source.match_indices(&format!("{opening}\"")) {
            if !source[..at].ends_with(unless_after) {
                found.insert(leading_word(&source[at + opening.len() + 1..]).to_owned());
            }
        }
    }
    found
}

/// All whole words that begin like a metric of Afforo.
fn words(text: &str) -> BTreeSet<String> {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
        .filter(|word| word.starts_with("afforo_"))
        .map(str::to_owned)
        .collect()
}

fn leading_word(text: &str) -> &str {
    let end = text.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    &text[..end.unwrap_or(text.len())]
}

/// All of `src/` without white space, because line breaks within calls do not matter.
fn sources() -> impl Iterator<Item = String> {
    let files = ["src", "crates"].into_iter().flat_map(architecture::sources);
    files.map(|(_, source)| source.split_whitespace().collect())
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{path}: {error}"))
}
