//! Keys from their files, and what they do.

use std::path::Path;

use aws_lc_rs::error::Unspecified;
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::VerificationAlgorithm;
use aws_lc_rs::signature::{self as sig, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RsaKeyPair};
use aws_lc_rs::signature::{EcdsaSigningAlgorithm, ParsedPublicKey, RsaEncoding};
use rustls_pki_types::pem::{self, SectionKind};

use super::options::{JwtOptions, Method};

/// Signed with one half of a pair and verified with the other, to see that it is one.
const PROBE: &[u8] = b"one pair";

/// What is in the files.
#[derive(Default, PartialEq, Eq)]
pub(super) struct Files {
    pub(super) public: Option<Vec<u8>>,
    pub(super) private: Option<Vec<u8>>,
}

/// A method with its keys.
pub(super) struct Keys {
    method: Method,
    files: Files,
    signer: Option<Signer>,
    verifier: Verifier,
}

enum Signer {
    Hmac(Box<hmac::Key>),
    Rsa(RsaKeyPair, &'static dyn RsaEncoding),
    Ec(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
}

enum Verifier {
    Hmac(Box<hmac::Key>),
    Public(ParsedPublicKey),
}

/// How a method with two keys makes and judges signatures.
struct Pair {
    verifies: &'static dyn VerificationAlgorithm,
    signs: Signs,
}

enum Signs {
    Rsa(&'static dyn RsaEncoding),
    Ec(&'static EcdsaSigningAlgorithm),
    Ed,
}

enum Family {
    Hmac(hmac::Algorithm),
    Pair(Pair),
}

fn family(method: Method) -> Family {
    let pair = |verifies, signs| Family::Pair(Pair { verifies, signs });
    match method {
        Method::Hs256 => Family::Hmac(hmac::HMAC_SHA256),
        Method::Hs384 => Family::Hmac(hmac::HMAC_SHA384),
        Method::Hs512 => Family::Hmac(hmac::HMAC_SHA512),
        Method::Rs256 => pair(&sig::RSA_PKCS1_2048_8192_SHA256, Signs::Rsa(&sig::RSA_PKCS1_SHA256)),
        Method::Rs384 => pair(&sig::RSA_PKCS1_2048_8192_SHA384, Signs::Rsa(&sig::RSA_PKCS1_SHA384)),
        Method::Rs512 => pair(&sig::RSA_PKCS1_2048_8192_SHA512, Signs::Rsa(&sig::RSA_PKCS1_SHA512)),
        Method::Ps256 => pair(&sig::RSA_PSS_2048_8192_SHA256, Signs::Rsa(&sig::RSA_PSS_SHA256)),
        Method::Ps384 => pair(&sig::RSA_PSS_2048_8192_SHA384, Signs::Rsa(&sig::RSA_PSS_SHA384)),
        Method::Ps512 => pair(&sig::RSA_PSS_2048_8192_SHA512, Signs::Rsa(&sig::RSA_PSS_SHA512)),
        Method::Es256 => {
            pair(&sig::ECDSA_P256_SHA256_FIXED, Signs::Ec(&sig::ECDSA_P256_SHA256_FIXED_SIGNING))
        }
        Method::Es384 => {
            pair(&sig::ECDSA_P384_SHA384_FIXED, Signs::Ec(&sig::ECDSA_P384_SHA384_FIXED_SIGNING))
        }
        Method::Es512 => {
            pair(&sig::ECDSA_P521_SHA512_FIXED, Signs::Ec(&sig::ECDSA_P521_SHA512_FIXED_SIGNING))
        }
        Method::EdDsa => pair(&sig::ED25519, Signs::Ed),
    }
}

impl Files {
    pub(super) fn read(options: &JwtOptions) -> Result<Self, String> {
        let read = |path: &Option<_>| path.as_deref().map(read_file).transpose();
        Ok(Self { public: read(&options.public_key)?, private: read(&options.private_key)? })
    }
}

fn read_file(path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| format!("cannot read {}: {error}", path.display()))
}

impl Keys {
    pub(super) fn load(method: Method, files: Files) -> Result<Self, String> {
        let (signer, verifier) = match family(method) {
            Family::Hmac(algorithm) => {
                let secret = files.private.as_ref().filter(|secret| !secret.is_empty());
                let secret = secret.ok_or("missing key data: this method needs a priv-key")?;
                let key = Box::new(hmac::Key::new(algorithm, secret));
                (Some(Signer::Hmac(key.clone())), Verifier::Hmac(key))
            }
            Family::Pair(pair) => pair.load(&files)?,
        };
        let this = Self { method, files, signer, verifier };
        let is_pair = !this.can_sign()
            || this.sign(PROBE).is_some_and(|signature| this.is_signed(PROBE, &signature));
        if is_pair { Ok(this) } else { Err("public and private keys don't match".to_owned()) }
    }

    pub(super) fn method(&self) -> Method {
        self.method
    }

    pub(super) fn files(&self) -> &Files {
        &self.files
    }

    pub(super) fn can_sign(&self) -> bool {
        self.signer.is_some()
    }

    /// A message's signature; none if there is no key for it.
    pub(super) fn sign(&self, message: &[u8]) -> Option<Vec<u8>> {
        self.signer.as_ref()?.sign(message).ok()
    }

    /// Whether it is the message's signature.
    pub(super) fn is_signed(&self, message: &[u8], signature: &[u8]) -> bool {
        match &self.verifier {
            Verifier::Hmac(key) => hmac::verify(key, message, signature).is_ok(),
            Verifier::Public(key) => key.verify_sig(message, signature).is_ok(),
        }
    }
}

impl Signer {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Unspecified> {
        let luck = SystemRandom::new();
        Ok(match self {
            Self::Hmac(key) => hmac::sign(key, message).as_ref().to_vec(),
            Self::Rsa(key, encoding) => {
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(*encoding, &luck, message, &mut signature)?;
                signature
            }
            Self::Ec(key) => key.sign(&luck, message)?.as_ref().to_vec(),
            Self::Ed(key) => key.try_sign(message)?.as_ref().to_vec(),
        })
    }

    fn public_key(&self) -> Vec<u8> {
        match self {
            Self::Hmac(_) => Vec::new(),
            Self::Rsa(key, _) => key.public_key().as_ref().to_vec(),
            Self::Ec(key) => key.public_key().as_ref().to_vec(),
            Self::Ed(key) => key.public_key().as_ref().to_vec(),
        }
    }
}

impl Pair {
    /// A private key alone has its public half with it; a public one alone signs nothing.
    fn load(&self, files: &Files) -> Result<(Option<Signer>, Verifier), String> {
        let signer = files.private.as_deref().map(|file| self.load_private(file)).transpose()?;
        let public = match (&files.public, &signer) {
            (Some(file), _) => find_public(file)?,
            (None, Some(signer)) => signer.public_key(),
            (None, None) => return Err("missing key data: neither pub-key nor priv-key".to_owned()),
        };
        let public = ParsedPublicKey::new(self.verifies, public);
        let public = public.map_err(|error| format!("pub-key does not fit: {error}"))?;
        Ok((signer, Verifier::Public(public)))
    }

    fn load_private(&self, file: &[u8]) -> Result<Signer, String> {
        let (kind, der) = find(file, "private key", |kind| {
            use SectionKind::{EcPrivateKey, PrivateKey, RsaPrivateKey};
            matches!(kind, PrivateKey | RsaPrivateKey | EcPrivateKey)
        })?;
        let loaded = match (&self.signs, kind) {
            (Signs::Rsa(encoding), SectionKind::RsaPrivateKey) => {
                RsaKeyPair::from_der(&der).map(|key| Signer::Rsa(key, *encoding))
            }
            (Signs::Rsa(encoding), _) => {
                RsaKeyPair::from_pkcs8(&der).map(|key| Signer::Rsa(key, *encoding))
            }
            (Signs::Ec(algorithm), _) => {
                EcdsaKeyPair::from_private_key_der(algorithm, &der).map(Signer::Ec)
            }
            (Signs::Ed, _) => Ed25519KeyPair::from_pkcs8_maybe_unchecked(&der).map(Signer::Ed),
        };
        loaded.map_err(|error| format!("priv-key does not fit: {error}"))
    }
}

fn find_public(file: &[u8]) -> Result<Vec<u8>, String> {
    find(file, "public key", |kind| kind == SectionKind::PublicKey).map(|(_, der)| der)
}

/// The first section of a PEM file that is wanted.
fn find(
    mut file: &[u8],
    what: &str,
    is_wanted: impl Fn(SectionKind) -> bool,
) -> Result<(SectionKind, Vec<u8>), String> {
    loop {
        match pem::from_buf(&mut file) {
            Ok(Some((kind, der))) if is_wanted(kind) => return Ok((kind, der)),
            Ok(Some(_)) => {}
            Ok(None) => return Err(format!("no {what} in PEM")),
            Err(error) => return Err(format!("no {what} in PEM: {error:?}")),
        }
    }
}
