//! Modules import downwards only, by the table in `src/lib.rs`, and files do not import each other in a cycle.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use super::imports::Program;

/// The rows of the table in `src/lib.rs`, top to bottom.
fn layers() -> Vec<Vec<String>> {
    let source = fs::read_to_string("src/lib.rs").unwrap();
    let rows = source.lines().filter_map(|line| line.strip_prefix("//! | "));
    // Names are in backticks: every second part.
    let names = rows.map(|row| row.split('`').skip(1).step_by(2).map(str::to_owned).collect());
    names.filter(|row: &Vec<String>| !row.is_empty()).collect()
}

#[test]
fn modules_import_from_lower_layers_only() {
    let layer: BTreeMap<String, usize> = layers()
        .into_iter()
        .enumerate()
        .flat_map(|(row, modules)| modules.into_iter().map(move |module| (module, row)))
        .collect();
    let top = |module: &str| module.split("::").next().unwrap_or_default().to_owned();
    let mut checked = 0;
    for (from, to) in Program::read("src").edges() {
        let (from_top, to_top) = (top(&from), top(&to));
        if from_top == to_top || from_top.is_empty() || to_top.is_empty() {
            continue;
        }
        assert!(
            layer[&from_top] < layer[&to_top],
            "`{from}` imports `{to}`: `{to_top}` is not below `{from_top}` in src/lib.rs"
        );
        checked += 1;
    }
    assert!(checked > 300, "only {checked} imports were found");
}

#[test]
fn table_of_layers_names_every_module_once() {
    let source = fs::read_to_string("src/lib.rs").unwrap();
    let mut declared: Vec<&str> = source
        .lines()
        .filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'))
        .collect();
    let mut listed: Vec<String> = layers().into_iter().flatten().collect();
    declared.sort_unstable();
    listed.sort_unstable();
    assert_eq!(listed, declared);
}

/// A module and its `mod.rs` count as one: a child may use what its parent defines.
#[test]
fn files_do_not_import_each_other_in_a_cycle() {
    let mut edges = BTreeMap::<String, BTreeSet<String>>::new();
    for (from, to) in Program::read("src").edges() {
        let related = from.starts_with(&format!("{to}::")) || to.starts_with(&format!("{from}::"));
        if !related && !from.is_empty() && !to.is_empty() {
            edges.entry(from).or_default().insert(to);
        }
    }
    assert_eq!(cycles(&edges), Vec::<Vec<String>>::new());
}

/// Sets of modules that reach each other.
fn cycles(edges: &BTreeMap<String, BTreeSet<String>>) -> Vec<Vec<String>> {
    let reachable = |start: &String| {
        let (mut seen, mut next) = (BTreeSet::new(), vec![start]);
        while let Some(module) = next.pop() {
            for to in edges.get(module).into_iter().flatten() {
                if seen.insert(to.clone()) {
                    next.push(to);
                }
            }
        }
        seen
    };
    let reached: BTreeMap<&String, BTreeSet<String>> =
        edges.keys().map(|module| (module, reachable(module))).collect();
    let mut found = BTreeSet::new();
    for (module, others) in &reached {
        let cycle: Vec<String> = others
            .iter()
            .filter(|other| reached.get(other).is_some_and(|back| back.contains(*module)))
            .cloned()
            .collect();
        if !cycle.is_empty() {
            found.insert(cycle);
        }
    }
    found.into_iter().collect()
}

#[test]
fn cycles_are_found_also_over_three_files() {
    let edge = |from: &str, to: &str| (from.to_owned(), BTreeSet::from([to.to_owned()]));
    let edges = BTreeMap::from([edge("a", "b"), edge("b", "c"), edge("c", "a"), edge("d", "a")]);
    assert_eq!(cycles(&edges), [["a", "b", "c"]]);
}
