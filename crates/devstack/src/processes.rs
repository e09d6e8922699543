//! Queries about processes: whether they run, and their descendants.

use std::{fs, path::Path, process::Command};

use rustix::{
    io::Errno,
    process::{Pid, Signal, kill_process, test_kill_process},
};

/// Whether a process with this id exists, of any account.
pub(super) fn is_alive(pid: Pid) -> bool {
    !matches!(test_kill_process(pid), Err(Errno::SRCH))
}

/// Whether a process still runs. A zombie does not.
pub(super) fn runs(pid: Pid) -> bool {
    match fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())) {
        Ok(stat) => !stat
            .rsplit_once(')')
            .is_some_and(|(_, rest)| rest.trim_start().starts_with(['Z', 'X'])),
        Err(_) if Path::new("/proc/self").exists() => false,
        Err(_) => is_alive(pid),
    }
}

/// Sends `signal` to a process and all its descendants, and returns their ids.
///
/// Each process of PostgreSQL has its own session, so there is no group to signal. The parent is stopped before its
/// children are listed, so that it neither starts new ones nor recovers from their death.
pub(super) fn signal_tree(root: Pid, signal: Signal) -> Vec<Pid> {
    if signal != Signal::CONT {
        send(root, Signal::STOP);
    }
    let mut tree = descendants(root);
    tree.push(root);
    for pid in &tree {
        send(*pid, signal);
    }
    tree
}

/// Whether `folder` is the working directory of the process, as for a PostgreSQL server and its data.
pub(super) fn works_in(pid: Pid, folder: &Path) -> bool {
    let pid = pid.as_raw_nonzero();
    match fs::read_link(format!("/proc/{pid}/cwd")) {
        Ok(cwd) => cwd == folder,
        // Without /proc, look at the command line.
        Err(_) => ps(&["-p", &pid.to_string(), "-o", "command="]).contains(&*folder.to_string_lossy()),
    }
}

/// Ignores a process that has just ended.
fn send(pid: Pid, signal: Signal) {
    let _ = kill_process(pid, signal);
}

fn descendants(root: Pid) -> Vec<Pid> {
    let all = parents();
    let mut found = vec![root];
    let mut next = 0;
    while let Some(&parent) = found.get(next) {
        found.extend(
            all.iter()
                .filter(|(_, of)| *of == Some(parent))
                .map(|(pid, _)| *pid),
        );
        next += 1;
    }
    found.split_off(1)
}

/// Every process with its parent.
fn parents() -> Vec<(Pid, Option<Pid>)> {
    let Ok(processes) = fs::read_dir("/proc") else {
        return ps(&["-A", "-o", "pid=,ppid="]).lines().filter_map(pair).collect();
    };
    processes
        .filter_map(|entry| fs::read_to_string(entry.ok()?.path().join("stat")).ok())
        // The name in parentheses may contain parentheses: `12 (a) b) S 1 …`.
        .filter_map(|stat| {
            let (pid, rest) = (stat.split_once(' ')?.0, stat.rsplit_once(')')?.1);
            pair(&format!("{pid} {}", rest.split_whitespace().nth(1)?))
        })
        .collect()
}

fn pair(line: &str) -> Option<(Pid, Option<Pid>)> {
    let mut ids = line.split_whitespace().map(|id| id.parse().ok());
    Some((Pid::from_raw(ids.next()??)?, Pid::from_raw(ids.next()??)))
}

fn ps(arguments: &[&str]) -> String {
    let output = Command::new("ps").args(arguments).output();
    output
        .map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
        .unwrap_or_default()
}
