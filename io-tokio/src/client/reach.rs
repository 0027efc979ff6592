//! Flags that say which servers are meant, how they are reached, and who one is there: declared
//! once for every tool that speaks with servers.
//!
//! ```text
//! --endpoints=a:2379,b:2379 --cacert=ca.pem --user=root:secret
//!   └─ endpoints()            └─ way()        └─ identity()
//! ```

use std::time::Duration;

use clap::Args;

use super::way::{Secure, Way};
use super::{Identity, Limits};
use crate::srv;
use crate::tool::Failure;
use crate::tool::flags::duration;
use crate::transport::Patience;

/// Which servers, how, and as whom.
#[derive(Args, Clone, Debug)]
pub(crate) struct Reach {
    /// servers to speak with, separated by commas
    #[arg(long, global = true, value_delimiter = ',', action = clap::ArgAction::Append,
        default_value = "127.0.0.1:2379")]
    pub(crate) endpoints: Vec<String>,
    /// how long a connection may take to come up
    #[arg(long, global = true, default_value = "2s", value_parser = duration)]
    pub(crate) dial_timeout: Duration,
    /// after how much silence a connection is probed
    #[arg(long, global = true, default_value = "2s", value_parser = duration)]
    pub(crate) keepalive_time: Duration,
    /// how long the answer to a probe may take
    #[arg(long, global = true, default_value = "6s", value_parser = duration)]
    pub(crate) keepalive_timeout: Duration,
    /// the largest request that is sent, in bytes (2 MiB if 0)
    #[arg(long, global = true, default_value_t = 0)]
    pub(crate) max_request_bytes: i64,
    /// the largest answer that is taken, in bytes (2 GiB if 0)
    #[arg(long, global = true, default_value_t = 0)]
    pub(crate) max_recv_bytes: i64,
    /// do not encrypt
    #[arg(long, global = true, default_value_t = true)]
    pub(crate) insecure_transport: bool,
    /// take servers from DNS that are not asked over TLS
    #[arg(long, global = true, default_value_t = true)]
    pub(crate) insecure_discovery: bool,
    /// do not verify the server's certificate (only for tests)
    #[arg(long, global = true)]
    pub(crate) insecure_skip_tls_verify: bool,
    /// this client's certificate, a file
    #[arg(long, global = true, default_value = "")]
    pub(crate) cert: String,
    /// this client's private key, a file
    #[arg(long, global = true, default_value = "")]
    pub(crate) key: String,
    /// certificates that servers' certificates are verified with, a file
    #[arg(long, global = true, default_value = "")]
    pub(crate) cacert: String,
    /// token to be known by, instead of --user and --password
    #[arg(long, global = true, default_value = "")]
    pub(crate) auth_jwt_token: String,
    /// name[:password] to be known by; asks for the password if there is none
    #[arg(long, global = true, default_value = "")]
    pub(crate) user: String,
    /// password, if --user does not have it
    #[arg(long, global = true, default_value = "")]
    pub(crate) password: String,
    /// domain whose SRV records name the servers
    #[arg(short = 'd', long, global = true, default_value = "")]
    pub(crate) discovery_srv: String,
    /// service name to ask DNS for
    #[arg(long, global = true, default_value = "")]
    pub(crate) discovery_srv_name: String,
}

impl Reach {
    /// The servers that were named, by their domain or one by one.
    pub(crate) async fn endpoints(&self) -> Result<Vec<String>, Failure> {
        let Self { discovery_srv, discovery_srv_name, insecure_discovery, .. } = self;
        if discovery_srv.is_empty() {
            return Ok(self.endpoints.clone());
        }
        let found = srv::clients(discovery_srv, discovery_srv_name).await.map_err(Failure::new)?;
        let urls = found.into_iter().map(|target| target.url);
        let (secure, insecure): (Vec<_>, Vec<_>) =
            urls.partition(|url| *insecure_discovery || url.is_secure);
        for url in insecure {
            eprintln!("ignoring discovered insecure endpoint \"{url}\"");
        }
        Ok(match secure.as_slice() {
            [] => self.endpoints.clone(),
            found => found.iter().map(ToString::to_string).collect(),
        })
    }

    /// The way to them.
    pub(crate) fn way(&self) -> Result<Way, Failure> {
        let given = self.clone();
        self.way_secured(&Secure {
            cert: given.cert,
            key: given.key,
            cacert: given.cacert,
            // Who does not trust DNS wants the domain's own certificate.
            server_name: if given.insecure_discovery { String::new() } else { given.discovery_srv },
            insecure_transport: given.insecure_transport,
            insecure_skip_tls_verify: given.insecure_skip_tls_verify,
        })
    }

    /// The way to other servers, as patient, secured like this.
    pub(crate) fn way_secured(&self, secure: &Secure) -> Result<Way, Failure> {
        let patience =
            Patience::of_client(self.dial_timeout, self.keepalive_time, self.keepalive_timeout);
        Way::new(secure, patience).map_err(Failure::words)
    }

    /// How much is sent and taken.
    pub(crate) fn limits(&self) -> Limits {
        let usual = Limits::new(self.dial_timeout);
        let or = |given: i64, usual| {
            usize::try_from(given).ok().filter(|given| *given > 0).unwrap_or(usual)
        };
        Limits {
            request_bytes_max: or(self.max_request_bytes, usual.request_bytes_max),
            answer_bytes_max: or(self.max_recv_bytes, usual.answer_bytes_max),
            ..usual
        }
    }

    /// Who one is; asks for a password that nobody gave.
    pub(crate) fn identity(&self) -> Result<Option<Identity>, Failure> {
        match self.auth_jwt_token.as_str() {
            "" => Identity::asked(&self.user, &self.password, "Password: "),
            token => Ok(Some(Identity::Token(token.to_owned()))),
        }
    }
}
