//! What a cluster with TLS needs: an authority, a certificate for all members and one for a client.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use tempfile::TempDir;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::ctl::Ctl;
use super::pki::{Authority, Issued, Wish, replace};
use super::{Cluster, Options};

/// An authority, a certificate for all members and one for a client called root.
pub(crate) struct Pki {
    pub(crate) dir: TempDir,
    pub(crate) authority: Authority,
    pub(crate) member: Issued,
    pub(crate) client: Issued,
}

impl Pki {
    pub(crate) fn new() -> Self {
        let dir = TempDir::with_prefix("pki").expect("a temporary directory");
        let authority = Authority::new(dir.path(), "ca");
        let member = authority.issue("member", &Wish { serial: 10, ..Wish::default() });
        let client = authority.issue("client", &as_client(11, "root"));
        Self { dir, authority, member, client }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Flags of a member that shows its certificate and asks for everybody's.
    pub(crate) fn flags(&self) -> Vec<String> {
        let authority = self.authority.cert();
        vec![
            flag("cert-file", &self.member.cert),
            flag("key-file", &self.member.key),
            flag("trusted-ca-file", &authority),
            "--client-cert-auth".to_owned(),
            flag("peer-cert-file", &self.member.cert),
            flag("peer-key-file", &self.member.key),
            flag("peer-trusted-ca-file", &authority),
            "--peer-client-cert-auth".to_owned(),
        ]
    }

    pub(crate) fn options(&self) -> Options {
        Options { flags: self.flags() }
    }

    /// The same, with a list of what is revoked: nobody yet.
    pub(crate) fn options_with_list(&self) -> Options {
        let list = self.path("list");
        replace(&list, &self.authority.revoke(&[99]));
        let lists = [flag("client-crl-file", &list), flag("peer-crl-file", &list)];
        Options { flags: [&self.flags()[..], &lists].concat() }
    }

    pub(crate) fn ctl(&self, cluster: &Cluster) -> Option<Ctl> {
        Ctl::find(cluster).map(|ctl| ctl.with(shown(&self.authority.cert(), &self.client)))
    }

    /// Tells a client library's program what to believe, and to show this.
    pub(crate) fn told_to(&self, mut program: Command, shown: &Issued) -> Command {
        program.env("CA_FILE", self.authority.cert());
        program.env("CERT_FILE", &shown.cert).env("KEY_FILE", &shown.key);
        program
    }
}

/// A flag that names a file.
pub(crate) fn flag(name: &str, path: &Path) -> String {
    format!("--{name}={}", path.display())
}

/// A certificate for a client of that name.
pub(crate) fn as_client(serial: u64, common_name: &str) -> Wish<'_> {
    let purposes = &[rcgen::ExtendedKeyUsagePurpose::ClientAuth];
    Wish { serial, common_name, hosts: &[], purposes, ..Wish::default() }
}

/// What etcdctl needs to believe an authority and to show a certificate.
pub(crate) fn shown(authority: &Path, client: &Issued) -> Vec<(String, String)> {
    let variable = |name: &str, path: &Path| (name.to_owned(), path.display().to_string());
    vec![
        variable("ETCDCTL_CACERT", authority),
        variable("ETCDCTL_CERT", &client.cert),
        variable("ETCDCTL_KEY", &client.key),
    ]
}

/// A connection with TLS, believing this authority and showing this.
pub(crate) fn secured<T: Read + Write>(
    io: T,
    authority: &Path,
    shown: &Issued,
) -> StreamOwned<ClientConnection, T> {
    let mut roots = RootCertStore::empty();
    for one in CertificateDer::pem_file_iter(authority).expect("a file") {
        roots.add(one.expect("a certificate")).expect("an authority");
    }
    let cert = CertificateDer::from_pem_file(&shown.cert).expect("a certificate");
    let key = PrivateKeyDer::from_pem_file(&shown.key).expect("a key");
    let config = ClientConfig::builder().with_root_certificates(roots);
    let config = Arc::new(config.with_client_auth_cert(vec![cert], key).expect("a pair"));
    let name = ServerName::try_from("localhost").expect("a name");
    StreamOwned::new(ClientConnection::new(config, name).expect("a configuration"), io)
}

/// The certificate a port shows.
pub(crate) fn served_certificate(addr: SocketAddr, authority: &Path, shown: &Issued) -> Vec<u8> {
    let stream = TcpStream::connect(addr).expect("somebody listens");
    let mut stream = secured(stream, authority, shown);
    stream.flush().expect("a handshake");
    stream.conn.peer_certificates().expect("a certificate")[0].to_vec()
}

/// What is answered to who asks for a member's health: nothing to who is not let in.
pub(crate) fn health(mut stream: impl Read + Write) -> String {
    let mut answer = String::new();
    let asked = b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    // Whoever is not let in learns so now or later.
    let _ = stream.write_all(asked).and_then(|()| stream.read_to_string(&mut answer).map(drop));
    answer
}
