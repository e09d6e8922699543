//! What the system knows about processes: who lives, who descends from whom.

use std::{fs, path::Path, process::Command};

use rustix::{
    io::Errno,
    process::{Pid, Signal, kill_process, test_kill_process},
};

/// Whether a process with this id exists, whoever it belongs to.
pub(super) fn is_alive(pid: Pid) -> bool {
    !matches!(test_kill_process(pid), Err(Errno::SRCH))
}

/// Whether a process still runs: one that has ended but that nobody has taken note of yet does not.
pub(super) fn runs(pid: Pid) -> bool {
    match fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())) {
        Ok(stat) => !stat
            .rsplit_once(')')
            .is_some_and(|(_, rest)| rest.trim_start().starts_with(['Z', 'X'])),
        Err(_) if Path::new("/proc/self").exists() => false,
        Err(_) => is_alive(pid),
    }
}

/// Sends `signal` to the process and to everything that descends from it, and returns them.
///
/// PostgreSQL puts each of its processes into a session of its own, so there is no group to signal. The
/// parent is stopped before its children are listed, because it must neither start new ones meanwhile nor see
/// them die and recover.
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

/// Whether the process works in `folder`, as a PostgreSQL server does in its data.
pub(super) fn works_in(pid: Pid, folder: &Path) -> bool {
    let pid = pid.as_raw_nonzero();
    match fs::read_link(format!("/proc/{pid}/cwd")) {
        Ok(cwd) => cwd == folder,
        // Without /proc the command line has to tell.
        Err(_) => ps(&["-p", &pid.to_string(), "-o", "command="]).contains(&*folder.to_string_lossy()),
    }
}

/// A process that has just ended is no error: the signal has nothing left to do.
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
        // The name in the parentheses may hold anything, parentheses too: `12 (a) b) S 1 …`.
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
