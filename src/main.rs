//! The `afforo` program: parse the command line, run, exit code.

use std::process::ExitCode;

/// Placing an order takes a sixth fewer instructions with it than with the system's, and some ten megabytes more.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    afforo::cli::main()
}
