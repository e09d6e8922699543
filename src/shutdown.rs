//! Signals become a cancellation token: everything that runs until told otherwise watches the token.

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

/// A token that is cancelled by the first SIGINT or SIGTERM. A second signal ends the process at once, with exit
/// code 130, for an operator who will not wait.
///
/// # Errors
/// When the signal handlers cannot be installed.
pub fn on_signal() -> std::io::Result<CancellationToken> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let token = CancellationToken::new();
    let cancelled = token.clone();
    tokio::spawn(async move {
        either(&mut interrupt, &mut terminate).await;
        tracing::info!("stopping; a second signal stops at once");
        cancelled.cancel();
        either(&mut interrupt, &mut terminate).await;
        #[expect(
            clippy::disallowed_methods,
            reason = "asked for twice, by somebody who knows what is under way"
        )]
        std::process::exit(130);
    });
    Ok(token)
}

async fn either(interrupt: &mut Signal, terminate: &mut Signal) {
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}
