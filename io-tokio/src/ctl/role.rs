//! `role`.

use std::ffi::OsString;

use bytes::Bytes;
use clap::{Args, Subcommand};
use quorate_proto::authpb::Permission;
use quorate_proto::authpb::permission::Type;
use quorate_proto::etcdserverpb::{
    AuthRoleAddRequest, AuthRoleDeleteRequest, AuthRoleGetRequest, AuthRoleGetResponse,
    AuthRoleGrantPermissionRequest, AuthRoleListRequest, AuthRoleRevokePermissionRequest,
};

use super::Session;
use super::client::{Line, Repeat};
use super::get::{bytes, prefix_range};
use super::print::Said;
use super::user::only;
use crate::tool::Failure;
use crate::tool::quote::quote;

/// What to do.
#[derive(Debug, Subcommand)]
pub(super) enum Words {
    /// Adds a role
    Add {
        #[arg(value_name = "<role name>")]
        words: Vec<OsString>,
    },
    /// Deletes a role
    Delete {
        #[arg(value_name = "<role name>")]
        words: Vec<OsString>,
    },
    /// Tells what a role may do
    Get {
        #[arg(value_name = "<role name>")]
        words: Vec<OsString>,
    },
    /// Lists all roles
    List {
        #[arg(value_name = "")]
        words: Vec<OsString>,
    },
    /// Lets a role read or write keys
    GrantPermission {
        #[command(flatten)]
        scope: Scope,
        #[arg(value_name = "[options] <role name> <permission type> <key> [endkey]")]
        words: Vec<OsString>,
    },
    /// Takes back what a role may do with keys
    RevokePermission {
        #[command(flatten)]
        scope: Scope,
        #[arg(value_name = "<role name> <key> [endkey]")]
        words: Vec<OsString>,
    },
}

/// Which keys.
#[derive(Args, Debug)]
pub(super) struct Scope {
    /// all keys that begin with the key
    #[arg(long)]
    prefix: bool,
    /// all keys from the key on
    #[arg(long)]
    from_key: bool,
}

/// Does it.
pub(super) async fn run(words: Words, session: &Session) -> Result<(), Failure> {
    match words {
        Words::Add { words } => add(&words, session).await,
        Words::Delete { words } => delete(&words, session).await,
        Words::Get { words } => get(&words, session).await,
        Words::List { .. } => list(session).await,
        Words::GrantPermission { scope, words } => grant(&words, &scope, session).await,
        Words::RevokePermission { scope, words } => revoke(&words, &scope, session).await,
    }
}

async fn add(words: &[OsString], session: &Session) -> Result<(), Failure> {
    let name = only(words, "role add command requires role name as its argument")?;
    let words = format!("Role {name} created\n");
    let request = AuthRoleAddRequest { name };
    let asked = async |line: Line| line.auth().role_add(request.clone()).await;
    let answer = session.ask(None, Repeat::Never, asked).await?;
    session.printer()?.print(&Said::with_header(&answer, words))
}

async fn delete(words: &[OsString], session: &Session) -> Result<(), Failure> {
    let role = only(words, "role delete command requires role name as its argument")?;
    let words = format!("Role {role} deleted\n");
    let request = AuthRoleDeleteRequest { role };
    let asked = async |line: Line| line.auth().role_delete(request.clone()).await;
    let answer = session.ask(None, Repeat::Never, asked).await?;
    session.printer()?.print(&Said::with_header(&answer, words))
}

async fn get(words: &[OsString], session: &Session) -> Result<(), Failure> {
    let role = only(words, "role get command requires role name as its argument")?;
    let request = AuthRoleGetRequest { role: role.clone() };
    let asked = async |line: Line| line.auth().role_get(request.clone()).await;
    let answer = session.ask(None, Repeat::IfLost, asked).await?;
    session.printer()?.print(&described(&role, &answer))
}

/// What a role may do.
pub(super) fn described<'a>(
    role: &str,
    answer: &'a AuthRoleGetResponse,
) -> Said<'a, AuthRoleGetResponse> {
    let keys = |kinds: [Type; 2]| {
        if role == "root" && answer.perm.is_empty() {
            return "\t[, <open ended>\n".to_owned();
        }
        let is_one = |perm: &&Permission| kinds.iter().any(|kind| *kind as i32 == perm.perm_type);
        answer.perm.iter().filter(is_one).map(line).collect()
    };
    let read = keys([Type::Read, Type::Readwrite]);
    let write = keys([Type::Write, Type::Readwrite]);
    let words = format!("Role {role}\nKV Read:\n{read}KV Write:\n{write}");
    Said::with_fields(answer, words, |answer, _, fields| {
        for perm in &answer.perm {
            let kind = Type::try_from(perm.perm_type).map_or("", |kind| kind.as_str_name());
            // Two spaces, as etcdctl has it.
            fields.value("PermType", format_args!(" {kind}"));
            fields.text("Key", &perm.key);
            fields.text("RangeEnd", &perm.range_end);
        }
    })
}

fn line(perm: &Permission) -> String {
    let key = String::from_utf8_lossy(&perm.key);
    let (_, prefix_end) = prefix_range(perm.key.clone());
    let is_prefix = !perm.key.is_empty() && prefix_end == perm.range_end;
    let prefix = if is_prefix { format!(" (prefix {key})") } else { String::new() };
    match &perm.range_end[..] {
        [] => format!("\t{key}\n"),
        [0] => format!("\t[{key}, <open ended>{prefix}\n"),
        end => format!("\t[{key}, {}){prefix}\n", String::from_utf8_lossy(end)),
    }
}

async fn list(session: &Session) -> Result<(), Failure> {
    let asked = async |line: Line| line.auth().role_list(AuthRoleListRequest {}).await;
    let answer = session.ask(None, Repeat::IfLost, asked).await?;
    let words = answer.roles.iter().map(|role| format!("{role}\n")).collect();
    session.printer()?.print(&Said::with_fields(&answer, words, |answer, _, fields| {
        let roles = answer.roles.iter().map(|role| format!(" {}", quote(role.as_bytes())));
        fields.raw(&format!("\"Roles\" :{}\n", roles.collect::<String>()));
    }))
}

async fn grant(words: &[OsString], scope: &Scope, session: &Session) -> Result<(), Failure> {
    let [role, kind, keys @ ..] = words else { return Err(Failure::words(GRANT_NEEDS)) };
    if keys.is_empty() {
        return Err(Failure::words(GRANT_NEEDS));
    }
    let name = role.to_string_lossy().into_owned();
    let kind = kind.to_string_lossy();
    let perm_type = Type::from_str_name(&kind.to_uppercase())
        .ok_or_else(|| Failure::words(format!("invalid permission type: {kind}")))?;
    let (key, range_end) = scope.range(keys)?;
    let words = format!("Role {name} updated\n");
    let perm = Some(Permission { perm_type: perm_type as i32, key, range_end });
    let request = AuthRoleGrantPermissionRequest { name, perm };
    let asked = async |line: Line| line.auth().role_grant_permission(request.clone()).await;
    let answer = session.ask(None, Repeat::Never, asked).await?;
    session.printer()?.print(&Said::with_header(&answer, words))
}

const GRANT_NEEDS: &str =
    "role grant command requires role name, permission type, and key [endkey] as its argument";

async fn revoke(words: &[OsString], scope: &Scope, session: &Session) -> Result<(), Failure> {
    let [role, keys @ ..] = words else { return Err(Failure::words(REVOKE_NEEDS)) };
    if keys.is_empty() {
        return Err(Failure::words(REVOKE_NEEDS));
    }
    let role = role.to_string_lossy().into_owned();
    let (key, range_end) = scope.range(keys)?;
    let shown = keys[0].to_string_lossy();
    let what = match &range_end[..] {
        [] => format!("key {shown}"),
        [0] => format!("range [{shown}, <open ended>"),
        end => format!("range [{shown}, {})", String::from_utf8_lossy(end)),
    };
    let words = format!("Permission of {what} is revoked from role {role}\n");
    let request = AuthRoleRevokePermissionRequest { role, key, range_end };
    let asked = async |line: Line| line.auth().role_revoke_permission(request.clone()).await;
    let answer = session.ask(None, Repeat::Never, asked).await?;
    session.printer()?.print(&Said::with_header(&answer, words))
}

const REVOKE_NEEDS: &str =
    "role revoke-permission command requires role name and key [endkey] as its argument";

impl Scope {
    fn range(&self, keys: &[OsString]) -> Result<(Bytes, Bytes), Failure> {
        let key = bytes(&keys[0]);
        let all = Bytes::from_static(b"\0");
        if self.prefix && self.from_key && (key.is_empty() || keys.len() == 1) {
            return Err(Failure::words("--from-key and --prefix flags are mutually exclusive"));
        }
        if key.is_empty() {
            let is_open = self.prefix || self.from_key;
            return Ok((all.clone(), if is_open { all } else { Bytes::new() }));
        }
        let unexpected = |flag: &str| {
            Err(Failure::words(format!("unexpected endkey argument with {flag} flag")))
        };
        match keys.get(1) {
            None if self.prefix => Ok(prefix_range(key)),
            None if self.from_key => Ok((key, all)),
            None => Ok((key, Bytes::new())),
            Some(_) if self.prefix => unexpected("--prefix"),
            Some(_) if self.from_key => unexpected("--from-key"),
            Some(end) => Ok((key, bytes(end))),
        }
    }
}
