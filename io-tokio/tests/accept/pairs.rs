//! Pairs of keys for tokens, in files as tools write them.

use std::path::Path;

use aws_lc_rs::encoding::{AsDer, EcPrivateKeyRfc5915Der, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING,
    ECDSA_P521_SHA512_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RsaKeyPair,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

/// A pair for every kind of method, each in a file of its kind's name and, its public half, in one
/// that ends in `.pub`; and a secret.
pub(crate) fn write_all(dir: &Path) {
    let rsa = RsaKeyPair::generate(KeySize::Rsa2048).expect("luck");
    let private = AsDer::<Pkcs8V1Der<'_>>::as_der(&rsa).expect("a form");
    let public = AsDer::<PublicKeyX509Der<'_>>::as_der(rsa.public_key()).expect("a form");
    write(dir, "rsa", ("PRIVATE KEY", private.as_ref()), public.as_ref());
    for (name, algorithm) in [
        ("p256", &ECDSA_P256_SHA256_FIXED_SIGNING),
        ("p384", &ECDSA_P384_SHA384_FIXED_SIGNING),
        ("p521", &ECDSA_P521_SHA512_FIXED_SIGNING),
    ] {
        let pair = EcdsaKeyPair::generate(algorithm).expect("luck");
        let public = AsDer::<PublicKeyX509Der<'_>>::as_der(pair.public_key()).expect("a form");
        if name == "p384" {
            let private = pair.to_pkcs8v1().expect("a form");
            write(dir, name, ("PRIVATE KEY", private.as_ref()), public.as_ref());
        } else {
            let key = pair.private_key();
            let private = AsDer::<EcPrivateKeyRfc5915Der<'_>>::as_der(&key).expect("a form");
            write(dir, name, ("EC PRIVATE KEY", private.as_ref()), public.as_ref());
        }
    }
    write_ed(dir, "ed");
    std::fs::write(dir.join("secret"), b"thirty-two bytes of no importance").expect("room");
}

/// A pair of Ed25519.
pub(crate) fn write_ed(dir: &Path, name: &str) {
    let pair = Ed25519KeyPair::generate().expect("luck");
    let private = pair.to_pkcs8v1().expect("a form");
    let public = AsDer::<PublicKeyX509Der<'_>>::as_der(pair.public_key()).expect("a form");
    write(dir, name, ("PRIVATE KEY", private.as_ref()), public.as_ref());
}

fn write(dir: &Path, name: &str, (kind, private): (&str, &[u8]), public: &[u8]) {
    let pem = |kind: &str, der: &[u8]| {
        let text = BASE64.encode(der);
        let lines: Vec<&str> =
            text.as_bytes().chunks(64).filter_map(|line| str::from_utf8(line).ok()).collect();
        format!("-----BEGIN {kind}-----\n{}\n-----END {kind}-----\n", lines.join("\n"))
    };
    std::fs::write(dir.join(name), pem(kind, private)).expect("room");
    let public = pem("PUBLIC KEY", public);
    std::fs::write(dir.join(format!("{name}.pub")), public).expect("room");
}

/// Which of these files a method needs.
pub(crate) fn file_of(method: &str) -> &'static str {
    match method {
        "ES256" => "p256",
        "ES384" => "p384",
        "ES512" => "p521",
        "EdDSA" => "ed",
        _ if method.starts_with("HS") => "secret",
        _ => "rsa",
    }
}
