use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rcgen::ExtendedKeyUsagePurpose;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_rustls::rustls::CipherSuite;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, pem::PemObject as _};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::*;
use pki::{Authority, Issued, Wish, replace, self_signed};

#[path = "../../tests/accept/pki.rs"]
#[allow(dead_code, reason = "acceptance tests use the rest")]
mod pki;

fn pair(issued: &Issued) -> Option<Pair> {
    let cert = Source::new("cert-file", &issued.cert);
    Some(Pair { cert, key: Source::new("key-file", &issued.key) })
}

fn secured(own: &Issued, authority: &Path) -> Security {
    Security {
        pair: pair(own),
        trusted_ca: Some(Source::new("trusted-ca-file", authority)),
        ..Security::default()
    }
}

fn keyring(security: Security) -> Arc<Keyring> {
    Arc::new(Keyring::open("test", security).unwrap())
}

fn refusal(security: Security) -> String {
    Keyring::open("test", security).unwrap_err()
}

/// What became of a handshake: what each side says of it.
#[derive(Debug)]
struct Met {
    server: Result<Option<CertificateDer<'static>>, String>,
    client: Result<CertificateDer<'static>, String>,
    suite: Option<CipherSuite>,
}

impl Met {
    /// The server's complaint.
    fn complaint(self) -> String {
        self.server.unwrap_err()
    }
}

async fn meet_as(server: &Arc<Keyring>, client: &Arc<Keyring>, host: &str) -> Met {
    let (near, far) = tokio::io::duplex(64 << 10);
    let config = server.fresh().await.server.clone().unwrap();
    let serving = async {
        let mut stream = TlsAcceptor::from(config).accept(near).await?;
        let shown = stream.get_ref().1.peer_certificates().map(|chain| chain[0].clone());
        stream.write_all(b"!").await?;
        stream.shutdown().await?;
        Ok::<_, io::Error>(shown.map(CertificateDer::into_owned))
    };
    let name = ServerName::try_from(host.to_owned()).unwrap();
    let connector = TlsConnector::from(client.fresh().await.client.clone());
    let dialing = async {
        let mut stream = connector.connect(name, far).await?;
        // What the server thinks of a client's certificate is heard only now.
        stream.read_u8().await?;
        let session = stream.get_ref().1;
        let suite = session.negotiated_cipher_suite().map(|suite| suite.suite());
        Ok::<_, io::Error>((session.peer_certificates().unwrap()[0].clone().into_owned(), suite))
    };
    let (served, dialed) = tokio::join!(serving, dialing);
    let suite = dialed.as_ref().ok().and_then(|(_, suite)| *suite);
    Met {
        server: served.map_err(|error| explain(&error)),
        client: dialed.map(|(shown, _)| shown).map_err(|error| explain(&error)),
        suite,
    }
}

async fn meet(server: &Arc<Keyring>, client: &Arc<Keyring>) -> Met {
    meet_as(server, client, "localhost").await
}

fn der(issued: &Issued) -> CertificateDer<'static> {
    CertificateDer::from_pem_file(&issued.cert).unwrap()
}

/// Meets again until the outcome is as expected.
async fn meet_until(server: &Arc<Keyring>, client: &Arc<Keyring>, is_so: impl Fn(&Met) -> bool) {
    let begun = Instant::now();
    loop {
        let met = meet(server, client).await;
        if is_so(&met) {
            return;
        }
        assert!(begun.elapsed() < Duration::from_secs(10), "{met:?}");
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

#[tokio::test]
async fn both_sides_prove_who_they_are_with_every_kind_of_key() {
    let dir = TempDir::new().unwrap();
    let authority = Authority::new(dir.path(), "ca");
    for algorithm in [
        &rcgen::PKCS_ECDSA_P256_SHA256,
        &rcgen::PKCS_ECDSA_P384_SHA384,
        &rcgen::PKCS_ECDSA_P521_SHA512,
        &rcgen::PKCS_ED25519,
        &rcgen::PKCS_RSA_SHA256,
    ] {
        let own = authority.issue("own", &Wish { algorithm, common_name: "me", ..Wish::default() });
        let keyring = keyring(secured(&own, &authority.cert()));
        for host in ["localhost", "127.0.0.1", "::1"] {
            let met = meet_as(&keyring, &keyring, host).await;
            assert_eq!(met.server.unwrap().unwrap(), der(&own));
            assert_eq!(met.client.unwrap(), der(&own));
        }
        assert_eq!(common_name(&der(&own)).as_deref(), Some("me"));
    }
}

#[tokio::test]
async fn files_that_change_are_used_and_broken_ones_are_not() {
    let dir = TempDir::new().unwrap();
    let authority = Authority::new(dir.path(), "ca");
    let first = authority.issue("server", &Wish::default());
    let client = authority.issue("client", &Wish { serial: 2, ..Wish::default() });
    let list = dir.path().join("crl");
    replace(&list, &authority.revoke(&[77]));
    let server = keyring(Security {
        crl: Some(Source::new("client-crl-file", &list)),
        ..secured(&first, &authority.cert())
    });
    let caller = keyring(secured(&client, &authority.cert()));
    assert!(meet(&server, &caller).await.client.is_ok());

    let old = der(&first);
    authority.issue("server", &Wish { serial: 3, ..Wish::default() });
    meet_until(&server, &caller, |met| met.client.as_ref().is_ok_and(|shown| *shown != old)).await;

    let renewed = der(&first);
    for broken in ["", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        replace(&first.cert, broken.as_bytes());
        tokio::time::sleep(3 * LOOK_INTERVAL).await;
        assert_eq!(meet(&server, &caller).await.client.unwrap(), renewed);
    }
    fs::remove_file(&first.cert).unwrap();
    tokio::time::sleep(3 * LOOK_INTERVAL).await;
    assert_eq!(meet(&server, &caller).await.client.unwrap(), renewed);

    let third = authority.issue("server", &Wish { serial: 4, ..Wish::default() });
    let third = der(&third);
    meet_until(&server, &caller, |met| met.client.as_ref().is_ok_and(|shown| *shown == third))
        .await;

    replace(&list, &authority.revoke(&[77, 2]));
    meet_until(&server, &caller, |met| met.server.is_err()).await;
    assert!(meet(&server, &caller).await.complaint().starts_with("certificate revoked"));

    replace(&list, &authority.revoke(&[77]));
    let other = Authority::new(dir.path(), "other");
    meet_until(&server, &caller, |met| met.server.is_ok()).await;
    replace(&authority.cert(), other.pem().as_bytes());
    meet_until(&server, &caller, |met| met.server.is_err()).await;
    let both = [other.pem(), authority.pem()].concat();
    replace(&authority.cert(), both.as_bytes());
    meet_until(&server, &caller, |met| met.server.is_ok()).await;
}

#[tokio::test]
async fn whoever_comes_while_another_looks_is_given_what_that_one_finds() {
    let dir = TempDir::new().unwrap();
    let authority = Authority::new(dir.path(), "ca");
    let own = authority.issue("own", &Wish { serial: 1, ..Wish::default() });
    let keyring = keyring(secured(&own, &authority.cert()));
    let before = keyring.fresh().await;
    // Nobody has come for a while.
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    authority.issue("own", &Wish { serial: 2, ..Wish::default() });
    let (first, second) = tokio::join!(keyring.fresh(), keyring.fresh());
    assert!(!Arc::ptr_eq(&first, &before));
    assert!(Arc::ptr_eq(&first, &second));
}

#[tokio::test]
async fn who_has_no_certificate_or_the_wrong_one_is_refused_with_a_cure() {
    let dir = TempDir::new().unwrap();
    let authority = Authority::new(dir.path(), "ca");
    let own = authority.issue("own", &Wish::default());
    let server = keyring(secured(&own, &authority.cert()));
    let nameless = Security { pair: None, ..secured(&own, &authority.cert()) };
    let met = meet(&server, &keyring(nameless)).await;
    let cure = "remote error: tls: certificate required; give this side a client certificate";
    assert_eq!(met.client.as_ref().unwrap_err(), cure);
    assert!(met.complaint().starts_with("client didn't provide a certificate; give it one"));

    let stranger = Authority::new(dir.path(), "stranger");
    let server_only = [ExtendedKeyUsagePurpose::ServerAuth];
    let any = [ExtendedKeyUsagePurpose::Any];
    for (issuer, wish, expected) in [
        (&stranger, Wish::default(), "x509: certificate signed by unknown authority; add its"),
        (&authority, Wish { lasts: (-9, -1), ..Wish::default() }, "x509: certificate has expired;"),
        (&authority, Wish { lasts: (1, 9), ..Wish::default() }, "x509: certificate is not valid "),
        (
            &authority,
            Wish { purposes: &server_only, ..Wish::default() },
            "x509: certificate specifies an incompatible key usage; issue one whose extended",
        ),
        (
            &authority,
            Wish { is_authority: true, ..Wish::default() },
            "x509: an authority's own certificate is shown as a host's; add this very certificate",
        ),
        (&authority, Wish { purposes: &any, ..Wish::default() }, ""),
        (&authority, Wish { purposes: &[], ..Wish::default() }, ""),
    ] {
        let shown = issuer.issue("shown", &wish);
        let met = meet(&server, &keyring(secured(&shown, &authority.cert()))).await;
        let complaint = met.server.err().unwrap_or_default();
        assert!(complaint.starts_with(expected), "{complaint}");
        assert_eq!(complaint.is_empty(), expected.is_empty(), "{complaint}");
    }
}

#[tokio::test]
async fn a_server_is_believed_only_by_its_names() {
    let dir = TempDir::new().unwrap();
    let authority = Authority::new(dir.path(), "ca");
    let own = authority.issue("own", &Wish { hosts: &["127.0.0.1"], ..Wish::default() });
    let keyring = keyring(secured(&own, &authority.cert()));
    let met = meet_as(&keyring, &keyring, "localhost").await;
    let complaint = met.client.unwrap_err();
    let expected = "x509: certificate is valid for 127.0.0.1, not localhost; issue one";
    assert!(complaint.starts_with(expected), "{complaint}");
    assert!(met.server.unwrap_err().starts_with("remote error: tls: bad certificate;"));
}

#[tokio::test]
async fn one_self_signed_authority_may_be_the_certificate_of_everybody() {
    let dir = TempDir::new().unwrap();
    for is_authority in [true, false] {
        let wish = Wish { is_authority, common_name: "all", ..Wish::default() };
        let own = self_signed(dir.path(), "all", &wish);
        let everybody = keyring(secured(&own, &own.cert));
        assert!(meet(&everybody, &everybody).await.server.unwrap().is_some());
        let expired = self_signed(dir.path(), "old", &Wish { lasts: (-9, -1), ..wish });
        let everybody = keyring(secured(&expired, &expired.cert));
        let complaint = meet(&everybody, &everybody).await.client.unwrap_err();
        assert!(complaint.starts_with("x509: certificate has expired"), "{complaint}");
    }
}

#[tokio::test]
async fn an_authority_is_believed_in_its_time_only() {
    let dir = TempDir::new().unwrap();
    let old = Authority::lasting(dir.path(), "ca", (-9, -1));
    let own = old.issue("own", &Wish::default());
    let expired = keyring(secured(&own, &old.cert()));
    let complaint = meet(&expired, &expired).await.client.unwrap_err();
    assert!(complaint.starts_with("x509: certificate has expired"), "{complaint}");
    // The same authority with a renewed certificate, in front of the old one or behind it.
    let renewed = old.renewed();
    for both in [[old.pem(), renewed.clone()], [renewed, old.pem()]] {
        replace(&old.cert(), both.concat().as_bytes());
        let keyring = keyring(secured(&own, &old.cert()));
        assert!(meet(&keyring, &keyring).await.server.is_ok());
    }
}

#[tokio::test]
async fn names_that_are_allowed_are_asked_of_both_sides() {
    let dir = TempDir::new().unwrap();
    let authority = Authority::new(dir.path(), "ca");
    let wish =
        Wish { common_name: "alice", hosts: &["alice.test", "localhost"], ..Wish::default() };
    let own = authority.issue("own", &wish);
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    for (allowed, is_in) in [
        (Allowed::CommonNames(names(&["bob", "alice"])), true),
        (Allowed::CommonNames(names(&["bob"])), false),
        (Allowed::Hostnames(names(&["bob.test", "alice.test"])), true),
        (Allowed::Hostnames(names(&["alice"])), false),
    ] {
        let open = keyring(secured(&own, &authority.cert()));
        let choosy = keyring(Security { allowed, ..secured(&own, &authority.cert()) });
        for (server, client) in [(&choosy, &open), (&open, &choosy)] {
            let met = meet(server, client).await;
            assert_eq!(met.server.is_ok(), is_in);
            let complaints = [met.server.err(), met.client.err()].map(Option::unwrap_or_default);
            let says = |words: &str| complaints.iter().any(|one| one.starts_with(words));
            assert_eq!(says("client certificate authentication failed:"), !is_in);
            assert_eq!(says("remote error: tls: bad certificate;"), !is_in);
        }
    }
}

#[tokio::test]
async fn revocation_lists_are_read_in_der_and_in_pem_however_old_they_are() {
    let dir = TempDir::new().unwrap();
    let authority = Authority::new(dir.path(), "ca");
    let own = authority.issue("own", &Wish { serial: 0x8000_0000, ..Wish::default() });
    let der = authority.revoke(&[5, 0x8000_0000]);
    let encoded = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, &der);
    let pem = format!("-----BEGIN X509 CRL-----\n{encoded}\n-----END X509 CRL-----\n");
    let list = dir.path().join("crl");
    for (bytes, is_in) in [(der, false), (pem.into_bytes(), false), (authority.revoke(&[]), true)] {
        replace(&list, &bytes);
        let crl = Some(Source::new("client-crl-file", &list));
        let server = keyring(Security { crl, ..secured(&own, &authority.cert()) });
        let met = meet(&server, &keyring(secured(&own, &authority.cert()))).await;
        assert_eq!(met.server.is_ok(), is_in, "{met:?}");
    }
    replace(&list, b"nothing");
    let crl = Some(Source::new("client-crl-file", &list));
    let why = refusal(Security { crl, ..secured(&own, &authority.cert()) });
    assert!(why.contains("is no certificate revocation list: it holds none; write one"), "{why}");
}

#[tokio::test]
async fn suites_and_versions_are_those_of_the_flags() {
    let dir = TempDir::new().unwrap();
    let authority = Authority::new(dir.path(), "ca");
    let own = authority.issue("own", &Wish::default());
    let speaking = |min, max, suites| {
        let suites: Option<&str> = suites;
        let suites = suites.map(|names| Protocol::parse_suites(names).unwrap().0);
        let protocol = Protocol { min, max, suites };
        keyring(Security { protocol, ..secured(&own, &authority.cert()) })
    };
    use Version::{Tls12, Tls13};
    let aes = "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256";
    let chacha = "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305";
    let any = speaking(Tls12, Tls13, None);
    let only_12 = speaking(Tls12, Tls12, None);
    let only_13 = speaking(Tls13, Tls13, None);
    let met = meet(&any, &any).await;
    assert!(met.suite.unwrap().as_str().unwrap().starts_with("TLS13_"));
    let met = meet(&speaking(Tls12, Tls12, Some(chacha)), &any).await;
    assert_eq!(met.suite, Some(CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256));
    let met = meet(&only_13, &only_12).await;
    assert!(met.complaint().starts_with("tls: client offered only unsupported versions;"));
    let met = meet(&speaking(Tls12, Tls12, Some(aes)), &speaking(Tls12, Tls12, Some(chacha))).await;
    assert!(met.complaint().starts_with("tls: no cipher suite supported by both"));
    // Suites of 1.3 cannot be chosen.
    assert!(meet(&speaking(Tls12, Tls13, Some(aes)), &only_13).await.server.is_ok());
}

#[tokio::test]
async fn members_that_make_their_own_certificates_believe_each_other() {
    let dir = TempDir::new().unwrap();
    let made = |name: &str| Security {
        self_made: Some(SelfMade {
            flag: "peer-auto-tls",
            dir: dir.path().join(name).join("peer"),
            hosts: vec!["localhost".to_owned(), "10.0.0.1".to_owned()],
            validity_years: 2,
        }),
        ..Security::default()
    };
    let (a, b) = (keyring(made("a")), keyring(made("b")));
    let met = meet_as(&a, &b, "elsewhere.test").await;
    assert_eq!(met.server.unwrap(), None);
    let shown = met.client.unwrap();
    assert!(check_address(&shown, [10, 0, 0, 1].into()).is_ok());
    let again = meet(&keyring(made("a")), &b).await;
    assert_eq!(again.client.unwrap(), shown, "made once");
    let key = dir.path().join("a/peer/key.pem");
    let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(key).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn files_that_cannot_be_used_are_refused_with_a_cure() {
    let dir = TempDir::new().unwrap();
    let authority = Authority::new(dir.path(), "ca");
    let (a, b) = (authority.issue("a", &Wish::default()), authority.issue("b", &Wish::default()));
    let file = |name: &str, bytes: &[u8]| {
        let path = dir.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    };
    let encrypted = b"-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n";
    for (cert, key, expected) in [
        (a.cert.clone(), b.key.clone(), "does not belong to the certificate in --cert-file"),
        (a.cert.clone(), dir.path().join("none"), "cannot read --key-file"),
        (a.cert.clone(), file("locked", encrypted), "is encrypted; write it without a passphrase"),
        (a.cert.clone(), a.cert.clone(), "holds no private key in PEM"),
        (a.key.clone(), a.key.clone(), "holds no certificate in PEM; write one into it"),
        (file("der", &der(&a)), a.key.clone(), "is DER, not PEM; convert it: openssl x509"),
    ] {
        let why = refusal(secured(&Issued { cert, key }, &authority.cert()));
        assert!(why.contains(expected), "{why}");
    }
    let why = refusal(secured(&a, &file("empty", b"")));
    assert!(why.contains("--trusted-ca-file") && why.contains("holds no certificate"), "{why}");
}

#[test]
fn a_certificate_that_names_hosts_comes_from_one_of_them() {
    let dir = TempDir::new().unwrap();
    let authority = Authority::new(dir.path(), "ca");
    let loopback = [127, 0, 0, 1].into();
    for (hosts, is_in) in [
        (&[][..], true),
        (&["127.0.0.1"], true),
        (&["10.1.2.3", "localhost"], true),
        (&["10.1.2.3"], false),
        (&["localhost.invalid"], false),
    ] {
        let cert = der(&authority.issue("host", &Wish { hosts, ..Wish::default() }));
        assert_eq!(check_address(&cert, loopback).is_ok(), is_in, "{hosts:?}");
        let mapped: std::net::IpAddr = "::ffff:127.0.0.1".parse().unwrap();
        assert_eq!(check_address(&cert, mapped).is_ok(), is_in, "{hosts:?}");
    }
    let cert = der(&authority.issue("host", &Wish { hosts: &["10.1.2.3"], ..Wish::default() }));
    let why = check_address(&cert, loopback).unwrap_err();
    assert!(why.contains("does not match any of DNSNames") && why.contains("; issue one"), "{why}");
}
