//! Hashing and comparing passwords: slow on purpose, so off the threads that serve, and few at a
//! time.
//!
//! Answers to: etcd v3.7.1 `server/etcdserver/v3_server.go` (Authenticate, UserAdd)

use std::sync::Arc;
use std::thread::available_parallelism;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bcrypt::{BcryptError, Version};
use bytes::Bytes;
use quorate_core::error::Refusal;
use tokio::sync::Semaphore;
use tonic::Status;

use super::status::status;

/// Callers whose passwords wait for their turn, or have it; more are refused.
const CALLERS_MAX: usize = 1_024;

/// The place where passwords are worked on. Cloning is cheap.
#[derive(Clone)]
pub struct Passwords(Arc<Inner>);

struct Inner {
    /// How dear it is to hash one.
    cost: u32,
    callers: Semaphore,
    turns: Semaphore,
}

impl Passwords {
    /// A place where a hash costs `2^cost` rounds.
    pub fn new(cost: u32) -> Self {
        // Half of the processors go on serving.
        let at_once = available_parallelism().map_or(1, |all| usize::from(all).div_ceil(2));
        let (callers, turns) = (Semaphore::new(CALLERS_MAX), Semaphore::new(at_once));
        Self(Arc::new(Inner { cost, callers, turns }))
    }

    /// The hash of a password, in base64, as entries carry it.
    pub(super) async fn hash(&self, password: String) -> Result<String, Status> {
        let cost = self.0.cost;
        let hashed = self.off_loop(move || {
            let parts = bcrypt::non_truncating_hash_with_result(password, cost)?;
            // What Go's library writes, and all others read.
            Ok(STANDARD.encode(parts.format_for_version(Version::TwoA)))
        });
        hashed.await?.map_err(|error| match error {
            BcryptError::Truncation(_) => status(Refusal::PasswordTooLong),
            other => Status::internal(other.to_string()),
        })
    }

    /// Whether a password has that hash.
    pub(super) async fn is_right(&self, password: String, hash: Bytes) -> Result<bool, Status> {
        self.off_loop(move || {
            let hash = String::from_utf8_lossy(&hash);
            bcrypt::non_truncating_verify(password, &hash).unwrap_or(false)
        })
        .await
    }

    async fn off_loop<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Status> {
        let too_many = |_| status(Refusal::RequestTooManyRequests);
        let _caller = self.0.callers.try_acquire().map_err(too_many)?;
        let _turn = self.0.turns.acquire().await.map_err(|_| status(Refusal::Stopped))?;
        let done = tokio::task::spawn_blocking(work).await;
        done.map_err(|_| Status::internal("work on a password ended early"))
    }
}
