//! `del`.

use std::ffi::OsString;
use std::time::Duration;

use clap::Args;
use quorate_proto::etcdserverpb::DeleteRangeRequest;

use super::Session;
use super::client::Repeat;
use super::get::{bytes, range};
use crate::tool::Failure;
use crate::tool::quote::quote;

/// How long somebody may think about a range of keys.
const SECOND_THOUGHTS: Duration = Duration::from_secs(2);

/// What to delete.
#[derive(Args, Debug)]
pub(super) struct Words {
    /// all keys that begin with the key
    #[arg(long)]
    prefix: bool,
    /// print what was deleted
    #[arg(long)]
    prev_kv: bool,
    /// all keys from the key on
    #[arg(long)]
    from_key: bool,
    /// do not wait before a range is deleted
    #[arg(long)]
    range: bool,
    #[arg(value_name = "[options] <key> [range_end]")]
    words: Vec<OsString>,
}

/// Does it.
pub(super) async fn delete(words: Words, session: &Session) -> Result<(), Failure> {
    let request = words.request().await?;
    let client = session.client().await?;
    let asked = async |line: super::client::Line| line.kv().delete_range(request.clone()).await;
    let answer = client.call(session.within(), Repeat::Never, asked).await?;
    session.printer()?.print(&answer)
}

impl Words {
    /// What the words ask a server for; waits before a range is deleted.
    pub(super) async fn request(&self) -> Result<DeleteRangeRequest, Failure> {
        let (key, range_end) = match self.words.as_slice() {
            [key] => (key, None),
            [key, end] => (key, Some(end)),
            _ => {
                return Err(Failure::words(
                    "del command needs one argument as key and an optional argument as range_end",
                ));
            }
        };
        let end = range_end.map(bytes);
        let (from, to) = range(bytes(key), end.clone(), self.prefix, self.from_key)?;
        if let Some(end) = end.filter(|_| !self.range) {
            eprintln!(
                "Warning: Keys between {} and {} will be deleted. Please interrupt the command \
                 within next 2 seconds to cancel. You can provide `--range` flag to avoid the \
                 delay.",
                quote(&from),
                quote(&end)
            );
            tokio::time::sleep(SECOND_THOUGHTS).await;
        }
        Ok(DeleteRangeRequest { key: from, range_end: to, prev_kv: self.prev_kv })
    }
}
