//! Helpers of the scenarios: programs that are killed and restarted, clients that record every response, and the audit
//! that compares these records with the database.

pub mod audit;
pub mod clients;
pub mod dice;
pub mod program;
pub mod proxy;
pub mod receiver;
pub mod results;
pub mod table;
pub mod world;

use std::time::Duration;

use tokio::time::{Instant, sleep};

/// The longest wait for an event. Generous, because the machine is overloaded most of the time.
const PATIENCE: Duration = Duration::from_mins(6);

/// Waits until something holds.
pub async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds().await {
        assert!(Instant::now() < deadline, "timed out waiting until {what}");
        sleep(Duration::from_millis(2)).await;
    }
}
