//! `afforo completions`

use clap::Args;
use clap_complete::Shell;

use super::{Failure, print};

/// Arguments of `afforo completions`.
#[derive(Args, Debug)]
pub(super) struct Completions {
    /// Name of the shell
    shell: Shell,
}

impl Completions {
    pub fn run(self) -> Result<(), Failure> {
        // Into a buffer first: the generator panics on a closed pipe.
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut super::definition(), "afforo", &mut script);
        print(&script)
    }
}
