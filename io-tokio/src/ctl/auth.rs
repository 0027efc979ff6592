//! `auth`.

use std::ffi::OsString;

use clap::Subcommand;
use quorate_proto::etcdserverpb::{
    AuthDisableRequest, AuthEnableRequest, AuthRoleAddRequest, AuthStatusRequest,
    AuthUserGrantRoleRequest,
};

use super::Session;
use super::client::{Client, Line, Repeat, Trouble};
use super::print::Said;
use crate::tool::{self, Failure};

/// What to do.
#[derive(Debug, Subcommand)]
pub(super) enum Words {
    /// Switches authentication on
    Enable {
        #[arg(value_name = "")]
        words: Vec<OsString>,
    },
    /// Switches authentication off
    Disable {
        #[arg(value_name = "")]
        words: Vec<OsString>,
    },
    /// Says whether authentication is on
    Status {
        #[arg(value_name = "")]
        words: Vec<OsString>,
    },
}

/// Does it.
pub(super) async fn run(words: Words, session: &Session) -> Result<(), Failure> {
    let (name, more) = match &words {
        Words::Enable { words } => ("enable", words),
        Words::Disable { words } => ("disable", words),
        Words::Status { words } => ("status", words),
    };
    if !more.is_empty() {
        let text = format!("auth {name} command does not accept any arguments");
        return Err(Failure::words(text));
    }
    let client = session.client().await?;
    match words {
        Words::Enable { .. } => {
            let enabled = tokio::time::timeout(session.globals.command_timeout, enable(&client));
            enabled.await.unwrap_or(Err(Trouble::Late))?;
            tool::print(b"Authentication Enabled\n")
        }
        Words::Disable { .. } => {
            let asked = async |line: Line| line.auth().auth_disable(AuthDisableRequest {}).await;
            client.call(session.within(), Repeat::Never, asked).await?;
            tool::print(b"Authentication Disabled\n")
        }
        Words::Status { .. } => {
            let asked = async |line: Line| line.auth().auth_status(AuthStatusRequest {}).await;
            let answer = client.call(session.within(), Repeat::Never, asked).await?;
            let text = format!(
                "Authentication Status: {}\nAuthRevision: {}\n",
                answer.enabled, answer.auth_revision
            );
            session.printer()?.print(&Said::new(&answer, text))
        }
    }
}

/// Gives root its role if it does not have it.
async fn enable(client: &Client) -> Result<(), Trouble> {
    let asked = async |line: Line| line.auth().auth_enable(AuthEnableRequest {}).await;
    let mut answer = client.call(None, Repeat::Never, asked).await;
    while answer.as_ref().is_err_and(|it| it.is("etcdserver: root user does not have root role")) {
        let role = || "root".to_owned();
        let request = AuthRoleAddRequest { name: role() };
        let add = async |line: Line| line.auth().role_add(request.clone()).await;
        client.call(None, Repeat::Never, add).await?;
        let request = AuthUserGrantRoleRequest { user: role(), role: role() };
        let grant = async |line: Line| line.auth().user_grant_role(request.clone()).await;
        client.call(None, Repeat::Never, grant).await?;
        answer = client.call(None, Repeat::Never, asked).await;
    }
    answer.map(|_| ())
}
