//! Shutdown by signal: a cancellation token for everything that runs, or the end of the process.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// The two steps in which a server stops.
#[derive(Debug, Default)]
pub struct Stop {
    /// Cancelled when the shutdown is announced: the server is no longer ready, but still answers.
    pub announced: CancellationToken,
    /// Cancelled when the listener closes. A response without an end of its own, such as a stream of events, must end then.
    pub draining: CancellationToken,
}

impl Stop {
    /// A shutdown that `announced` starts.
    pub fn on(announced: CancellationToken) -> Self {
        Self {
            announced,
            draining: CancellationToken::new(),
        }
    }
}

/// Handles SIGINT and SIGTERM from the start of the program: the kernel drops signals without a handler for process 1 of a
/// container.
#[derive(Clone, Debug)]
pub struct Signals {
    shutdown: CancellationToken,
    is_graceful: Arc<AtomicBool>,
}

impl Signals {
    /// Installs the handlers. Until [`Self::graceful`], a signal ends the process at once, with a shell's exit code for it: 130 or
    /// 143.
    ///
    /// # Errors
    /// When the handlers cannot be installed.
    pub fn handle() -> io::Result<Self> {
        let mut received = Received {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        };
        let signals = Self {
            shutdown: CancellationToken::new(),
            is_graceful: Arc::default(),
        };
        let handled = signals.clone();
        tokio::spawn(async move {
            let code = received.next().await;
            if !handled.is_graceful.load(Ordering::SeqCst) {
                exit(code);
            }
            tracing::info!("stopping; a second signal stops at once");
            handled.shutdown.cancel();
            received.next().await;
            exit(130);
        });
        Ok(signals)
    }

    /// A token that the next signal cancels. A second signal ends the process at once, with exit code 130.
    pub fn graceful(&self) -> CancellationToken {
        self.is_graceful.store(true, Ordering::SeqCst);
        self.shutdown.clone()
    }
}

struct Received {
    interrupt: Signal,
    terminate: Signal,
}

impl Received {
    /// Waits for a signal, and returns its exit code.
    async fn next(&mut self) -> i32 {
        let kind = tokio::select! {
            _ = self.interrupt.recv() => SignalKind::interrupt(),
            _ = self.terminate.recv() => SignalKind::terminate(),
        };
        128 + kind.as_raw_value()
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "an operator asked for it: nothing is in progress, or this is the second signal"
)]
fn exit(code: i32) {
    std::process::exit(code)
}
