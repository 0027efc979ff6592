//! What clients do, over and over.
//!
//! | Work | An operation is |
//! |---|---|
//! | [`Script`] | whatever a function makes of the turn: a put, a range, a transaction |
//! | [`Update`] | a compare-and-put that reads when somebody else was faster: Kubernetes' |
//! | [`Pages`] | the next page of a list at one revision, with exact counts: Kubernetes' |
//! | [`KeepAlive`] | a lease is told to live on |
//! | [`Grant`] | a lease is granted, and a key put that ends with it |

mod lease;
mod pages;
mod script;
mod unread;
mod update;

pub use lease::{Grant, KeepAlive};
pub use pages::Pages;
pub use script::{Lines, Op, Script, is_read};
pub use unread::Unread;
pub use update::Update;

use tonic::Status;

/// A server that answers quickly with too little must not win.
fn check_count(found: usize, wanted: usize) -> Result<(), Status> {
    if found == wanted {
        return Ok(());
    }
    Err(Status::data_loss(format!("{found} keys in an answer that should have {wanted}")))
}
