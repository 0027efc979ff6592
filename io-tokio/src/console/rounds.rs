//! Asking every member how it is.
//!
//! ```text
//! this member ──> its own facts
//!             ──> GET /vitals at each other member's peer URL, all at the same time
//! ```
//!
//! Invariants
//! - There is one round at a time, and none follows another at once: however many ask, the members
//!   are asked twice a second at most.
//! - A member that does not answer is told of as such; it holds nobody up for long.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use quorate_core::View;
use quorate_proto::etcdserverpb::Member;
use serde_json::{Map, Value, json};
use tokio::sync::Mutex;

use crate::cli::Url;
use crate::driver::Core;
use crate::http::{VITALS, vitals};
use crate::metrics::Metrics;
use crate::transport::Dialer;

/// How long one member may take to answer.
const ANSWER_MAX: Duration = Duration::from_secs(1);
/// How long what was heard is good enough.
const FRESH: Duration = Duration::from_millis(500);
/// Longest answer that is read.
const ANSWER_BYTES_MAX: usize = 64 << 10;

/// Asks all members.
pub struct Rounds {
    core: Core,
    metrics: Arc<Metrics>,
    dialer: Dialer,
    last: Mutex<Option<(Instant, Bytes)>>,
}

impl Rounds {
    /// By this member, which connects to the others so.
    pub fn new(core: Core, metrics: Arc<Metrics>, dialer: Dialer) -> Self {
        Self { core, metrics, dialer, last: Mutex::default() }
    }

    /// What all members say, as JSON.
    pub(super) async fn look(&self) -> Bytes {
        let mut last = self.last.lock().await;
        if let Some((at, said)) = &*last
            && at.elapsed() < FRESH
        {
            return said.clone();
        }
        let said = Bytes::from(self.ask_all().await.to_string());
        *last = Some((Instant::now(), said.clone()));
        said
    }

    async fn ask_all(&self) -> Value {
        let view = self.core.view();
        let members = view.facts.members.iter().map(|member| self.see(&view, member));
        let members = futures_util::future::join_all(members).await;
        let alarms = view.facts.alarms.iter().map(|alarm| {
            let member = format!("{:x}", alarm.member_id);
            json!({ "member": member, "alarm": alarm.alarm().as_str_name() })
        });
        json!({
            "cluster": view.facts.cluster.to_string(),
            "member": view.facts.member.to_string(),
            "usersOn": view.facts.auth.book.is_enabled(),
            "members": members,
            "alarms": alarms.collect::<Vec<_>>(),
        })
    }

    async fn see(&self, view: &View, member: &Member) -> Value {
        let said = if member.id == view.facts.member.get() {
            Ok(vitals(view, &self.metrics))
        } else {
            let asked = tokio::time::timeout(ANSWER_MAX, self.ask(&member.peer_ur_ls)).await;
            asked.unwrap_or_else(|_| Err("no answer".to_owned()))
        };
        let mut told = Map::new();
        told.insert("id".to_owned(), json!(format!("{:x}", member.id)));
        told.insert("name".to_owned(), json!(member.name));
        told.insert("isLearner".to_owned(), json!(member.is_learner));
        told.insert("clientURLs".to_owned(), json!(member.client_ur_ls));
        told.insert("peerURLs".to_owned(), json!(member.peer_ur_ls));
        match said {
            Ok(vitals) => told.insert("vitals".to_owned(), vitals),
            Err(trouble) => told.insert("trouble".to_owned(), json!(trouble)),
        };
        Value::Object(told)
    }

    async fn ask(&self, urls: &[String]) -> Result<Value, String> {
        let mut trouble = "it has no URLs".to_owned();
        for url in urls {
            let url = Url::parse(url).map_err(|error| error.to_string())?;
            match self.dialer.get(&url, VITALS, ANSWER_BYTES_MAX).await {
                Ok(page) if page.status().is_success() => {
                    return serde_json::from_slice(page.body()).map_err(|error| error.to_string());
                }
                Ok(page) => trouble = format!("answers {}", page.status()),
                Err(reason) => trouble = reason,
            }
        }
        Err(trouble)
    }
}
