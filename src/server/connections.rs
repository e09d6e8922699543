//! All connections: how many there are, and which of them have to go.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use super::{
    connection::{Notes, Order, Phase},
    limits::Limits,
};

/// How long the rest of a request is taken after its answer.
const LEFTOVER: Duration = Duration::from_secs(2);
/// How long a new connection may take for its request once the server stops.
const LAST_REQUEST: Duration = Duration::from_secs(1);
/// Who is slower than this with what it sends or takes may be closed for others, when there is no more room.
const DAWDLING: Duration = Duration::from_secs(1);
/// How many are closed at a time then, so that looking for them costs little for each.
const CLOSED_TOGETHER: usize = 32;

/// Milliseconds since the server started. It moves with the looks at the connections, and costs nothing to read.
pub(super) struct Clock {
    started: Instant,
    now: AtomicU64,
}

impl Clock {
    fn new() -> Self {
        Self {
            started: Instant::now(),
            // 0 is no time.
            now: AtomicU64::new(1),
        }
    }

    pub(super) fn now(&self) -> u64 {
        self.now.load(Ordering::Relaxed)
    }

    fn move_on(&self) -> u64 {
        let now = millis(self.started.elapsed()) + 1;
        self.now.store(now, Ordering::Relaxed);
        now
    }
}

/// The connections of a server.
pub(super) struct Connections {
    limits: Limits,
    clock: Arc<Clock>,
    finishing: AtomicBool,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    last: u64,
    notes: HashMap<u64, Arc<Notes>>,
}

/// The place of a connection. It is given back when this is dropped.
pub(super) struct Place {
    connections: Arc<Connections>,
    number: u64,
    pub(super) notes: Arc<Notes>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.connections.open().notes.remove(&self.number);
    }
}

impl Connections {
    pub(super) fn new(limits: Limits) -> Arc<Self> {
        Arc::new(Self {
            limits,
            clock: Arc::new(Clock::new()),
            finishing: AtomicBool::new(false),
            open: Mutex::default(),
        })
    }

    /// A place for one more; when there is none left, some that dawdle lose theirs. None if nobody does.
    pub(super) fn place(self: &Arc<Self>) -> Option<Place> {
        let mut open = self.open();
        if open.notes.len() >= self.limits.connections {
            open.close_some(self.clock.now());
        }
        if open.notes.len() >= self.limits.connections {
            return None;
        }
        open.last += 1;
        let number = open.last;
        let notes = Arc::new(Notes::new(self.clock.clone()));
        open.notes.insert(number, notes.clone());
        if self.finishing.load(Ordering::Relaxed) {
            notes.give(Order::Finish);
        }
        Some(Place {
            connections: self.clone(),
            number,
            notes,
        })
    }

    /// Closes some that dawdle.
    pub(super) fn make_room(&self) {
        self.open().close_some(self.clock.now());
    }

    /// Moves the clock on, and ends the connections that are over a limit. Returns how many are open.
    pub(super) fn look(&self) -> usize {
        let now = self.clock.move_on();
        let open = self.open();
        for notes in open.notes.values() {
            if self.is_over(notes, now) {
                notes.give(Order::End);
            }
        }
        open.notes.len()
    }

    fn is_over(&self, notes: &Notes, now: u64) -> bool {
        let over = |since: u64, limit: Duration| now.saturating_sub(since) > millis(limit);
        if notes
            .stalled()
            .is_some_and(|since| over(since, self.limits.stall))
        {
            return true;
        }
        let (phase, since) = notes.phase();
        let limit = match phase {
            Phase::Fresh if self.finishing.load(Ordering::Relaxed) => LAST_REQUEST.min(self.limits.head),
            Phase::Fresh | Phase::Head => self.limits.head,
            Phase::Idle => self.limits.idle,
            Phase::Answer => self.limits.sending,
            Phase::Leftover => LEFTOVER,
            // The body and the handler have bounds of their own.
            Phase::Body | Phase::Work => return false,
        };
        over(since, limit)
    }

    /// Tells all, and those to come, to end with the request that is under way.
    pub(super) fn finish(&self) {
        let open = self.open();
        self.finishing.store(true, Ordering::Relaxed);
        for notes in open.notes.values() {
            notes.give(Order::Finish);
        }
    }

    /// Ends all.
    pub(super) fn end(&self) {
        for notes in self.open().notes.values() {
            notes.give(Order::End);
        }
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    /// Ends the connections that can best be spared, and forgets them: first those that are slow to send or to take
    /// something, then those that are silent between two requests, then those that only just came or have just been answered.
    /// Of each, who has been at it for longest goes first. A request that is worked on is never ended.
    fn close_some(&mut self, now: u64) {
        let mut spared: Vec<_> = self
            .notes
            .iter()
            .filter_map(|(number, notes)| Some((rank(notes, now)?, *number)))
            .collect();
        if spared.len() > CLOSED_TOGETHER {
            spared.select_nth_unstable(CLOSED_TOGETHER);
            spared.truncate(CLOSED_TOGETHER);
        }
        spared.sort_unstable();
        // Those that have done nothing wrong go one by one.
        let dawdling = spared.iter().filter(|((rank, _), _)| *rank == 0).count();
        spared.truncate(dawdling.max(1));
        for (_, number) in spared {
            if let Some(notes) = self.notes.remove(&number) {
                notes.give(Order::End);
            }
        }
    }
}

/// How well a connection can be spared: the least first.
fn rank(notes: &Notes, now: u64) -> Option<(u8, u64)> {
    let is_slow = |since: u64| now.saturating_sub(since) > millis(DAWDLING);
    if let Some(since) = notes.stalled() {
        return is_slow(since).then_some((0, since));
    }
    match notes.phase() {
        (Phase::Fresh | Phase::Head | Phase::Body, since) if is_slow(since) => Some((0, since)),
        (Phase::Leftover, since) => Some((0, since)),
        (Phase::Idle, since) if is_slow(since) => Some((1, since)),
        (Phase::Fresh | Phase::Head, since) => Some((2, since)),
        (Phase::Idle, since) => Some((3, since)),
        (Phase::Body | Phase::Work | Phase::Answer, _) => None,
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX >> 8)
}
