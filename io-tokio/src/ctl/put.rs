//! `put` and `compaction`.

use std::ffi::OsString;
use std::io::Read as _;

use bytes::Bytes;
use clap::Args;
use quorate_proto::etcdserverpb::{CompactionRequest, PutRequest};

use super::Session;
use super::client::{Line, Repeat};
use super::get::bytes;
use super::number::{parse_decimal, parse_lease};
use crate::tool::{self, Failure};

/// What its help says.
pub(super) const ABOUT: &str = "Puts a value below a key.

A value that begins with '-' would be taken for a flag; '--' says that no flags follow:

$ put <key> -- <value>
$ put -- <key> <value>

If no value is given, and --ignore-value is not, it is read from standard input:

$ cat file | put <key>";

/// What to put.
#[derive(Args, Debug)]
pub(super) struct Words {
    /// lease (in hexadecimal) that the key lives with
    #[arg(long, default_value = "0")]
    lease: String,
    /// print what was there before
    #[arg(long)]
    prev_kv: bool,
    /// leave the value as it is
    #[arg(long)]
    ignore_value: bool,
    /// leave the lease as it is
    #[arg(long)]
    ignore_lease: bool,
    #[arg(value_name = "[options] <key> <value> (<value> can also be given from stdin)")]
    words: Vec<OsString>,
}

/// Does it.
pub(super) async fn put(words: Words, session: &Session) -> Result<(), Failure> {
    let request = words.request(|| {
        let mut value = Vec::new();
        let read = std::io::stdin().lock().read_to_end(&mut value);
        read.is_ok().then(|| value.into())
    })?;
    let asked = async |line: Line| line.kv().put(request.clone()).await;
    let answer = session.ask(session.within(), Repeat::Never, asked).await?;
    session.printer()?.print(&answer)
}

impl Words {
    /// What the words ask a server for; a value that they do not have is read.
    pub(super) fn request(
        &self,
        read: impl FnOnce() -> Option<Bytes>,
    ) -> Result<PutRequest, Failure> {
        const NEEDS: &str = "put command needs 1 argument and input from stdin or 2 arguments";
        let key = self.words.first().ok_or_else(|| Failure::words(NEEDS))?;
        if self.ignore_value && self.words.len() > 1 {
            return Err(Failure::words(
                "put command needs only 1 argument when 'ignore-value' is set",
            ));
        }
        let value = match self.words.get(1) {
            _ if self.ignore_value => Bytes::new(),
            Some(word) => bytes(word),
            None => {
                read().filter(|value| !value.is_empty()).ok_or_else(|| Failure::words(NEEDS))?
            }
        };
        let lease = parse_lease(&self.lease).map_err(|error| {
            Failure::words(format!("bad lease ID ({error}), expecting ID in Hex"))
        })?;
        Ok(PutRequest {
            key: bytes(key),
            value,
            lease,
            prev_kv: self.prev_kv,
            ignore_value: self.ignore_value,
            ignore_lease: self.ignore_lease,
        })
    }
}

/// Up to where to forget.
#[derive(Args, Debug)]
pub(super) struct Compaction {
    /// wait until the space is free
    #[arg(long)]
    physical: bool,
    #[arg(value_name = "[options] <revision>")]
    words: Vec<OsString>,
}

/// Does it.
pub(super) async fn compact(words: Compaction, session: &Session) -> Result<(), Failure> {
    let [revision] = words.words.as_slice() else {
        return Err(Failure::words("compaction command needs 1 argument"));
    };
    let revision = parse_decimal(revision).map_err(Failure::new)?;
    let request = CompactionRequest { revision, physical: words.physical };
    let asked = async |line: Line| line.kv().compact(request).await;
    session.ask(session.within(), Repeat::Never, asked).await?;
    tool::print(format!("compacted revision {revision}\n").as_bytes())
}
