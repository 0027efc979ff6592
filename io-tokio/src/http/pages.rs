//! From a request line to a page.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use serde_json::{Map, Value, json};

use super::checks::{Check, Health, Probe};
use super::debug::{self, Debug};
use super::vitals::vitals;
use crate::driver::Core;
use crate::metrics::{self, Metrics};
use crate::version;

/// Which port a page is asked on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Surface {
    /// Clients'.
    Client,
    /// Metrics listeners.
    Metrics,
    /// Peers'.
    Peer,
}

/// The pages of one surface.
#[derive(Clone)]
pub struct Pages {
    surface: Surface,
    core: Core,
    metrics: Arc<Metrics>,
    has_profiles: bool,
}

pub(super) type Page = Response<Full<Bytes>>;

/// Where members tell each other how they are.
pub(crate) const VITALS: &str = "/vitals";

pub(super) const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
pub(super) const JSON: HeaderValue = HeaderValue::from_static("application/json");

impl Pages {
    /// The pages of that surface.
    pub fn new(surface: Surface, core: Core, metrics: Arc<Metrics>) -> Self {
        Self { surface, core, metrics, has_profiles: false }
    }

    /// The same, with profiles or without.
    pub fn with_profiles(self, has_profiles: bool) -> Self {
        Self { has_profiles, ..self }
    }

    /// Answers a request.
    pub async fn answer<B>(&self, request: Request<B>) -> Page {
        let path = request.uri().path();
        let Some(kind) = self.find(path) else {
            return trouble(StatusCode::NOT_FOUND, "404 page not found");
        };
        if request.method() != Method::GET {
            let mut page = trouble(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed");
            page.headers_mut().insert(ALLOW, HeaderValue::from_static("GET"));
            return page;
        }
        let query = Query::parse(request.uri().query().unwrap_or_default());
        match kind {
            Kind::Health => self.health(&query).await,
            Kind::Checks(checks) => self.checked(path, checks, &query).await,
            Kind::Metrics => {
                let text = self.metrics.text(&self.core.view());
                page(StatusCode::OK, HeaderValue::from_static(metrics::CONTENT_TYPE), text)
            }
            Kind::Version => page(StatusCode::OK, JSON, versions(&self.core)),
            Kind::Members => members(&self.core),
            Kind::Debug(debug) => {
                let query = request.uri().query().unwrap_or_default();
                debug::answer(debug, query, &self.core.view().facts).await
            }
            Kind::Vitals => {
                let vitals = vitals(&self.core.view(), &self.metrics);
                page(StatusCode::OK, JSON, vitals.to_string())
            }
        }
    }

    fn find(&self, path: &str) -> Option<Kind> {
        let debug = || debug::find(path, self.has_profiles).map(Kind::Debug);
        find(self.surface, path).or_else(|| debug().filter(|_| self.surface == Surface::Client))
    }

    async fn checked(&self, path: &str, checks: &[Check], query: &Query) -> Page {
        let kind = if path.starts_with("/livez") { "livez" } else { "readyz" };
        let note = |name: &str, is_good| self.metrics.note_check(kind, name, is_good);
        checked(&self.core, checks, query, &note).await
    }

    async fn health(&self, query: &Query) -> Page {
        let (page, is_good) = health(&self.core, query).await;
        let counter = match is_good {
            true => &self.metrics.health_successes,
            false => &self.metrics.health_failures,
        };
        counter.add(1);
        page
    }
}

enum Kind {
    Health,
    Checks(&'static [Check]),
    Metrics,
    Version,
    Members,
    Vitals,
    Debug(Debug),
}

fn find(surface: Surface, path: &str) -> Option<Kind> {
    let is_peer = surface == Surface::Peer;
    match path {
        "/version" if surface != Surface::Metrics => Some(Kind::Version),
        "/members" if is_peer => Some(Kind::Members),
        VITALS if is_peer => Some(Kind::Vitals),
        _ if is_peer => None,
        "/health" => Some(Kind::Health),
        "/metrics" => Some(Kind::Metrics),
        "/livez" => Some(Kind::Checks(Check::LIVE)),
        "/readyz" => Some(Kind::Checks(Check::READY)),
        _ => {
            let (checks, name) = match path.strip_prefix("/livez/") {
                Some(name) => (Check::LIVE, name),
                None => (Check::READY, path.strip_prefix("/readyz/")?),
            };
            let at = checks.iter().position(|check| check.name() == name)?;
            Some(Kind::Checks(&checks[at..=at]))
        }
    }
}

/// What stands behind the question mark.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Query {
    excluded: Vec<String>,
    is_serializable: bool,
    is_verbose: bool,
}

impl Query {
    pub(super) fn parse(text: &str) -> Self {
        let mut query = Self::default();
        let mut serializable = None;
        for part in text.split('&') {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            match name {
                "exclude" if !value.is_empty() => query.excluded.push(value.to_owned()),
                "serializable" => {
                    serializable.get_or_insert(value == "true");
                }
                "verbose" => query.is_verbose = true,
                _ => {}
            }
        }
        query.is_serializable = serializable.unwrap_or(false);
        query
    }
}

pub(super) async fn health(probe: &impl Probe, query: &Query) -> (Page, bool) {
    let asked = Health { excluded: query.excluded.clone(), is_serializable: query.is_serializable };
    let found = asked.look(probe).await;
    let reason = found.as_ref().err().map_or("", String::as_str);
    // The order of the two is etcd's.
    let body = format!(r#"{{"health":"{}","reason":{}}}"#, found.is_ok(), Value::from(reason));
    match found {
        Ok(()) => (page(StatusCode::OK, TEXT, body), true),
        Err(_) => {
            tracing::warn!(output = body, "status-code" = 503, "/health error");
            (trouble(StatusCode::SERVICE_UNAVAILABLE, &body), false)
        }
    }
}

/// Tells `note` what each check found.
pub(super) async fn checked(
    probe: &impl Probe,
    checks: &[Check],
    query: &Query,
    note: &(dyn Fn(&str, bool) + Sync),
) -> Page {
    let mut lines = String::new();
    let mut is_good = true;
    for check in checks.iter().filter(|check| !query.excluded.iter().any(|n| n == check.name())) {
        let found = check.look(probe).await;
        note(check.name(), found.is_ok());
        match found {
            Ok(()) => lines.push_str(&format!("[+]{} ok\n", check.name())),
            Err(reason) => {
                is_good = false;
                lines.push_str(&format!("[-]{} failed: {reason}\n", check.name()));
            }
        }
    }
    if !is_good {
        return trouble(StatusCode::SERVICE_UNAVAILABLE, &lines);
    }
    let lines = if query.is_verbose { lines } else { String::new() };
    let mut page = page(StatusCode::OK, TEXT, lines + "ok\n");
    page.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    page
}

pub(super) fn versions(probe: &impl Probe) -> String {
    let view = probe.view();
    let (cluster, storage) = match &*view.facts.cluster_version {
        "" => ("not_decided", "unknown"),
        decided => (decided, version::storage(&view.facts)),
    };
    format!(
        r#"{{"etcdserver":"{}","etcdcluster":"{cluster}","storage":"{storage}","quorate":"{}"}}"#,
        version::ETCD,
        version::QUORATE
    )
}

pub(super) fn members(probe: &impl Probe) -> Page {
    let view = probe.view();
    let list: Vec<Value> = view
        .facts
        .members
        .iter()
        .map(|member| {
            let mut fields = Map::new();
            fields.insert("id".to_owned(), json!(member.id));
            fields.insert("peerURLs".to_owned(), json!(member.peer_ur_ls));
            fields.insert("name".to_owned(), json!(member.name));
            if member.is_learner {
                fields.insert("isLearner".to_owned(), json!(true));
            }
            if !member.client_ur_ls.is_empty() {
                fields.insert("clientURLs".to_owned(), json!(member.client_ur_ls));
            }
            Value::Object(fields)
        })
        .collect();
    let mut page = page(StatusCode::OK, JSON, Value::Array(list).to_string() + "\n");
    if let Ok(cluster) = HeaderValue::from_str(&view.facts.cluster.to_string()) {
        page.headers_mut().insert("x-etcd-cluster-id", cluster);
    }
    page
}

pub(super) fn page(code: StatusCode, kind: HeaderValue, body: String) -> Page {
    let mut page = Response::new(Full::new(Bytes::from(body)));
    *page.status_mut() = code;
    page.headers_mut().insert(CONTENT_TYPE, kind);
    page
}

/// A page that is an error: plain text and a newline.
pub(super) fn trouble(code: StatusCode, text: &str) -> Page {
    let mut page = page(code, TEXT, format!("{text}\n"));
    page.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    page
}

#[cfg(test)]
mod tests;
