//! A page for people: members, keys and their history, leases, alarms.
//!
//! ```text
//! GET  /console/          the page: one file, with its script and its style in it
//! POST /console/vitals    how each member is: this one asks the others' peer ports
//! POST /console/v3/...    the few calls of the JSON gateway that read, and the one that logs in
//! ```
//!
//! It is on metrics listeners only, and only with `--console`.
//!
//! Invariants
//! - Nothing that changes anything can be reached through it: what it passes on is a closed list.
//! - Where users are on, it tells nothing but to somebody who shows a token; rights are those that
//!   the token's user has with any client.
//! - No other site's page reads it or asks through it: a request must name a host of ours, and come
//!   from our own page. Nothing but our own script runs in it, which puts text into the page and
//!   never markup.
//!
//! Deliberately absent: changes of any kind, sessions and cookies (a token lives in the page's
//! memory), websockets.

mod page;
mod rounds;

use std::sync::Arc;

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE, HeaderValue, LOCATION, ORIGIN};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use tonic::body::Body;

use crate::gateway::{Gateway, refusal};
use crate::grpc::Services;
use crate::http::{Hosts, authority_of, host_of};
use crate::transport::{CertifiedName, IsSecure};

pub use rounds::Rounds;

/// Where it is.
const ROOT: &str = "/console";
/// Calls that change nothing, and logging in.
const PASSED_ON: [&str; 5] = [
    "/v3/auth/authenticate",
    "/v3/kv/range",
    "/v3/lease/leases",
    "/v3/lease/timetolive",
    "/v3/watch",
];

/// The console of a port; cloning is cheap.
#[derive(Clone)]
pub struct Console(Arc<Inner>);

struct Inner {
    services: Services,
    gateway: Gateway,
    hosts: Hosts,
    rounds: Rounds,
}

/// What a request is for.
#[derive(Debug, PartialEq, Eq)]
enum Wish {
    Page,
    Vitals,
    /// A path of the gateway's.
    Call(&'static str),
}

impl Console {
    /// A console in front of these, for who asks by these hosts' names.
    pub fn new(services: Services, gateway: Gateway, hosts: Hosts, rounds: Rounds) -> Self {
        Self(Arc::new(Inner { services, gateway, hosts, rounds }))
    }

    /// Whether a path is a console's, known to it or not.
    pub fn owns(path: &str) -> bool {
        path.strip_prefix(ROOT).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// Answers a request for a path it owns.
    pub async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        let mut answer = self.judge_and_answer(request).await;
        page::secure(answer.headers_mut());
        answer
    }

    async fn judge_and_answer(&self, request: Request<Incoming>) -> Response<Body> {
        let host = host_of(&request);
        // A certificate proves as much.
        let is_secure = request.extensions().get::<IsSecure>().is_some();
        if !is_secure && !self.0.hosts.has_or_is_local(host) {
            let words = format!(
                "this server does not know {host:?} as a name of its own: ask by its address, or \
                 give the name to --host-whitelist"
            );
            return plain(StatusCode::MISDIRECTED_REQUEST, words);
        }
        if request.uri().path() == ROOT {
            return moved();
        }
        let Some(wish) = find(request.uri().path()) else {
            return plain(StatusCode::NOT_FOUND, "404 page not found");
        };
        let method = if wish == Wish::Page { Method::GET } else { Method::POST };
        if request.method() != method {
            return not_so(&method);
        }
        if wish != Wish::Page && !is_own_pages(&request) {
            return plain(StatusCode::FORBIDDEN, "this is for the console's own page");
        }
        match wish {
            Wish::Page => page::answer(),
            Wish::Vitals => match self.0.services.check_somebody(request.headers()).await {
                Ok(()) => json(self.0.rounds.look().await),
                Err(status) => refusal(&status),
            },
            Wish::Call(path) => self.pass_on(path, request).await,
        }
    }

    /// A certificate's name counts for nothing: who is asked for, the login says.
    async fn pass_on(&self, path: &'static str, mut request: Request<Incoming>) -> Response<Body> {
        request.extensions_mut().remove::<CertifiedName>();
        *request.uri_mut() = http::Uri::from_static(path);
        self.0.gateway.answer(request).await
    }
}

fn find(path: &str) -> Option<Wish> {
    match path.strip_prefix(ROOT)? {
        "/" => Some(Wish::Page),
        "/vitals" => Some(Wish::Vitals),
        path => PASSED_ON.into_iter().find(|passed| *passed == path).map(Wish::Call),
    }
}

/// Whether a browser would send this for no other site's page: JSON is asked for first, which
/// nobody grants, and where a browser says who asks, it must be us.
fn is_own_pages<B>(request: &Request<B>) -> bool {
    let header = |name| request.headers().get(name).map(HeaderValue::as_bytes);
    let is_json = header(CONTENT_TYPE.as_str()) == Some(b"application/json");
    let is_same_site = header("sec-fetch-site").is_none_or(|site| site == b"same-origin");
    let own = authority_of(request).as_bytes();
    let is_same_origin = header(ORIGIN.as_str()).is_none_or(|origin| {
        let rest = origin.strip_prefix(b"http://").or_else(|| origin.strip_prefix(b"https://"));
        rest == Some(own)
    });
    is_json && is_same_site && is_same_origin
}

fn moved() -> Response<Body> {
    let mut answer = plain(StatusCode::PERMANENT_REDIRECT, "the console is at /console/");
    answer.headers_mut().insert(LOCATION, HeaderValue::from_static("/console/"));
    answer
}

fn not_so(method: &Method) -> Response<Body> {
    let mut answer = plain(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed");
    if let Ok(method) = HeaderValue::from_str(method.as_str()) {
        answer.headers_mut().insert(ALLOW, method);
    }
    answer
}

fn plain(code: StatusCode, words: impl Into<String>) -> Response<Body> {
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    typed(code, kind, Bytes::from(words.into() + "\n"))
}

fn json(body: Bytes) -> Response<Body> {
    typed(StatusCode::OK, HeaderValue::from_static("application/json"), body)
}

fn typed(code: StatusCode, kind: HeaderValue, body: Bytes) -> Response<Body> {
    let mut answer = Response::new(Body::new(Full::new(body)));
    *answer.status_mut() = code;
    answer.headers_mut().insert(CONTENT_TYPE, kind);
    answer
}

#[cfg(test)]
mod tests;
