//! What the flags say about whom to ask for the members of a new cluster.
//!
//! Answers to: etcd v3.7.1 `server/embed/config.go`, `server/etcdserver/api/v3discovery/`

use std::time::Duration;

use super::parse::CliError;
use super::table::Flags;
use crate::client::way::Secure;

/// A service where the members of a cluster find each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Discovery {
    /// The cluster's name there.
    pub token: String,
    /// Where it is.
    pub endpoints: Vec<String>,
    /// What secures the way to it.
    pub secure: Secure,
    /// Who one is there: a name and a password.
    pub user: Option<(String, String)>,
    /// How long connecting may take.
    pub dial_timeout: Duration,
    /// How long a request may take.
    pub request_timeout: Duration,
    /// How often it is asked whether it is there.
    pub keepalive_time: Duration,
    /// How long it may take to answer that.
    pub keepalive_timeout: Duration,
}

/// Where DNS names the members of a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SrvNames {
    /// The domain.
    pub domain: String,
    /// Which cluster of that domain, if it has several.
    pub service_name: String,
}

/// Refuses several answers to the question who is in the cluster.
pub(super) fn check_one_source(flags: &Flags) -> Result<(), CliError> {
    let sources = [
        flags.is_given("initial-cluster"),
        !flags.discovery_srv.is_empty(),
        !flags.discovery_endpoints.is_empty(),
    ];
    if sources.into_iter().filter(|is_given| *is_given).count() > 1 {
        return Err(CliError::settings(
            "multiple discovery or bootstrap flags are set. Choose one of \"initial-cluster\", \
             \"discovery-endpoints\" or \"discovery-srv\"",
        ));
    }
    Ok(())
}

/// Judges the flags about DNS.
pub(super) fn srv_names(flags: &Flags) -> Option<SrvNames> {
    (!flags.discovery_srv.is_empty()).then(|| SrvNames {
        domain: flags.discovery_srv.clone(),
        service_name: flags.discovery_srv_name.clone(),
    })
}

/// Judges the flags about a discovery service.
pub(super) fn discovery(flags: &Flags) -> Result<Option<Discovery>, CliError> {
    let (token, endpoints) = (&flags.discovery_token, &flags.discovery_endpoints);
    if token.is_empty() && endpoints.is_empty() {
        return Ok(None);
    }
    if token.is_empty() || endpoints.is_empty() {
        return Err(CliError::settings(
            "both --discovery-token and --discovery-endpoints must be set; give the other as well",
        ));
    }
    if flags.initial_cluster_state == "existing" {
        return Err(CliError::settings(
            "discovery URL should not be set when joining existing initial cluster; give \
             --initial-cluster instead of --discovery-endpoints",
        ));
    }
    let endpoints: Vec<String> = endpoints.split(',').map(|text| text.trim().to_owned()).collect();
    if endpoints.iter().any(String::is_empty) {
        return Err(CliError::settings(
            "--discovery-endpoints must not contain empty endpoints; write host:port,...",
        ));
    }
    Ok(Some(Discovery {
        token: token.clone(),
        endpoints,
        secure: Secure {
            cert: flags.discovery_cert.clone(),
            key: flags.discovery_key.clone(),
            cacert: flags.discovery_cacert.clone(),
            insecure_transport: flags.discovery_insecure_transport,
            insecure_skip_tls_verify: flags.discovery_insecure_skip_tls_verify,
            ..Secure::default()
        },
        user: user(flags)?,
        dial_timeout: flags.discovery_dial_timeout,
        request_timeout: flags.discovery_request_timeout,
        keepalive_time: flags.discovery_keepalive_time,
        keepalive_timeout: flags.discovery_keepalive_timeout,
    }))
}

/// Nobody is there to be asked for a password.
fn user(flags: &Flags) -> Result<Option<(String, String)>, CliError> {
    let (user, password) = (&flags.discovery_user, &flags.discovery_password);
    if user.is_empty() {
        return Ok(None);
    }
    let (name, password) = match user.split_once(':') {
        Some((name, after)) if password.is_empty() => (name, after),
        _ => (user.as_str(), password.as_str()),
    };
    if password.is_empty() {
        return Err(CliError::settings(format!(
            "--discovery-user {name} has no password; give --discovery-password"
        )));
    }
    Ok(Some((name.to_owned(), password.to_owned())))
}
