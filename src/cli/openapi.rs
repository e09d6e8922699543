//! `afforo openapi`

use super::{Failure, print};
use crate::server;

pub(super) fn run() -> Result<(), Failure> {
    let document = server::document().to_pretty_json()? + "\n";
    print(document.as_bytes())
}
