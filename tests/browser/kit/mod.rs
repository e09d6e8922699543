//! What the tests in a browser stand on: a server, a Chromium of each test's own, and hands and eyes for it.

mod axe;
mod browser;
mod devtools;
mod driver;
mod eyes;
mod hands;
mod shop;
mod verdict;

use std::time::Duration;

pub use browser::{Browser, PHONE, Scheme, WIDE};
pub use hands::key;
pub use shop::Shop;

/// How long anything may take before a test says that it does not happen.
const PATIENCE: Duration = Duration::from_secs(30);

/// Where the viewer is: moments must be shown in this zone. It has neither a whole number of hours nor summer time.
const ZONE: &str = "Asia/Kathmandu";
