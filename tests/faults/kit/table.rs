//! The table that `make faults` prints: a line for each scenario, in the file that `FAULTS_TABLE` names.

use std::{fs::OpenOptions, io::Write};

/// The result of a scenario.
#[derive(Clone, Copy, Debug, Default)]
pub struct Row {
    /// How often the fault demonstrably occurred.
    pub hits: usize,
    /// Requests that were sent.
    pub requests: usize,
    /// Acknowledged orders that are missing.
    pub lost: usize,
    /// Orders that were stored more often than sent, or confirmed more than once.
    pub doubled: usize,
}

impl Row {
    /// Adds the row to the table and asserts the guarantees.
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
        assert!(hits > 0, "the fault occurred: {self:?}");
        assert_eq!((lost, doubled), (0, 0), "nothing is lost or doubled: {self:?}");
    }
}
