//! What may go wrong with a call.

use std::fmt;

use quorate_core::error::Refusal;

/// As [`std::result::Result`], with this room's error.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Named as in `etcd-client`, with what the cluster refuses in place of a gRPC status.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The call was made in a wrong way.
    InvalidArgs(String),
    /// No member was reached, or the answer got lost: a change may have been made.
    IoError(std::io::Error),
    /// A member refused.
    Refused(Refusal),
    /// The watch or its stream is over.
    WatchError(String),
    /// The lease is gone, or nobody keeps it.
    LeaseKeepAliveError(String),
    /// Not text.
    Utf8Error(std::str::Utf8Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidArgs(what) => write!(f, "invalid arguments: {what}"),
            Self::IoError(error) => write!(f, "io error: {error}"),
            Self::Refused(refusal) => write!(f, "refused: {}", refusal.name()),
            Self::WatchError(what) => write!(f, "watch error: {what}"),
            Self::LeaseKeepAliveError(what) => write!(f, "lease error: {what}"),
            Self::Utf8Error(error) => write!(f, "{error}"),
        }
    }
}

impl std::error::Error for Error {}
