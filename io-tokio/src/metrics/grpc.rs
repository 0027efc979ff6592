//! Calls by method: a table fixed at compile time, an array of counters beside it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use tonic::Code;

use super::Count;
use super::timing::{Heading, Scale, Timing, Timings};

/// The shape of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One message each way.
    Unary,
    /// One message, then many back.
    ServerStream,
    /// Many each way.
    Bidi,
}

impl Kind {
    /// Its name as a label.
    const fn name(self) -> &'static str {
        match self {
            Self::Unary => "unary",
            Self::ServerStream => "server_stream",
            Self::Bidi => "bidi_stream",
        }
    }
}

/// A call that can be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Method {
    /// The service's full name.
    pub service: &'static str,
    /// The call's name.
    pub name: &'static str,
    /// Its shape.
    pub kind: Kind,
}

macro_rules! methods {
    ($($service:literal: $($name:ident $kind:ident,)*;)*) => {
        /// Every call there is.
        pub const METHODS: &[Method] = &[$($(Method {
            service: $service, name: stringify!($name), kind: Kind::$kind,
        },)*)*];
    };
}

methods! {
    "etcdserverpb.KV": Range Unary, Put Unary, Txn Unary, DeleteRange Unary, Compact Unary,
        RangeStream ServerStream,;
    "etcdserverpb.Lease": LeaseKeepAlive Bidi, LeaseGrant Unary, LeaseRevoke Unary,
        LeaseTimeToLive Unary, LeaseLeases Unary,;
    "etcdserverpb.Watch": Watch Bidi,;
    "etcdserverpb.Cluster": MemberAdd Unary, MemberRemove Unary, MemberUpdate Unary,
        MemberList Unary, MemberPromote Unary,;
    "etcdserverpb.Maintenance": Alarm Unary, Status Unary, Defragment Unary, Hash Unary,
        HashKV Unary, Snapshot ServerStream, MoveLeader Unary, Downgrade Unary,;
    "etcdserverpb.Auth": AuthEnable Unary, AuthDisable Unary, AuthStatus Unary,
        Authenticate Unary, UserAdd Unary, UserGet Unary, UserList Unary, UserDelete Unary,
        UserChangePassword Unary, UserGrantRole Unary, UserRevokeRole Unary, RoleAdd Unary,
        RoleGet Unary, RoleList Unary, RoleDelete Unary, RoleGrantPermission Unary,
        RoleRevokePermission Unary,;
    "grpc.health.v1.Health": Check Unary, List Unary, Watch ServerStream,;
    "v3lockpb.Lock": Lock Unary, Unlock Unary,;
    "v3electionpb.Election": Campaign Unary, Proclaim Unary, Leader Unary, Resign Unary,
        Observe ServerStream,;
}

const CODES: [Code; 17] = [
    Code::Ok,
    Code::Cancelled,
    Code::Unknown,
    Code::InvalidArgument,
    Code::DeadlineExceeded,
    Code::NotFound,
    Code::AlreadyExists,
    Code::PermissionDenied,
    Code::ResourceExhausted,
    Code::FailedPrecondition,
    Code::Aborted,
    Code::OutOfRange,
    Code::Unimplemented,
    Code::Internal,
    Code::Unavailable,
    Code::DataLoss,
    Code::Unauthenticated,
];

/// Go's name of a code, as dashboards know it.
const fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "Canceled",
        Code::Unknown => "Unknown",
        Code::InvalidArgument => "InvalidArgument",
        Code::DeadlineExceeded => "DeadlineExceeded",
        Code::NotFound => "NotFound",
        Code::AlreadyExists => "AlreadyExists",
        Code::PermissionDenied => "PermissionDenied",
        Code::ResourceExhausted => "ResourceExhausted",
        Code::FailedPrecondition => "FailedPrecondition",
        Code::Aborted => "Aborted",
        Code::OutOfRange => "OutOfRange",
        Code::Unimplemented => "Unimplemented",
        Code::Internal => "Internal",
        Code::Unavailable => "Unavailable",
        Code::DataLoss => "DataLoss",
        Code::Unauthenticated => "Unauthenticated",
    }
}

#[derive(Debug)]
struct OfMethod {
    started: Count,
    handled: [Count; CODES.len()],
    received: Count,
    sent: Count,
    took: Timing,
    /// What `etcd_server_request_duration_seconds` calls it, if it is told there.
    request: Option<usize>,
}

/// Calls whose durations are told whoever asks.
const REQUESTS: [&str; 7] =
    ["Range", "Put", "DeleteRange", "Txn", "Compact", "LeaseGrant", "LeaseRevoke"];
/// The same as their durations are labelled.
const REQUEST_TYPES: &[&str] =
    &["Range", "Put", "DeleteRange", "Txn", "Compaction", "LeaseGrant", "LeaseRevoke"];

/// Counters of all calls; clones count together.
#[derive(Clone, Debug)]
pub struct Calls(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    methods: Vec<OfMethod>,
    requests: Timings,
    is_extensive: AtomicBool,
}

impl Default for Calls {
    fn default() -> Self {
        let requests = Timings::new(Heading {
            name: "etcd_server_request_duration_seconds",
            help: "Time a request takes, from its arrival to its answer",
            constant: None,
            label: "type",
            kinds: REQUEST_TYPES,
            scale: Scale::Doubling(0.001, 14),
        });
        let of = |method: &Method| OfMethod {
            started: Count::default(),
            handled: Default::default(),
            received: Count::default(),
            sent: Count::default(),
            took: Timing::new(Scale::Calls),
            request: REQUESTS.iter().position(|name| *name == method.name),
        };
        let methods = METHODS.iter().map(of).collect();
        Self(Arc::new(Inner { methods, requests, is_extensive: AtomicBool::new(false) }))
    }
}

impl Calls {
    /// From now on tells how long calls of each kind take, which are many series.
    pub fn be_extensive(&self) {
        self.0.is_extensive.store(true, Ordering::Relaxed);
    }

    /// The place in [`METHODS`] of the call at a path `/service/name`.
    pub fn find(path: &str) -> Option<usize> {
        let (service, name) = path.strip_prefix('/')?.split_once('/')?;
        METHODS.iter().position(|method| method.name == name && method.service == service)
    }

    /// A call began.
    pub fn start(&self, method: usize) {
        let Some(counts) = self.0.methods.get(method) else { return };
        counts.started.add(1);
        if METHODS[method].kind != Kind::Bidi {
            counts.received.add(1);
        }
    }

    /// A call ended, so long after it began.
    pub fn end(&self, method: usize, code: Code, took: Duration) {
        let Some(counts) = self.0.methods.get(method) else { return };
        counts.handled[code as usize].add(1);
        counts.took.observe(took);
        if let Some(request) = counts.request {
            self.0.requests.observe(request, code == Code::Ok, took);
        }
        if METHODS[method].kind == Kind::Unary && code == Code::Ok {
            counts.sent.add(1);
        }
    }

    /// A stream took a message from its client.
    pub fn received(&self, method: usize) {
        if let Some(counts) = self.0.methods.get(method) {
            counts.received.add(1);
        }
    }

    /// A stream gave its client a message.
    pub fn sent(&self, method: usize) {
        if let Some(counts) = self.0.methods.get(method) {
            counts.sent.add(1);
        }
    }

    fn encode_each(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        (name, help): (&str, &str),
        pick: impl Fn(&OfMethod) -> &Count,
    ) -> fmt::Result {
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (method, counts) in METHODS.iter().zip(&self.0.methods) {
            pick(counts).encode(family.encode_family(&labels(method))?)?;
        }
        Ok(())
    }
}

fn labels(method: &Method) -> [(&'static str, &'static str); 3] {
    [
        ("grpc_type", method.kind.name()),
        ("grpc_service", method.service),
        ("grpc_method", method.name),
    ]
}

impl Collector for Calls {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.encode_each(&mut encoder, ("grpc_server_started_total", "Calls begun"), |counts| {
            &counts.started
        })?;
        self.encode_each(
            &mut encoder,
            ("grpc_server_msg_received_total", "Messages received"),
            |counts| &counts.received,
        )?;
        self.encode_each(
            &mut encoder,
            ("grpc_server_msg_sent_total", "Messages sent"),
            |counts| &counts.sent,
        )?;
        let mut family = encoder.encode_descriptor(
            "grpc_server_handled_total",
            "Calls ended",
            None,
            MetricType::Counter,
        )?;
        for (method, counts) in METHODS.iter().zip(&self.0.methods) {
            let [kind, service, name] = labels(method);
            for (code, count) in CODES.iter().zip(&counts.handled) {
                let labels = [kind, service, name, ("grpc_code", code_name(*code))];
                count.encode(family.encode_family(&labels)?)?;
            }
        }
        if self.0.is_extensive.load(Ordering::Relaxed) {
            let (name, help) = ("grpc_server_handling_seconds", "Time calls take");
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
            for (method, counts) in METHODS.iter().zip(&self.0.methods) {
                if counts.took.count() > 0 {
                    counts.took.encode(family.encode_family(&labels(method))?)?;
                }
            }
        }
        self.0.requests.encode(encoder)
    }
}
