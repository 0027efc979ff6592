//! `txn`: a transaction that is typed.

use std::ffi::OsString;
use std::io::{BufRead, Lines, StdinLock};

use clap::{Args, Parser};
use quorate_proto::etcdserverpb::request_op::Request;
use quorate_proto::etcdserverpb::{Compare, RequestOp, TxnRequest};

use super::client::{Line, Repeat};
use super::{Session, delete, get, line, put};
use crate::tool::{self, Failure};

/// What its help says.
pub(super) const ABOUT: &str = "Does several requests at once, if all comparisons hold.

Three lists are read from standard input, each of them ended by an empty line: comparisons, what
to do if all of them hold, and what to do if one does not.

mod(\"key1\") > \"0\"

put key1 \"overwrote-key1\"

put key1 \"created-key1\"
put key2 \"some extra key\"

What is compared is one of ver(sion), c(reate), m(od), val(ue) and lease; by =, !=, < or >.";

/// How to read it.
#[derive(Args, Debug)]
pub(super) struct Words {
    /// say what is to be typed next
    #[arg(short, long)]
    interactive: bool,
    #[arg(value_name = "[options]")]
    words: Vec<OsString>,
}

/// One request of a transaction.
#[derive(Debug, Parser)]
#[command(infer_subcommands = true, disable_help_flag = true, disable_help_subcommand = true)]
enum Operation {
    Get(get::Words),
    Put(put::Words),
    Del(delete::Words),
}

/// Does it.
pub(super) async fn txn(words: Words, session: &Session) -> Result<(), Failure> {
    if !words.words.is_empty() {
        return Err(Failure::words("txn command does not accept argument"));
    }
    let mut lines = std::io::stdin().lock().lines();
    let say = |what: &str| match words.interactive {
        true => tool::print(format!("{what}\n").as_bytes()),
        false => Ok(()),
    };
    say("compares:")?;
    let compare = read_compares(&mut lines)?;
    say("success requests (get, put, del):")?;
    let success = read_operations(&mut lines).await?;
    say("failure requests (get, put, del):")?;
    let failure = read_operations(&mut lines).await?;
    let request = TxnRequest { compare, success, failure };
    let asked = async |line: Line| line.kv().txn(request.clone()).await;
    let answer = session.ask(None, Repeat::Never, asked).await?;
    session.printer()?.print(&answer)
}

/// The next line that is not empty.
fn next(lines: &mut Lines<StdinLock<'_>>) -> Result<Option<String>, Failure> {
    let line = lines.next().ok_or_else(|| Failure::input("EOF"))?;
    let line = line.map_err(|error| Failure::input(error.to_string()))?;
    Ok(Some(line.trim().to_owned()).filter(|line| !line.is_empty()))
}

fn read_compares(lines: &mut Lines<StdinLock<'_>>) -> Result<Vec<Compare>, Failure> {
    let mut compares = Vec::new();
    while let Some(line) = next(lines)? {
        compares.push(line::parse_compare(&line)?);
    }
    Ok(compares)
}

async fn read_operations(lines: &mut Lines<StdinLock<'_>>) -> Result<Vec<RequestOp>, Failure> {
    let mut operations = Vec::new();
    while let Some(line) = next(lines)? {
        operations.push(RequestOp { request: Some(parse_operation(&line).await?) });
    }
    Ok(operations)
}

async fn parse_operation(text: &str) -> Result<Request, Failure> {
    let mut words = line::words(text)?;
    if words.len() < 2 {
        return Err(Failure::input(format!("invalid txn compare request: {text}")));
    }
    words.insert(0, "txn".into());
    let operation = tool::flags::parse::<Operation>(&words)
        .map_err(|_| Failure::input(format!("invalid txn request: {text}")))?;
    Ok(match operation {
        Operation::Get(words) => Request::RequestRange(words.request()?),
        // What could be read is the transaction's.
        Operation::Put(words) => Request::RequestPut(words.request(|| None)?),
        Operation::Del(words) => Request::RequestDeleteRange(words.request().await?),
    })
}
