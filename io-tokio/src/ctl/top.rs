//! `top`.

use std::ffi::OsString;

use clap::Args;

use super::Session;
use crate::tool::Failure;

/// How to show it.
#[derive(Args, Debug)]
pub(super) struct Words {
    #[arg(value_name = "")]
    words: Vec<OsString>,
}

/// Does it.
pub(super) async fn top(_words: Words, _session: &Session) -> Result<(), Failure> {
    Err(Failure::new("nothing yet"))
}
