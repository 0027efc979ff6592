//! `get`.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt as _;

use bytes::Bytes;
use clap::Args;
use quorate_proto::etcdserverpb::range_request::{SortOrder, SortTarget};
use quorate_proto::etcdserverpb::{RangeRequest, RangeResponse};

use super::Session;
use super::client::Repeat;
use crate::tool::Failure;
use crate::tool::format::Format;

/// What to get.
#[derive(Args, Debug)]
pub(super) struct Words {
    /// linearizable (l) or serializable (s)
    #[arg(long, default_value = "l")]
    consistency: String,
    /// order of results: ASCEND or DESCEND
    #[arg(long, default_value = "")]
    order: String,
    /// what to sort by: CREATE, KEY, MODIFY, VALUE or VERSION
    #[arg(long, default_value = "")]
    sort_by: String,
    /// how many results at most
    #[arg(long, default_value_t = 0)]
    limit: i64,
    /// all keys that begin with the key
    #[arg(long)]
    prefix: bool,
    /// all keys from the key on
    #[arg(long)]
    from_key: bool,
    /// as it was at this revision
    #[arg(long, default_value_t = 0)]
    rev: i64,
    /// keys without values
    #[arg(long)]
    keys_only: bool,
    /// only how many there are
    #[arg(long)]
    count_only: bool,
    /// only values, in the simple format
    #[arg(long)]
    print_value_only: bool,
    /// not created before this revision
    #[arg(long, default_value_t = 0)]
    min_create_rev: i64,
    /// not created after this revision
    #[arg(long, default_value_t = 0)]
    max_create_rev: i64,
    /// not changed before this revision
    #[arg(long, default_value_t = 0)]
    min_mod_rev: i64,
    /// not changed after this revision
    #[arg(long, default_value_t = 0)]
    max_mod_rev: i64,
    /// ask for the answer in pieces
    #[arg(long)]
    stream: bool,
    #[arg(value_name = "[options] <key> [range_end]")]
    words: Vec<OsString>,
}

/// Does it.
pub(super) async fn get(words: Words, session: &Session) -> Result<(), Failure> {
    let request = words.request()?;
    let client = session.client().await?;
    let answer = if words.stream {
        let asked = async |line: super::client::Line| {
            let mut pieces = line.kv().range_stream(request.clone()).await?.into_inner();
            let mut whole = RangeResponse::default();
            while let Some(piece) = pieces.message().await? {
                merge(&mut whole, piece.range_response.unwrap_or_default());
            }
            Ok(tonic::Response::new(whole))
        };
        client.call(session.within(), Repeat::IfLost, asked).await?
    } else {
        client
            .call(session.within(), Repeat::IfLost, async |line| {
                line.kv().range(request.clone()).await
            })
            .await?
    };
    let mut printer = session.printer()?;
    if words.count_only && printer.format != Format::Fields {
        return Err(Failure::words("--count-only is only for `--write-out=fields`"));
    }
    if words.print_value_only {
        if printer.format != Format::Simple {
            return Err(Failure::words("print-value-only is only for `--write-out=simple`"));
        }
        printer.ink.is_value_only = true;
    }
    printer.print(&answer)
}

/// Pieces of an answer come with what they have.
fn merge(whole: &mut RangeResponse, piece: RangeResponse) {
    whole.header = piece.header.or(whole.header.take());
    whole.kvs.extend(piece.kvs);
    whole.more |= piece.more;
    if piece.count != 0 {
        whole.count = piece.count;
    }
}

impl Words {
    /// What the words ask a server for.
    pub(super) fn request(&self) -> Result<RangeRequest, Failure> {
        let Some(key) = self.words.first() else {
            return Err(Failure::words(
                "get command needs one argument as key and an optional argument as range_end",
            ));
        };
        if self.prefix && self.from_key {
            return Err(both("prefix", "from-key"));
        }
        if self.keys_only && self.count_only {
            return Err(both("keys-only", "count-only"));
        }
        let serializable = is_serializable(&self.consistency)?;
        let range_end = self.words.get(1).map(bytes);
        let (key, range_end) = range(bytes(key), range_end, self.prefix, self.from_key)?;
        let (sort_target, sort_order) = self.sorting()?;
        let at_least_zero = |number: i64| number.max(0);
        let request = RangeRequest {
            key,
            range_end,
            limit: self.limit,
            revision: at_least_zero(self.rev),
            sort_order,
            sort_target,
            serializable,
            keys_only: self.keys_only,
            count_only: self.count_only,
            min_mod_revision: at_least_zero(self.min_mod_rev),
            max_mod_revision: at_least_zero(self.max_mod_rev),
            min_create_revision: at_least_zero(self.min_create_rev),
            max_create_revision: at_least_zero(self.max_create_rev),
        };
        check_order("CreateRev", request.min_create_revision, request.max_create_revision)?;
        check_order("ModRev", request.min_mod_revision, request.max_mod_revision)?;
        Ok(request)
    }

    fn sorting(&self) -> Result<(i32, i32), Failure> {
        let order = match self.order.to_uppercase().as_str() {
            "" => SortOrder::None,
            "ASCEND" => SortOrder::Ascend,
            "DESCEND" => SortOrder::Descend,
            _ => return Err(Failure::feature(format!("bad sort order {}", self.order))),
        };
        let target = match self.sort_by.to_uppercase().as_str() {
            "" | "KEY" => SortTarget::Key,
            "CREATE" => SortTarget::Create,
            "MODIFY" => SortTarget::Mod,
            "VALUE" => SortTarget::Value,
            "VERSION" => SortTarget::Version,
            _ => return Err(Failure::feature(format!("bad sort target {}", self.sort_by))),
        };
        // Keys come in their order anyway.
        let is_natural = (target, order) == (SortTarget::Key, SortOrder::Ascend);
        let order = if is_natural { SortOrder::None } else { order };
        Ok((target as i32, order as i32))
    }
}

fn check_order(what: &str, least: i64, most: i64) -> Result<(), Failure> {
    if most > 0 && least > most {
        let text = format!("getMin{what}(={least}) > getMax{what}(={most})");
        return Err(Failure::feature(text));
    }
    Ok(())
}

/// A word's bytes.
pub(super) fn bytes(word: &OsString) -> Bytes {
    Bytes::copy_from_slice(word.as_bytes())
}

fn both(one: &str, other: &str) -> Failure {
    Failure::words(format!("`--{one}` and `--{other}` cannot be set at the same time, choose one"))
}

/// Whether a read may come from a member that lags.
pub(super) fn is_serializable(consistency: &str) -> Result<bool, Failure> {
    match consistency {
        "s" => Ok(true),
        "l" => Ok(false),
        _ => Err(Failure::feature(format!("unknown consistency flag {consistency:?}"))),
    }
}

/// A range in a request, of what was said on the command line.
pub(super) fn range(
    key: Bytes,
    range_end: Option<Bytes>,
    is_prefix: bool,
    is_from_key: bool,
) -> Result<(Bytes, Bytes), Failure> {
    if is_prefix && is_from_key {
        return Err(both("prefix", "from-key"));
    }
    if range_end.is_some() && (is_prefix || is_from_key) {
        return Err(Failure::words(
            "too many arguments, only accept one argument when `--prefix` or `--from-key` is set",
        ));
    }
    let all = Bytes::from_static(b"\0");
    Ok(match range_end {
        Some(end) => (key, end),
        None if key.is_empty() && (is_prefix || is_from_key) => (all.clone(), all),
        None if is_prefix => prefix_range(key),
        None if is_from_key => (key, all),
        None => (key, Bytes::new()),
    })
}

/// All keys with a beginning.
pub(super) fn prefix_range(prefix: Bytes) -> (Bytes, Bytes) {
    let all = Bytes::from_static(b"\0");
    if prefix.is_empty() {
        return (all.clone(), all);
    }
    let end = match prefix.iter().rposition(|byte| *byte < 0xff) {
        Some(last) => {
            let mut end = prefix[..=last].to_vec();
            end[last] += 1;
            end.into()
        }
        None => all,
    };
    (prefix, end)
}
