//! What the flags about TLS mean together.
//!
//! Answers to: etcd v3.7.1 `server/embed/config.go`, `server/embed/etcd.go`

use std::path::Path;

use super::parse::CliError;
use super::table::Flags;
use super::url::{Place, Url};
use crate::tls::{Allowed, Pair, Protocol, Security, SelfMade, Source, Version};

/// Both kinds of connections, secured.
pub(super) struct Secured {
    pub(super) client: Security,
    pub(super) peer: Security,
    /// What is allowed, and perhaps not meant.
    pub(super) remarks: Vec<String>,
}

/// Where this member listens.
#[derive(Default)]
pub(super) struct Listening {
    pub(super) client: Vec<Url>,
    pub(super) client_http: Vec<Url>,
    pub(super) peer: Vec<Url>,
    pub(super) metrics: Vec<Url>,
}

/// Judges the flags about TLS.
pub(super) fn secure(
    flags: &Flags,
    data_dir: &Path,
    listen: &Listening,
) -> Result<Secured, CliError> {
    let client_urls = [listen.client.as_slice(), &listen.client_http].concat();
    let mut remarks = Vec::new();
    let protocol = protocol(flags, &mut remarks)?;
    let fixtures = data_dir.join("fixtures");
    let of_clients = Side {
        flags: ["cert-file", "key-file", "client-cert-file", "client-key-file"],
        files: [&flags.cert_file, &flags.key_file, &flags.client_cert_file, &flags.client_key_file],
        trusted_ca: ("trusted-ca-file", &flags.trusted_ca_file),
        crl: ("client-crl-file", &flags.client_crl_file),
        auth: ("client-cert-auth", flags.client_cert_auth),
        auto: ("auto-tls", flags.auto_tls),
        urls: ("listen-client-urls", &client_urls),
    };
    let of_peers = Side {
        flags: ["peer-cert-file", "peer-key-file", "peer-client-cert-file", "peer-client-key-file"],
        files: [
            &flags.peer_cert_file,
            &flags.peer_key_file,
            &flags.peer_client_cert_file,
            &flags.peer_client_key_file,
        ],
        trusted_ca: ("peer-trusted-ca-file", &flags.peer_trusted_ca_file),
        crl: ("peer-crl-file", &flags.peer_crl_file),
        auth: ("peer-client-cert-auth", flags.peer_client_cert_auth),
        auto: ("peer-auto-tls", flags.peer_auto_tls),
        urls: ("listen-peer-urls", &listen.peer),
    };
    let years = flags.self_signed_cert_validity;
    let mut client = of_clients.understand((&fixtures.join("client"), years), &mut remarks)?;
    let mut peer = of_peers.understand((&fixtures.join("peer"), years), &mut remarks)?;
    client.allowed = hostnames(&flags.client_cert_allowed_hostname);
    peer.allowed = allowed_peers(flags)?;
    peer.checks_addresses = !flags.peer_skip_client_san_verification;
    client.protocol = protocol.clone();
    peer.protocol = protocol;
    if listen.metrics.iter().any(|url| url.is_secure) && !client.can_serve() {
        return Err(CliError::settings(
            "client TLS key/cert (--cert-file, --key-file) must be provided for metrics secure url",
        ));
    }
    Ok(Secured { client, peer, remarks })
}

/// Judges flags about clients' connections alone, as those have them who serve nothing else; comes
/// with remarks.
pub fn secure_clients(
    set: impl FnOnce(&mut Flags),
    data_dir: &Path,
    url: &Url,
) -> Result<(Security, Vec<String>), CliError> {
    let mut flags = Flags::default();
    set(&mut flags);
    let listen = Listening { client: vec![url.clone()], ..Listening::default() };
    let secured = secure(&flags, data_dir, &listen)?;
    Ok((secured.client, secured.remarks))
}

/// The flags of one kind of connections.
struct Side<'a> {
    /// Of a certificate and its key, as a server and as a client.
    flags: [&'static str; 4],
    files: [&'a str; 4],
    trusted_ca: (&'static str, &'a str),
    crl: (&'static str, &'a str),
    auth: (&'static str, bool),
    auto: (&'static str, bool),
    urls: (&'static str, &'a [Url]),
}

impl Side<'_> {
    fn understand(
        &self,
        (fixtures, validity_years): (&Path, u32),
        remarks: &mut Vec<String>,
    ) -> Result<Security, CliError> {
        let security = Security {
            pair: self.pair(0)?,
            client_pair: self.pair(2)?,
            self_made: None,
            trusted_ca: source(self.trusted_ca),
            crl: source(self.crl),
            asks_clients: self.auth.1,
            ..Security::default()
        };
        let security = self.with_self_made(security, (fixtures, validity_years), remarks)?;
        self.check_urls(&security, remarks)?;
        Ok(security)
    }

    fn pair(&self, at: usize) -> Result<Option<Pair>, CliError> {
        let (cert_flag, key_flag) = (self.flags[at], self.flags[at + 1]);
        let cert = source((cert_flag, self.files[at]));
        match (cert, source((key_flag, self.files[at + 1]))) {
            (Some(cert), Some(key)) => Ok(Some(Pair { cert, key })),
            (None, None) => Ok(None),
            (cert, _) => Err(CliError::settings(format!(
                "--{cert_flag} and --{key_flag} must both be present; give --{} as well",
                if cert.is_none() { cert_flag } else { key_flag }
            ))),
        }
    }

    /// A pair that is given wins over one that would be made.
    fn with_self_made(
        &self,
        security: Security,
        (fixtures, validity_years): (&Path, u32),
        remarks: &mut Vec<String>,
    ) -> Result<Security, CliError> {
        let (flag, is_wanted) = self.auto;
        if !is_wanted {
            return Ok(security);
        }
        if security.pair.is_some() {
            remarks.push(format!("ignoring --{flag} since certs given"));
            return Ok(security);
        }
        if security.asks_clients || security.trusted_ca.is_some() {
            return Err(CliError::settings(format!(
                "--{flag} cannot be combined with --{} or --{}: etcd would let everybody in \
                 without a word; give --{} and --{}, or leave those away",
                self.auth.0, self.trusted_ca.0, self.flags[0], self.flags[1]
            )));
        }
        if validity_years == 0 {
            return Err(CliError::settings(
                "selfSignedCertValidity is invalid,it should be greater than 0; give \
                 --self-signed-cert-validity at least 1",
            ));
        }
        let host = |url: &Url| match &url.place {
            Place::Port { host, .. } if !host.is_empty() => host.clone(),
            _ => "localhost".to_owned(),
        };
        let mut hosts: Vec<String> = self.urls.1.iter().map(host).collect();
        hosts.sort();
        hosts.dedup();
        let dir = fixtures.to_owned();
        Ok(Security { self_made: Some(SelfMade { flag, dir, hosts, validity_years }), ..security })
    }

    fn check_urls(&self, security: &Security, remarks: &mut Vec<String>) -> Result<(), CliError> {
        let (flag, urls) = self.urls;
        for url in urls {
            if url.is_secure && !security.can_serve() {
                return Err(CliError::settings(format!(
                    "TLS key/cert (--{}, --{}) must be provided for url {url} of --{flag} with \
                     HTTPS scheme; give them, or --{}",
                    self.flags[0], self.flags[1], self.auto.0
                )));
            }
            if !url.is_secure && security.can_serve() {
                remarks.push(format!(
                    "scheme is http or unix while key and cert files are present; ignoring key and \
                     cert files for {url} of --{flag}"
                ));
            }
            if !url.is_secure && security.asks_clients {
                remarks.push(format!(
                    "scheme is http or unix while --{} is enabled; ignoring client cert auth for \
                     {url} of --{flag}",
                    self.auth.0
                ));
            }
        }
        Ok(())
    }
}

fn source((flag, path): (&'static str, &str)) -> Option<Source> {
    (!path.is_empty()).then(|| Source::new(flag, path))
}

fn list(words: &str) -> Vec<String> {
    words.split(',').map(str::trim).filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

fn hostnames(words: &str) -> Allowed {
    match list(words) {
        names if names.is_empty() => Allowed::Anyone,
        names => Allowed::Hostnames(names),
    }
}

fn allowed_peers(flags: &Flags) -> Result<Allowed, CliError> {
    let common_names = list(&flags.peer_cert_allowed_cn);
    let hostnames = hostnames(&flags.peer_cert_allowed_hostname);
    match (common_names.is_empty(), hostnames) {
        (true, hostnames) => Ok(hostnames),
        (false, Allowed::Anyone) => Ok(Allowed::CommonNames(common_names)),
        (false, _) => Err(CliError::settings(
            "--peer-cert-allowed-cn and --peer-cert-allowed-hostname are mutually exclusive; give \
             one of them",
        )),
    }
}

fn protocol(flags: &Flags, remarks: &mut Vec<String>) -> Result<Protocol, CliError> {
    let min = version("tls-min-version", &flags.tls_min_version)?.unwrap_or(Version::Tls12);
    let max = version("tls-max-version", &flags.tls_max_version)?.unwrap_or(Version::Tls13);
    if min > max {
        return Err(CliError::settings(format!(
            "min version ({}) is greater than max version ({}); give a --tls-max-version that is \
             not below --tls-min-version",
            flags.tls_min_version, flags.tls_max_version
        )));
    }
    let (suites, unspoken) = Protocol::parse_suites(&flags.cipher_suites).map_err(|name| {
        CliError::settings(format!(
            "unexpected TLS cipher suite {name:?} in --cipher-suites; write names such as \
             TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"
        ))
    })?;
    let is_given = !(suites.is_empty() && unspoken.is_empty());
    if is_given && min == Version::Tls13 {
        return Err(CliError::settings(
            "cipher suites cannot be configured when only TLS1.3 is enabled; leave --cipher-suites \
             away",
        ));
    }
    let protocol = Protocol { min, max, suites: is_given.then_some(suites) };
    if !protocol.speaks_12() && max == Version::Tls12 {
        return Err(CliError::settings(format!(
            "no suite in --cipher-suites {} is one that this server speaks: those with ECDHE and \
             GCM or CHACHA20, such as TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256; add one of them",
            flags.cipher_suites
        )));
    }
    if !unspoken.is_empty() {
        remarks.push(format!(
            "--cipher-suites: left out, because only suites with ECDHE and GCM or CHACHA20 are \
             spoken: {}",
            unspoken.join(",")
        ));
    }
    Ok(protocol)
}

fn version(flag: &str, word: &str) -> Result<Option<Version>, CliError> {
    if word.is_empty() {
        return Ok(None);
    }
    Version::parse(word).map(Some).ok_or_else(|| {
        CliError::settings(format!(
            "unexpected TLS version {word:?} (must be one of: TLS1.2, TLS1.3); correct --{flag}"
        ))
    })
}
