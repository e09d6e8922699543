//! `afforo openapi`

use std::io::Write;

use super::Failure;
use crate::server;

pub(super) fn run() -> Result<(), Failure> {
    let document = server::document().to_pretty_json()?;
    writeln!(std::io::stdout(), "{document}")?;
    Ok(())
}
