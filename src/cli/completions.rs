//! `afforo completions`

use clap::Args;
use clap_complete::Shell;

use super::{Failure, print};

/// Arguments of `afforo completions`.
#[derive(Args, Debug)]
pub(super) struct Completions {
    /// The shell to complete for
    shell: Shell,
}

impl Completions {
    pub fn run(self) -> Result<(), Failure> {
        // Not straight to the output: the generator panics where a reader has left.
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut super::definition(), "afforo", &mut script);
        print(&script)
    }
}
