//! The `afforo` program: parse the command line, run, exit code.

use std::process::ExitCode;

/// With mimalloc, placing an order takes a sixth fewer instructions than with the system's allocator, for about 10 MB more memory.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    afforo::cli::main()
}
