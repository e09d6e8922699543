//! `afforo completions`

use clap::Args;
use clap_complete::Shell;

/// What `afforo completions` is told.
#[derive(Args, Debug)]
pub(super) struct Completions {
    /// The shell to complete for
    shell: Shell,
}

impl Completions {
    pub fn run(self) {
        clap_complete::generate(
            self.shell,
            &mut super::definition(),
            "afforo",
            &mut std::io::stdout(),
        );
    }
}
