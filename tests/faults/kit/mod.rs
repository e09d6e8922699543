//! What the scenarios stand on: programs that die and come back, clients that remember every answer, and the audit that
//! compares what they remember with the books.

pub mod audit;
pub mod clients;
pub mod dice;
pub mod program;
pub mod proxy;
pub mod receiver;
pub mod table;
pub mod truth;
pub mod world;

use std::time::Duration;

use tokio::time::{Instant, sleep};

/// How long anything may take before a scenario says that it does not happen. Generous: the machine is as good as
/// overloaded all the time.
const PATIENCE: Duration = Duration::from_mins(6);

/// Waits until something holds.
pub async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds().await {
        assert!(Instant::now() < deadline, "it does not come true: {what}");
        sleep(Duration::from_millis(2)).await;
    }
}
