//! Rules that the source keeps: layers, acyclic imports, file length, opening comments.

use std::{fs, path::Path};

mod imports;
mod layers;

/// The longest file, in lines.
const LONGEST_FILE: usize = 400;

/// The error of a plain commit does not show that the commit may have succeeded.
#[test]
fn request_code_commits_only_by_db_commit() {
    for (path, source) in sources("src") {
        let is_exempt = [
            "src/db/",
            "src/cli/",
            "src/seed/",
            "src/check/",
            "src/counters.rs",
            "src/partitions/",
            "src/order/transaction.rs",
        ];
        if !is_exempt.iter().any(|exempt| path.starts_with(exempt)) {
            assert!(
                !source.contains(".commit().await"),
                "{path} commits without `db::commit`"
            );
        }
    }
}

/// Each API handler has an OpenAPI description.
#[test]
fn api_handlers_contain_no_sql() {
    let mut checked = 0;
    for (path, source) in sources("src") {
        if source.contains("#[utoipa::path(") {
            checked += 1;
            let has_sql = ["sqlx::query", "QueryBuilder"]
                .iter()
                .any(|sql| source.contains(sql));
            assert!(!has_sql, "{path} has SQL beside its handlers");
        }
    }
    assert!(checked > 5, "only {checked} files with handlers were found");
}

#[test]
fn every_rust_file_opens_with_a_summary() {
    for (path, source) in ["src", "crates", "tests"].into_iter().flat_map(sources) {
        assert!(source.starts_with("//! "), "{path} does not open with `//! `");
    }
}

#[test]
fn every_migration_and_script_opens_with_a_summary() {
    for entry in fs::read_dir("migrations").unwrap() {
        let path = entry.unwrap().path();
        assert!(
            fs::read_to_string(&path).unwrap().starts_with("-- "),
            "{}",
            path.display()
        );
    }
    for entry in fs::read_dir("scripts").unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        let second = text.lines().nth(1).unwrap_or_default();
        assert!(
            text.starts_with("#!/") && second.starts_with("# "),
            "{}",
            path.display()
        );
    }
}

#[test]
fn no_file_is_longer_than_the_limit() {
    for (path, source) in ["src", "crates", "tests"].into_iter().flat_map(sources) {
        let lines = source.lines().count();
        assert!(lines <= LONGEST_FILE, "{path} has {lines} lines");
    }
}

/// All Rust files below a folder, as path and text.
pub fn sources(folder: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut folders = vec![Path::new(folder).to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push((path.display().to_string(), fs::read_to_string(&path).unwrap()));
            }
        }
    }
    assert!(found.len() > 5, "the tests run in the clone's folder");
    found
}
