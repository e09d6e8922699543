//! The table that `make faults` prints: a line for each scenario, in the file that `FAULTS_TABLE` names.

use std::{fs::OpenOptions, io::Write};

/// What a scenario did, and what came of it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Row {
    /// How often the fault was proven to have hit.
    pub hits: usize,
    /// Requests that were sent.
    pub requests: usize,
    /// What was acknowledged and is not there.
    pub lost: usize,
    /// What is there more often than it was sent, or was confirmed more than once.
    pub doubled: usize,
}

impl Row {
    /// Adds the row to the table, and holds it to what is promised.
    pub fn enter(self, fault: &str) {
        let Self {
            hits,
            requests,
            lost,
            doubled,
        } = self;
        let line = format!("| {fault} | {hits} | {requests} | {lost} | {doubled} |\n");
        print!("{line}");
        if let Some(path) = std::env::var_os("FAULTS_TABLE") {
            let mut table = OpenOptions::new().create(true).append(true).open(path).unwrap();
            table.write_all(line.as_bytes()).unwrap();
        }
        assert!(hits > 0, "the fault has hit: {self:?}");
        assert_eq!((lost, doubled), (0, 0), "nothing is lost or doubled: {self:?}");
    }
}
