//! Is the member alive, ready, healthy?

use std::future::Future;

use quorate_core::View;
use quorate_core::error::Refusal;
use quorate_core::event::ReadError;
use quorate_proto::etcdserverpb::AlarmType;

use crate::driver::Core;
use crate::grpc::{reads, status};

/// What checks ask.
pub trait Probe {
    /// The newest view.
    fn view(&self) -> View;

    /// A linearizable read.
    fn read(&self) -> impl Future<Output = Result<View, Refusal>> + Send;
}

impl Probe for Core {
    fn view(&self) -> View {
        Core::view(self)
    }

    fn read(&self) -> impl Future<Output = Result<View, Refusal>> + Send {
        Core::read(self)
    }
}

/// One thing that must be so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// No member found its data to differ.
    DataCorruption,
    /// This member's store answers.
    SerializableRead,
    /// The cluster answers.
    LinearizableRead,
    /// This member votes.
    NonLearner,
}

impl Check {
    /// What a live member passes.
    pub const LIVE: &'static [Self] = &[Self::SerializableRead];
    /// What a ready member passes.
    pub const READY: &'static [Self] =
        &[Self::DataCorruption, Self::SerializableRead, Self::LinearizableRead, Self::NonLearner];

    /// Its name in paths and bodies.
    pub const fn name(self) -> &'static str {
        match self {
            Self::DataCorruption => "data_corruption",
            Self::SerializableRead => "serializable_read",
            Self::LinearizableRead => "linearizable_read",
            Self::NonLearner => "non_learner",
        }
    }

    /// Looks; the error is the reason.
    pub async fn look(self, probe: &impl Probe) -> Result<(), String> {
        let view = probe.view();
        match self {
            Self::DataCorruption => {
                let is_corrupt = view.facts.alarms.iter().any(|a| a.alarm() == AlarmType::Corrupt);
                if is_corrupt { Err("alarm activated: CORRUPT".to_owned()) } else { Ok(()) }
            }
            Self::SerializableRead => probe_local(&view).map_err(reason),
            Self::LinearizableRead => read(probe).await,
            Self::NonLearner => {
                let own = view.facts.member.get();
                let is_learner = view.facts.members.iter().any(|m| m.id == own && m.is_learner);
                if is_learner { Err("not supported for learner".to_owned()) } else { Ok(()) }
            }
        }
    }
}

/// What a member has is good for nothing while it is not to be trusted.
fn probe_local(view: &View) -> Result<(), ReadError> {
    if view.facts.is_fenced {
        return Err(ReadError::Refused(Refusal::Corrupt));
    }
    reads::probe(view)
}

async fn read(probe: &impl Probe) -> Result<(), String> {
    match probe.read().await {
        Ok(view) => reads::probe(&view).map_err(reason),
        Err(refusal) => Err(status::code_and_text(refusal).1.to_owned()),
    }
}

fn reason(error: ReadError) -> String {
    match error {
        ReadError::Refused(refusal) => status::code_and_text(refusal).1.to_owned(),
        ReadError::Fault(fault) => fault.what,
    }
}

/// What `/health` was asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// Alarms that do not count, by name.
    pub excluded: Vec<String>,
    /// Whether this member's own word is enough.
    pub is_serializable: bool,
}

impl Health {
    /// Looks: alarms, leader, read; the error is the reason.
    pub async fn look(&self, probe: &impl Probe) -> Result<(), String> {
        let view = probe.view();
        let counted =
            |kind: AlarmType| !self.excluded.iter().any(|name| name == kind.as_str_name());
        if let Some(kind) = view.facts.alarms.iter().map(|a| a.alarm()).find(|kind| counted(*kind))
        {
            return Err(match kind {
                AlarmType::None => "ALARM UNKNOWN".to_owned(),
                kind => format!("ALARM {}", kind.as_str_name()),
            });
        }
        if self.is_serializable {
            return probe_local(&view).map_err(|error| format!("RANGE ERROR:{}", reason(error)));
        }
        if view.facts.role.leader.is_none() {
            return Err("RAFT NO LEADER".to_owned());
        }
        read(probe).await.map_err(|reason| format!("RANGE ERROR:{reason}"))
    }
}
