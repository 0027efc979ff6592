use super::*;

#[path = "../../tests/accept/pairs.rs"]
mod pairs;

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use tempfile::TempDir;

fn pairs() -> TempDir {
    let dir = TempDir::new().unwrap();
    pairs::write_all(dir.path());
    dir
}

/// Tokens by a method, with these halves of a pair.
fn tokens(dir: &Path, method: Method, public: bool, private: bool) -> Result<Tokens, String> {
    let name = pairs::file_of(method.name());
    let file = |is_given: bool, name: String| is_given.then(|| dir.join(name));
    Tokens::open(&TokenKind::Jwt(JwtOptions {
        method,
        public_key: file(public, format!("{name}.pub")),
        private_key: file(private, name.to_owned()),
        ttl: Duration::from_secs(60),
    }))
}

fn signed(tokens: &Tokens) -> &Signed {
    let Tokens::Signed(signed) = tokens else { panic!("another kind") };
    signed
}

fn alice(revision: u64) -> Identity {
    Identity { user: "alice".into(), revision }
}

#[test]
fn every_method_signs_and_verifies() {
    let dir = pairs();
    for &method in Method::ALL {
        let is_hmac = method.name().starts_with("HS");
        let both = tokens(dir.path(), method, !is_hmac, true).unwrap();
        assert_eq!(both.check_issuing(), Ok(()));
        let token = signed(&both).sign("alice", 7).unwrap();
        let header = BASE64.decode(token.split('.').next().unwrap()).unwrap();
        let expected = format!(r#"{{"alg":"{}","typ":"JWT"}}"#, method.name());
        assert_eq!(String::from_utf8(header).unwrap(), expected);
        assert_eq!(signed(&both).read(&token), Ok(alice(7)), "{method:?}");
        // Its private half alone knows its public half.
        let private = tokens(dir.path(), method, false, true).unwrap();
        assert_eq!(signed(&private).read(&token), Ok(alice(7)));
        if !is_hmac {
            let public = tokens(dir.path(), method, true, false).unwrap();
            assert_eq!(signed(&public).read(&token), Ok(alice(7)));
            assert_eq!(public.check_issuing(), Err(Refusal::VerifyOnlyKey));
        }
        // One letter of the claims, and one of the signature.
        let (at, last) = (token.find('.').unwrap() + 3, token.len() - 3);
        for place in [at, last] {
            let mut forged = token.clone().into_bytes();
            forged[place] = if forged[place] == b'A' { b'B' } else { b'A' };
            let forged = String::from_utf8(forged).unwrap();
            assert_eq!(signed(&both).read(&forged), Err(Refusal::InvalidAuthToken), "{method:?}");
        }
    }
}

#[test]
fn a_token_counts_under_its_method_and_in_its_time() {
    let dir = pairs();
    let rs256 = tokens(dir.path(), Method::Rs256, true, true).unwrap();
    let ps256 = tokens(dir.path(), Method::Ps256, true, true).unwrap();
    let token = signed(&rs256).sign("alice", 7).unwrap();
    assert_eq!(signed(&ps256).read(&token), Err(Refusal::InvalidAuthToken));
    let keys = signed(&rs256).keys.load();
    let now = SystemTime::now();
    assert_eq!(jwt::read(&keys, &token, now + Duration::from_secs(61)), None);
    for nonsense in ["", ".", "..", "a.b", "a.b.c", "e30.e30.e30", &token[1..], &token[..40]] {
        assert_eq!(jwt::read(&keys, nonsense, now), None, "{nonsense}");
    }
    // The key that verifies is no secret.
    let public = std::fs::read(dir.path().join("rsa.pub")).unwrap();
    let hmac = Keys::load(Method::Hs256, Files { private: Some(public), public: None }).unwrap();
    let forged = jwt::sign(&hmac, ("root", 7), now + Duration::from_secs(9)).unwrap();
    assert_eq!(jwt::read(&keys, &forged, now), None);
}

#[test]
fn keys_that_do_not_fit_are_named() {
    let dir = pairs();
    let open = |method, public: Option<&str>, private: Option<&str>| {
        let file = |name: Option<&str>| name.map(|name| dir.path().join(name));
        let (public_key, private_key) = (file(public), file(private));
        let options = JwtOptions { method, public_key, private_key, ttl: Duration::ZERO };
        Tokens::open(&TokenKind::Jwt(options)).err().unwrap_or_default()
    };
    let missing = "missing key data: neither pub-key nor priv-key";
    assert_eq!(open(Method::Es256, None, None), missing);
    assert_eq!(open(Method::Hs256, None, None), "missing key data: this method needs a priv-key");
    pairs::write_ed(dir.path(), "other");
    let mismatch = open(Method::EdDsa, Some("other.pub"), Some("ed"));
    assert_eq!(mismatch, "public and private keys don't match");
    for (public, private, why) in [
        (None, Some("p256"), "priv-key does not fit"),
        (Some("p256.pub"), None, "pub-key does not fit"),
        (Some("rsa"), None, "no public key in PEM"),
        (None, Some("secret"), "no private key in PEM"),
        (None, Some("nothing"), "cannot read"),
    ] {
        let said = open(Method::Es384, public, private);
        assert!(said.starts_with(why), "{said}");
    }
}

#[test]
fn keys_follow_their_files() {
    let dir = pairs();
    let before = tokens(dir.path(), Method::EdDsa, true, true).unwrap();
    let old = signed(&before).sign("alice", 7).unwrap();
    // Half of a new pair changes nothing.
    let public = std::fs::read(dir.path().join("ed.pub")).unwrap();
    pairs::write_ed(dir.path(), "ed");
    let new_public = std::fs::read(dir.path().join("ed.pub")).unwrap();
    std::fs::write(dir.path().join("ed.pub"), public).unwrap();
    signed(&before).look_at_files();
    assert_eq!(signed(&before).read(&old), Ok(alice(7)));
    std::fs::write(dir.path().join("ed.pub"), new_public).unwrap();
    signed(&before).look_at_files();
    assert_eq!(signed(&before).read(&old), Err(Refusal::InvalidAuthToken));
    let new = signed(&before).sign("alice", 8).unwrap();
    assert_eq!(signed(&before).read(&new), Ok(alice(8)));
}
