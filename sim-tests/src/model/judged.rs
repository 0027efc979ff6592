//! Entries of the log, judged by the rights of their moment before they mean anything.

use quorate_core::error::Refusal;
use quorate_proto::etcdserverpb::InternalRaftRequest;

use super::auth::{Auth, Who};
use super::{Model, Settings};
use crate::history::Call;

/// Rights and keys after the entries so far. As long as nobody is asked who they are, keys are only
/// remembered: most runs never need them.
#[derive(Debug, Default)]
pub struct Judged {
    auth: Auth,
    before: Vec<Call>,
    keys: Option<Model>,
}

impl Judged {
    /// The rights of now.
    pub fn auth(&self) -> &Auth {
        &self.auth
    }

    /// Takes the next entry: whether auth let it through.
    pub fn take(&mut self, request: &InternalRaftRequest) -> Result<(), Refusal> {
        let header = request.header.as_ref();
        let who = header.map_or_else(Who::default, |header| Who {
            user: header.username.clone(),
            revision: header.auth_revision,
        });
        let keys = &self.keys;
        let leased = |id| keys.as_ref().map_or_else(Vec::new, |keys| keys.lease_keys(id));
        self.auth.check(&who, request, &leased)?;
        if let Some(changed) = self.auth.change(request) {
            self.auth = changed?;
            if self.auth.is_enabled && self.keys.is_none() {
                let mut keys = Model::new(Settings::default());
                self.before.drain(..).for_each(|call| drop(keys.apply(&call)));
                self.keys = Some(keys);
            }
        }
        if let Some(call) = Call::from_entry(request.clone()) {
            match &mut self.keys {
                // What keys and leases refuse is no affair of auth.
                Some(keys) => drop(keys.apply(&call)),
                None => self.before.push(call),
            }
        }
        Ok(())
    }
}
