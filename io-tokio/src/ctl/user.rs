//! `user`.

use std::ffi::OsString;
use std::io::BufRead as _;

use clap::Subcommand;
use quorate_proto::authpb::UserAddOptions;
use quorate_proto::etcdserverpb::{
    AuthRoleGetRequest, AuthUserAddRequest, AuthUserChangePasswordRequest, AuthUserDeleteRequest,
    AuthUserGetRequest, AuthUserGrantRoleRequest, AuthUserListRequest, AuthUserRevokeRoleRequest,
};

use super::client::{Line, Repeat};
use super::print::Said;
use super::{Session, role};
use crate::tool::{self, Failure};

/// What to do.
#[derive(Debug, Subcommand)]
pub(super) enum Words {
    /// Adds a user
    Add {
        /// ask for the password on the terminal, and not on standard input
        #[arg(long, default_value_t = true)]
        interactive: bool,
        /// the password
        #[arg(long, default_value = "")]
        new_user_password: String,
        /// a user that is known by a certificate only
        #[arg(long)]
        no_password: bool,
        #[arg(value_name = "<user name or user:password> [options]")]
        words: Vec<OsString>,
    },
    /// Deletes a user
    Delete {
        #[arg(value_name = "<user name>")]
        words: Vec<OsString>,
    },
    /// Tells which roles a user has
    Get {
        /// tell what these roles may do as well
        #[arg(long)]
        detail: bool,
        #[arg(value_name = "<user name> [options]")]
        words: Vec<OsString>,
    },
    /// Lists all users
    List {
        #[arg(value_name = "")]
        words: Vec<OsString>,
    },
    /// Changes a user's password
    Passwd {
        /// ask for the password on the terminal, and not on standard input
        #[arg(long, default_value_t = true)]
        interactive: bool,
        #[arg(value_name = "<user name> [options]")]
        words: Vec<OsString>,
    },
    /// Gives a user a role
    GrantRole {
        #[arg(value_name = "<user name> <role name>")]
        words: Vec<OsString>,
    },
    /// Takes a role from a user
    RevokeRole {
        #[arg(value_name = "<user name> <role name>")]
        words: Vec<OsString>,
    },
}

/// Does it.
pub(super) async fn run(words: Words, session: &Session) -> Result<(), Failure> {
    match words {
        Words::Add { interactive, new_user_password, no_password, words } => {
            let wanted = add_request(&words, interactive, &new_user_password, no_password)?;
            add(wanted, session).await
        }
        Words::Delete { words } => delete(&words, session).await,
        Words::Get { detail, words } => get(&words, detail, session).await,
        Words::List { words } => list(&words, session).await,
        Words::Passwd { interactive, words } => passwd(&words, interactive, session).await,
        Words::GrantRole { words } => grant_role(&words, session).await,
        Words::RevokeRole { words } => revoke_role(&words, session).await,
    }
}

/// The only word of a command.
pub(super) fn only(words: &[OsString], needs: &str) -> Result<String, Failure> {
    match words {
        [word] => Ok(word.to_string_lossy().into_owned()),
        _ => Err(Failure::words(needs)),
    }
}

fn both(words: &[OsString], needs: &str) -> Result<(String, String), Failure> {
    match words {
        [user, role] => {
            Ok((user.to_string_lossy().into_owned(), role.to_string_lossy().into_owned()))
        }
        _ => Err(Failure::words(needs)),
    }
}

fn add_request(
    words: &[OsString],
    interactive: bool,
    given: &str,
    no_password: bool,
) -> Result<AuthUserAddRequest, Failure> {
    let word = only(words, "user add command requires user name as its argument")?;
    let (name, password) = match word.split_once(':') {
        _ if no_password => (word, String::new()),
        _ if !given.is_empty() => (word, given.to_owned()),
        Some(("", _)) => return Err(Failure::words("empty user name is not allowed")),
        Some((name, password)) => (name.to_owned(), password.to_owned()),
        None => {
            let password = new_password(&word, interactive)?;
            (word, password)
        }
    };
    let options = Some(UserAddOptions { no_password });
    Ok(AuthUserAddRequest { name, password, options, hashed_password: String::new() })
}

/// A password that is new: typed twice, or one word of standard input.
fn new_password(name: &str, interactive: bool) -> Result<String, Failure> {
    if !interactive {
        let mut line = String::new();
        // Nothing to read is no password, which the server judges.
        let _ = std::io::stdin().lock().read_line(&mut line);
        return Ok(line.split_whitespace().next().unwrap_or_default().to_owned());
    }
    let ask = |prompt: String| {
        let typed = rpassword::prompt_password(prompt);
        typed.map_err(|error| Failure::words(format!("failed to ask password: {error}")))
    };
    let first = ask(format!("Password of {name}: "))?;
    if first.is_empty() {
        return Err(Failure::words("empty password"));
    }
    let second = ask(format!("Type password of {name} again for confirmation: "))?;
    if first != second {
        return Err(Failure::words("given passwords are different"));
    }
    Ok(first)
}

async fn add(request: AuthUserAddRequest, session: &Session) -> Result<(), Failure> {
    let asked = async |line: Line| line.auth().user_add(request.clone()).await;
    let answer = session.ask(None, Repeat::Never, asked).await?;
    let words = format!("User {} created\n", request.name);
    session.printer()?.print(&Said::with_header(&answer, words))
}

async fn delete(words: &[OsString], session: &Session) -> Result<(), Failure> {
    let name = only(words, "user delete command requires user name as its argument")?;
    let request = AuthUserDeleteRequest { name: name.clone() };
    let asked = async |line: Line| line.auth().user_delete(request.clone()).await;
    let answer = session.ask(None, Repeat::Never, asked).await?;
    let words = format!("User {name} deleted\n");
    session.printer()?.print(&Said::with_header(&answer, words))
}

async fn get(words: &[OsString], detail: bool, session: &Session) -> Result<(), Failure> {
    let name = only(words, "user get command requires user name as its argument")?;
    let client = session.client().await?;
    let printer = session.printer()?;
    let request = AuthUserGetRequest { name: name.clone() };
    let asked = async |line: Line| line.auth().user_get(request.clone()).await;
    let answer = client.call(None, Repeat::IfLost, asked).await?;
    if !detail {
        let roles: String = answer.roles.iter().map(|role| format!(" {role}")).collect();
        return printer.print(&Said::new(&answer, format!("User: {name}\nRoles:{roles}\n")));
    }
    tool::print(format!("User: {name}\n").as_bytes())?;
    for role in answer.roles {
        tool::print(b"\n")?;
        let request = AuthRoleGetRequest { role: role.clone() };
        let asked = async |line: Line| line.auth().role_get(request.clone()).await;
        let answer = client.call(None, Repeat::IfLost, asked).await?;
        printer.print(&role::described(&role, &answer))?;
    }
    Ok(())
}

async fn list(words: &[OsString], session: &Session) -> Result<(), Failure> {
    if !words.is_empty() {
        return Err(Failure::words("user list command requires no arguments"));
    }
    let asked = async |line: Line| line.auth().user_list(AuthUserListRequest {}).await;
    let answer = session.ask(None, Repeat::IfLost, asked).await?;
    let words = answer.users.iter().map(|user| format!("{user}\n")).collect();
    session.printer()?.print(&Said::new(&answer, words))
}

async fn passwd(words: &[OsString], interactive: bool, session: &Session) -> Result<(), Failure> {
    let name = only(words, "user passwd command requires user name as its argument")?;
    let password = new_password(&name, interactive)?;
    let request = AuthUserChangePasswordRequest { name, password, ..Default::default() };
    let asked = async |line: Line| line.auth().user_change_password(request.clone()).await;
    let answer = session.ask(None, Repeat::Never, asked).await?;
    session.printer()?.print(&Said::with_header(&answer, "Password updated\n".to_owned()))
}

async fn grant_role(words: &[OsString], session: &Session) -> Result<(), Failure> {
    let needs = "user grant command requires user name and role name as its argument";
    let (user, role) = both(words, needs)?;
    let words = format!("Role {role} is granted to user {user}\n");
    let request = AuthUserGrantRoleRequest { user, role };
    let asked = async |line: Line| line.auth().user_grant_role(request.clone()).await;
    let answer = session.ask(None, Repeat::Never, asked).await?;
    session.printer()?.print(&Said::with_header(&answer, words))
}

async fn revoke_role(words: &[OsString], session: &Session) -> Result<(), Failure> {
    let needs = "user revoke-role requires user name and role name as its argument";
    let (name, role) = both(words, needs)?;
    let words = format!("Role {role} is revoked from user {name}\n");
    let request = AuthUserRevokeRoleRequest { name, role };
    let asked = async |line: Line| line.auth().user_revoke_role(request.clone()).await;
    let answer = session.ask(None, Repeat::Never, asked).await?;
    session.printer()?.print(&Said::with_header(&answer, words))
}
