//! The compact form of a JSON web token: `base64(header).base64(claims).base64(signature)`.
//!
//! Answers to: RFC 7515, RFC 7519; golang-jwt v5 `parser.go`, `validator.go`

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use quorate_core::auth::Identity;
use quorate_core::error::Refusal;
use serde::{Deserialize, Serialize};

use super::keys::Keys;

/// Fields in the order of their names, as Go writes them.
#[derive(Serialize, Deserialize)]
struct Header<'a> {
    alg: &'a str,
    #[serde(default)]
    typ: &'a str,
}

#[derive(Serialize)]
struct Claims<'a> {
    exp: u64,
    revision: u64,
    username: &'a str,
}

/// Claims that somebody made: only what is asked for.
#[derive(Deserialize)]
struct Found {
    username: String,
    revision: f64,
    /// Seconds since 1970; 0 is none.
    #[serde(default)]
    exp: f64,
    #[serde(default)]
    nbf: f64,
}

/// A token for a user as of an auth revision.
pub(super) fn sign(
    keys: &Keys,
    (username, revision): (&str, u64),
    until: SystemTime,
) -> Result<String, Refusal> {
    let exp = until.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let header = encode(&Header { alg: keys.method().name(), typ: "JWT" });
    let mut token = header + "." + &encode(&Claims { exp, revision, username });
    let signature = keys.sign(token.as_bytes()).ok_or(Refusal::VerifyOnlyKey)?;
    token.push('.');
    BASE64.encode_string(signature, &mut token);
    Ok(token)
}

fn encode(part: &impl Serialize) -> String {
    // Structures of numbers and strings are always JSON.
    BASE64.encode(serde_json::to_vec(part).unwrap_or_default())
}

/// Whom a token names, if its signature is right and its time has come and is not over.
pub(super) fn read(keys: &Keys, token: &str, now: SystemTime) -> Option<Identity> {
    let (signed, signature) = token.rsplit_once('.')?;
    let (header, claims) = signed.split_once('.')?;
    let header = BASE64.decode(header).ok()?;
    let header: Header<'_> = serde_json::from_slice(&header).ok()?;
    // A header may not choose how it is verified.
    let is_signed = header.alg == keys.method().name()
        && keys.is_signed(signed.as_bytes(), &BASE64.decode(signature).ok()?);
    if !is_signed {
        return None;
    }
    let found: Found = serde_json::from_slice(&BASE64.decode(claims).ok()?).ok()?;
    let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    let is_valid = (found.exp == 0.0 || now < found.exp) && (found.nbf == 0.0 || found.nbf <= now);
    is_valid.then(|| Identity { user: found.username.into(), revision: found.revision as u64 })
}
