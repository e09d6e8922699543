//! Signals end the process, or become a cancellation token: everything that runs until told otherwise watches the token.

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
    /// Cancelled when it is known that the server will stop: it is no longer ready, but still answers whoever comes.
    pub announced: CancellationToken,
    /// Cancelled when the listener closes. An answer that goes on and on, such as a stream of events, has to end then: the
    /// server waits for it as for any other.
    pub draining: CancellationToken,
}

impl Stop {
    /// A stop that `announced` begins.
    #[must_use]
    pub fn on(announced: CancellationToken) -> Self {
        Self {
            announced,
            draining: CancellationToken::new(),
        }
    }
}

/// What SIGINT and SIGTERM do. Both have a handler from the start of the program on: for process 1 of a container, the
/// kernel drops signals that have none.
#[derive(Clone, Debug)]
pub struct Signals {
    shutdown: CancellationToken,
    is_graceful: Arc<AtomicBool>,
}

impl Signals {
    /// Installs the handlers. At first, a signal ends the process at once, with the exit code that a shell gives a
    /// program which a signal has ended: 130 or 143.
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

    /// A token that the first signal from now on cancels. A second signal ends the process at once, with exit code 130,
    /// for an operator who will not wait.
    #[must_use]
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
    /// Waits for a signal, and returns the exit code that belongs to it.
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
    reason = "an operator asked for it: either nothing is under way, or this is the second signal"
)]
fn exit(code: i32) {
    std::process::exit(code)
}
