//! The post between members: messages, and images that travel with an announcement.
//!
//! An image is copied when it is sent, takes its time, may be cut off on the way, and waits at the
//! receiver until the replica asks for it to be installed. Its sender learns how it ended.

use quorate_core::ReplicaInput;
use quorate_core::StateInput;
use quorate_core::ids::{LogIndex, MemberId};
use quorate_core::peer::{Class as Lane, Message};
use quorate_proto::peer::PeerMessage;
use quorate_proto::raftpb;

use super::driver::{Event, MILLISECOND, Phase, SECOND, World};
use super::network::{Fate, Place};
use super::node::{Build, Node};
use super::observe::Observer;
use super::queue::Class;
use super::table::Content;

/// Received images that wait to be installed; more are refused.
const STAGED_MAX: usize = 8;

/// A message on its way between members, by number.
#[derive(Clone)]
pub(super) struct Transit {
    from: usize,
    to: usize,
    /// Where it arrives; `to` unless it goes astray.
    at: usize,
    connection: u32,
    message: PeerMessage,
    /// Its sender does not know of it.
    is_copy: bool,
}

impl<B: Build, O: Observer> World<B, O> {
    /// Sends a message to another member.
    pub(super) fn send(&mut self, from: usize, to: MemberId, message: PeerMessage) {
        let Some(to) = self.nodes.iter().position(|node| node.id() == to) else {
            return self.learn(from, 10 * MILLISECOND, ReplicaInput::Unreachable { to });
        };
        let Some(body) = &message.message else { return };
        let lane = Lane::of(body);
        let (now, places) = (self.queue.now(), (Place::Member(from), Place::Member(to)));
        let image = match body {
            Message::Raft(raft) if lane == Lane::Snapshot => self.image_for(from, raft),
            _ => None,
        };
        if lane == Lane::Snapshot && image.is_none() {
            return self.fail_image(from, to);
        }
        match self.network.send(now, places.0, places.1, lane as usize) {
            Fate::Lost if lane == Lane::Snapshot => self.fail_image(from, to),
            Fate::Lost => {
                let to = self.nodes[to].id();
                self.learn(from, 10 * MILLISECOND, ReplicaInput::Unreachable { to });
            }
            Fate::Arrives { at, again, connection, astray } => {
                let (at_node, is_copy) = (astray.filter(|_| image.is_none()).unwrap_or(to), false);
                let transit =
                    |message| Transit { from, to, at: at_node, connection, message, is_copy };
                if let Some(content) = image {
                    return self.send_image(at, transit(message), content);
                }
                if let Some(again) = again.filter(|_| !is_proposal(&message)) {
                    let event = Event::Arrive(transit(message.clone()));
                    self.queue.push(again, Class::Network, event);
                }
                self.queue.push(at, Class::Network, Event::Arrive(transit(message)));
            }
        }
    }

    fn learn(&mut self, node: usize, rest: u64, input: ReplicaInput) {
        let event = Event::Learn(node, self.nodes[node].boot, input);
        self.queue.push(self.queue.now() + rest, Class::Network, event);
    }

    /// The image that goes with an announcement.
    fn image_for(&self, from: usize, raft: &raftpb::Message) -> Option<Content> {
        let index = raft.snapshot.as_ref()?.metadata.as_ref()?.index;
        let (mark, image) = self.nodes[from].pinned.as_ref()?;
        (mark.index == LogIndex(index)).then(|| Content::copied(image.as_ref()).ok())?
    }

    fn fail_image(&mut self, from: usize, to: usize) {
        let to = self.nodes[to].id();
        let input = ReplicaInput::SnapshotSent { to, delivered: false };
        self.learn(from, 50 * MILLISECOND, input);
    }

    /// An image takes its time, a millisecond for each hundred rows, and may break off, come late,
    /// or come twice.
    fn send_image(&mut self, at: u64, transit: Transit, content: Content) {
        let weather = self.plan.weather;
        let luck = &mut self.nodes[transit.from].luck;
        let mut rest = content.rows() as u64 * 10_000 + luck.below(200 * MILLISECOND);
        if luck.hits(weather.image_cut as u32) {
            self.count_fired("image-cut");
            return self.fail_image(transit.from, transit.to);
        }
        if self.phase == Phase::Faults {
            let luck = &mut self.nodes[transit.from].luck;
            let (is_late, is_double) =
                (luck.hits(weather.image_late as u32), luck.hits(weather.image_twice as u32));
            if is_late {
                rest += luck.below(20 * SECOND);
                self.count_fired("image-late");
            }
            if is_double {
                self.send_copy(rest, &transit, &content);
            }
        }
        let event = Event::ArriveImage(Box::new((transit, content)));
        self.queue.push(at + rest, Class::Network, event);
    }

    /// The same image once more, a little earlier or later, behind its sender's back.
    fn send_copy(&mut self, rest: u64, transit: &Transit, content: &Content) {
        let (a, b) = (Place::Member(transit.from), Place::Member(transit.to));
        let fate = self.network.send(self.queue.now(), a, b, Lane::Snapshot as usize);
        let Fate::Arrives { at, connection, .. } = fate else { return };
        let rest = rest / 2 + self.nodes[transit.from].luck.below(rest.max(SECOND));
        let copy = Transit { connection, is_copy: true, ..transit.clone() };
        let event = Event::ArriveImage(Box::new((copy, content.clone())));
        self.queue.push(at + rest, Class::Network, event);
        self.count_fired("image-twice");
    }

    pub(super) fn arrive(&mut self, transit: Transit, image: Option<Content>) {
        let Transit { from, to, at, connection, message, is_copy } = transit;
        let (a, b) = (Place::Member(from), Place::Member(to));
        let arrives = self.network.arrive(a, b, connection) && self.nodes[at].is_up();
        let is_whole = arrives && !self.turns_away(at, from);
        if let Some(content) = image {
            let delivered = is_whole && self.stage(at, &message, content);
            if !is_copy && delivered {
                let to = self.nodes[to].id();
                self.learn(from, MILLISECOND, ReplicaInput::SnapshotSent { to, delivered });
            } else if !is_copy {
                self.fail_image(from, to);
            }
            if !delivered {
                return;
            }
        }
        if !is_whole {
            return;
        }
        let from = self.nodes[from].id();
        let Some(message) = message.message else { return };
        match StateInput::from_peer(from, message) {
            Ok(input) => self.give_state(at, input),
            Err(message) => self.give_replica(at, ReplicaInput::Peer { from, message }),
        }
    }

    /// Keeps a received image until the replica asks for it to be installed. False if it is full.
    fn stage(&mut self, node: usize, message: &PeerMessage, content: Content) -> bool {
        let Some(Message::Raft(raft)) = &message.message else { return false };
        let snapshot = raft.snapshot.as_ref();
        let Some(meta) = snapshot.and_then(|s| s.metadata.as_ref()) else { return false };
        let Node { staged, applied, .. } = &mut self.nodes[node];
        staged.retain(|index, _| *index > applied.0);
        let has_room = staged.len() < STAGED_MAX;
        if has_room {
            staged.insert(LogIndex(meta.index), content);
        }
        has_room
    }
}

/// A proposal that arrives twice is proposed twice, and so is a wish to change the group. No
/// ordered stream delivers twice what is sent once, and nothing else in the group depends on that.
fn is_proposal(message: &PeerMessage) -> bool {
    match &message.message {
        Some(Message::Raft(raft)) => raft.r#type() == raftpb::MessageType::MsgProp,
        Some(Message::ChangeWish(_)) => true,
        _ => false,
    }
}
