//! The rules of the house: what the source itself has to keep to.

use std::{fs, path::Path};

/// The floors. A room imports from lower floors only; `auth`, `idempotency`, `config` and `counters` need some of their neighbours.
const FLOORS: &[(&str, u8)] = &[
    ("audit", 0),
    ("db", 0),
    ("delivery", 0),
    ("ledger", 0),
    ("money", 0),
    ("outbox", 0),
    ("shutdown", 0),
    ("telemetry", 0),
    ("timestamp", 0),
    ("auth", 1),
    ("idempotency", 1),
    ("config", 1),
    ("counters", 1),
    ("http", 2),
    ("category", 3),
    ("store", 3),
    ("product", 4),
    ("inventory", 5),
    ("order", 6),
    ("check", 7),
    ("seed", 7),
    ("worker", 7),
    ("console", 8),
    ("server", 9),
    ("cli", 10),
];

/// No file grows past what one can hold in one's head.
const LONGEST_FILE: usize = 420;

#[test]
fn rooms_import_from_the_floors_below_only() {
    for (path, source) in sources("src") {
        let Some(room) = room_of(&path) else { continue };
        for imported in imports(&source) {
            assert!(
                imported == room || floor(&imported) < floor(&room),
                "{path} is in `{room}` on floor {} and imports `{imported}` from floor {}",
                floor(&room),
                floor(&imported)
            );
        }
    }
}

/// An error of a plain commit does not tell that the commit may have been made.
#[test]
fn what_serves_requests_commits_by_the_one_function_that_tells_lost_commits() {
    for (path, source) in sources("src") {
        let is_free = [
            "src/db/",
            "src/cli/",
            "src/seed/",
            "src/check.rs",
            "src/counters.rs",
            "src/order/transaction.rs",
        ];
        if !is_free.iter().any(|free| path.starts_with(free)) {
            assert!(
                !source.contains(".commit().await"),
                "{path} commits without `db::commit`"
            );
        }
    }
}

#[test]
fn every_room_has_a_floor_and_every_floor_its_rooms() {
    let map = fs::read_to_string("src/lib.rs").unwrap();
    let mut rooms: Vec<&str> = map
        .lines()
        .filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'))
        .collect();
    let mut known: Vec<&str> = FLOORS.iter().map(|(room, _)| *room).collect();
    rooms.sort_unstable();
    known.sort_unstable();
    assert_eq!(rooms, known);
}

#[test]
fn every_file_opens_with_what_it_is() {
    for (path, source) in ["src", "crates", "tests"].into_iter().flat_map(sources) {
        assert!(source.starts_with("//! "), "{path} does not open with `//! `");
    }
}

#[test]
fn every_migration_and_script_opens_with_what_it_is() {
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
fn no_file_is_too_long_to_be_held_in_mind() {
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

/// `src/order/place.rs` and `src/order.rs` are in the room `order`; `lib.rs` and `main.rs` are in none.
fn room_of(path: &str) -> Option<String> {
    let room = path.split('/').nth(1)?.trim_end_matches(".rs").to_owned();
    (room != "lib" && room != "main").then_some(room)
}

/// The rooms that a file names in `crate::room` or `use crate::{room, room::item}`.
fn imports(source: &str) -> Vec<String> {
    let code: String = source
        .lines()
        .map(|line| line.split("//").next().unwrap_or_default())
        .collect();
    let mut rooms = Vec::new();
    for after in code.split("crate::").skip(1) {
        match after.strip_prefix('{') {
            None => rooms.push(identifier(after)),
            Some(list) => {
                let mut depth = 1;
                let mut at_start = true;
                for (index, c) in list.char_indices() {
                    match c {
                        '{' => depth += 1,
                        '}' => depth -= 1,
                        ',' => at_start = depth == 1,
                        c if at_start && !c.is_whitespace() => {
                            rooms.push(identifier(&list[index..]));
                            at_start = false;
                        }
                        _ => {}
                    }
                    if depth == 0 {
                        break;
                    }
                }
            }
        }
    }
    rooms.retain(|room| FLOORS.iter().any(|(known, _)| known == room));
    rooms
}

fn identifier(text: &str) -> String {
    text.chars()
        .take_while(|c| c.is_alphanumeric() || *c == '_')
        .collect()
}

fn floor(room: &str) -> u8 {
    FLOORS
        .iter()
        .find(|(known, _)| *known == room)
        .unwrap_or_else(|| panic!("`{room}` has no floor"))
        .1
}

#[test]
fn imports_are_found_however_they_are_written() {
    let source = "use crate::money::Money;\nuse crate::{\n    category::{self, Name},\n    http::{A, B}, order,\n};\n\
                  fn f() { crate::store::x(); } // crate::worker";
    assert_eq!(imports(source), ["money", "category", "http", "order", "store"]);
}
