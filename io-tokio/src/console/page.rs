//! The page: three files as one, and what a browser may do with it.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderMap, HeaderName, HeaderValue, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use http::{Response, StatusCode};
use sha2::{Digest as _, Sha256};
use tonic::body::Body;

const FRAME: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");
/// Where in the frame the other two go.
const STYLE_PLACE: &str = "/* style */";
const SCRIPT_PLACE: &str = "/* script */";

static PAGE: LazyLock<Bytes> = LazyLock::new(|| {
    FRAME.replace(STYLE_PLACE, STYLE).replace(SCRIPT_PLACE, SCRIPT).into_bytes().into()
});

/// Nothing is loaded from anywhere, and nothing runs but this script, known by its hash; and even
/// that cannot turn text into markup.
static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let hash = |text: &str| BASE64_STANDARD.encode(Sha256::digest(text.as_bytes()));
    let policy = format!(
        "default-src 'none'; script-src 'sha256-{}'; style-src 'sha256-{}'; connect-src 'self'; \
         img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
         require-trusted-types-for 'script'; trusted-types 'none'",
        hash(SCRIPT),
        hash(STYLE)
    );
    HeaderValue::try_from(policy).expect("hashes in base64 are a header's value")
});

/// The page.
pub(super) fn answer() -> Response<Body> {
    let kind = HeaderValue::from_static("text/html; charset=utf-8");
    super::typed(StatusCode::OK, kind, PAGE.clone())
}

/// Adds what every answer of the console tells a browser.
pub(super) fn secure(headers: &mut HeaderMap) {
    headers.insert(CONTENT_SECURITY_POLICY, POLICY.clone());
    for (name, value) in [
        (CACHE_CONTROL, "no-store"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (X_FRAME_OPTIONS, "DENY"),
        (REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Largest page, in bytes.
    const BYTES_MAX: usize = 60_000;

    #[test]
    fn the_page_is_whole_and_small() {
        let page = std::str::from_utf8(&PAGE).unwrap();
        assert!(page.len() < BYTES_MAX, "{} bytes", page.len());
        assert!(page.contains(&format!("<style>{STYLE}</style>")));
        assert!(page.contains(&format!("<script>{SCRIPT}</script>")));
        assert_eq!((page.matches("<script").count(), page.matches("<style").count()), (1, 1));
    }

    /// A policy would refuse them, and nobody would see why.
    #[test]
    fn the_page_has_nothing_that_its_policy_refuses() {
        for refused in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("] {
            assert!(!SCRIPT.contains(refused), "{refused}");
        }
        for refused in [" style=", " onclick", "src=", "href=\"http", "url("] {
            assert!(!FRAME.contains(refused) && !STYLE.contains(refused), "{refused}");
        }
    }
}
