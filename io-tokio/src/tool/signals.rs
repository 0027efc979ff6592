//! The signals that end a command which waits.

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::Failure;

/// Interrupts and requests to terminate.
pub(crate) struct Ended {
    interrupt: Signal,
    terminate: Signal,
}

/// From now on they do not kill.
pub(crate) fn ended() -> Result<Ended, Failure> {
    let wait = |kind| signal(kind).map_err(|error| Failure::new(error.to_string()));
    Ok(Ended {
        interrupt: wait(SignalKind::interrupt())?,
        terminate: wait(SignalKind::terminate())?,
    })
}

impl Ended {
    /// Waits for one.
    pub(crate) async fn wait(&mut self) {
        tokio::select! {
            biased;
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
