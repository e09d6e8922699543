//! How many connections the limit of open files allows.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Files that a server has open beside its clients' connections: those to PostgreSQL and Redis, and its own.
const OTHER_FILES: u64 = 256;

/// As many connections as the process may have open files for, at most `wanted`. Raises the soft limit if it is too low.
pub(super) fn available(wanted: usize) -> usize {
    let needed = wanted as u64 + OTHER_FILES;
    let Some(limit) = raise_limit(needed).filter(|limit| *limit < needed) else {
        return wanted;
    };
    let available = limit.saturating_sub(OTHER_FILES).max(1);
    tracing::warn!(
        "MAX_CONNECTIONS is {wanted}, but the process may have {limit} files open: it takes {available} connections"
    );
    usize::try_from(available).unwrap_or(wanted)
}

/// The soft limit, raised to the hard one if it is below `needed`; `None` if there is none.
fn raise_limit(needed: u64) -> Option<u64> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current.is_none_or(|limit| limit >= needed) {
        return current;
    }
    let raised = Rlimit {
        current: maximum,
        maximum,
    };
    setrlimit(Resource::Nofile, raised).map_or(current, |()| maximum)
}
