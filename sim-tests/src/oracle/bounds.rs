//! Nothing grows without a bound (oracle 9, first half), as far as it shows outside a member.
//!
//! - entries handed out and not yet applied weigh no more than the limit and one hand-out;
//! - a catch-up frame of a watch spans no more revisions than the limit;
//! - batches on their way to the log are few: a member waits for its disk.

use std::collections::{BTreeMap, VecDeque};

use quorate_core::ids::MemberId;
use quorate_core::limits::{APPLY_BYTES_MAX, CATCH_UP_REVISIONS_MAX};
use quorate_core::storage::Entry;
use quorate_core::time::Time;
use quorate_io_sim::world::observe::{Observer, Seen, Violation};
use quorate_proto::etcdserverpb as pb;

use super::wrong;

const NAME: &str = "bounds";

/// Bytes a batch on its way to the log may add up to, with all others on their way.
const UNPERSISTED_BYTES_MAX: u64 = 256 << 20;

/// The oracle. See the module.
#[derive(Debug, Default)]
pub struct Bounds {
    unapplied: BTreeMap<MemberId, Queue>,
    unpersisted: BTreeMap<MemberId, Queue>,
}

/// Things waiting, by number, with their weight.
#[derive(Debug, Default)]
struct Queue {
    things: VecDeque<(u64, u64)>,
    bytes: u64,
}

impl Queue {
    fn push(&mut self, number: u64, bytes: u64) {
        self.things.push_back((number, bytes));
        self.bytes += bytes;
    }

    fn done(&mut self, number: u64) {
        while let Some((_, bytes)) = self.things.pop_front_if(|(first, _)| *first <= number) {
            self.bytes -= bytes;
        }
    }
}

impl Observer for Bounds {
    fn observe(&mut self, _at: Time, seen: &Seen) -> Result<(), Violation> {
        let judged = match seen {
            Seen::Started { member, .. } => {
                self.unapplied.remove(member);
                self.unpersisted.remove(member);
                Ok(())
            }
            Seen::Installed { member, mark } => {
                self.unapplied.entry(*member).or_default().done(mark.index.0);
                Ok(())
            }
            Seen::Committed { member, entries } => self.committed(*member, entries),
            Seen::Applied { member, index, .. } => {
                self.unapplied.entry(*member).or_default().done(index.0);
                Ok(())
            }
            Seen::Persisting { member, number, entries, .. } => {
                self.persisting(*member, *number, entries)
            }
            Seen::Persisted { member, number } => {
                self.unpersisted.entry(*member).or_default().done(*number);
                Ok(())
            }
            Seen::Frame { frame, .. } => check_frame(frame),
            _ => Ok(()),
        };
        judged.map_err(|what| wrong(NAME, what))
    }
}

impl Bounds {
    fn committed(&mut self, member: MemberId, entries: &[Entry]) -> Result<(), String> {
        let queue = self.unapplied.entry(member).or_default();
        if queue.bytes > APPLY_BYTES_MAX {
            let bytes = queue.bytes;
            return Err(format!("member {member} hands out more while {bytes} bytes wait"));
        }
        entries.iter().for_each(|entry| queue.push(entry.index.0, entry.data.len() as u64));
        Ok(())
    }

    fn persisting(
        &mut self,
        member: MemberId,
        number: u64,
        entries: &[Entry],
    ) -> Result<(), String> {
        let queue = self.unpersisted.entry(member).or_default();
        queue.push(number, entries.iter().map(|entry| entry.data.len() as u64).sum());
        if queue.bytes > UNPERSISTED_BYTES_MAX {
            let bytes = queue.bytes;
            return Err(format!("member {member} has {bytes} bytes on their way to its log"));
        }
        Ok(())
    }
}

fn check_frame(frame: &pb::WatchResponse) -> Result<(), String> {
    let revision =
        |event: &quorate_proto::mvccpb::Event| event.kv.as_ref().map_or(0, |kv| kv.mod_revision);
    let revisions = frame.events.chunk_by(|a, b| revision(a) == revision(b)).count();
    if revisions > CATCH_UP_REVISIONS_MAX {
        return Err(format!("a frame of {revisions} revisions for watch {}", frame.watch_id));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use quorate_core::ids::LogIndex;

    use super::*;

    fn committed(index: u64, bytes: usize) -> Seen {
        let entry =
            Entry { index: LogIndex(index), data: Bytes::from(vec![0; bytes]), ..Entry::default() };
        Seen::Committed { member: MemberId(1), entries: vec![entry] }
    }

    #[test]
    fn what_is_applied_makes_room() {
        let mut oracle = Bounds::default();
        let big = usize::try_from(APPLY_BYTES_MAX).unwrap() + 1;
        let applied = Seen::Applied { member: MemberId(1), index: LogIndex(1), digest: 0 };
        for seen in [committed(1, big), applied, committed(2, 1)] {
            assert_eq!(oracle.observe(Time::ZERO, &seen), Ok(()));
        }
    }

    #[test]
    fn handing_out_above_the_limit_is_found() {
        let mut oracle = Bounds::default();
        let big = usize::try_from(APPLY_BYTES_MAX).unwrap() + 1;
        assert_eq!(oracle.observe(Time::ZERO, &committed(1, big)), Ok(()));
        let violation = oracle.observe(Time::ZERO, &committed(2, 1)).unwrap_err();
        assert_eq!(violation.what, "member 1 hands out more while 33554433 bytes wait");
    }

    #[test]
    fn a_frame_of_too_many_revisions_is_found() {
        let event = |mod_revision| quorate_proto::mvccpb::Event {
            kv: Some(quorate_proto::mvccpb::KeyValue { mod_revision, ..Default::default() }),
            ..Default::default()
        };
        let frame = |count: i64| pb::WatchResponse {
            events: (0..count).map(event).collect(),
            ..Default::default()
        };
        assert_eq!(check_frame(&frame(1_000)), Ok(()));
        assert_eq!(
            check_frame(&frame(1_001)),
            Err("a frame of 1001 revisions for watch 0".to_owned())
        );
    }
}
