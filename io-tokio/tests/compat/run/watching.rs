//! How watches are followed: what must have come before the next step, and when to compare.
//!
//! Each stream has a watch on the sentinel, a key no script touches. When the sentinel is put and
//! all streams have told of it, they have told of everything before, but to watches that still
//! catch up; for those another watch is sent after them, whose catching up ends after theirs.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use quorate_proto::etcdserverpb as pb;
use quorate_proto::etcdserverpb::watch_request::RequestUnion;

use super::super::call::{Call, Method};
use super::super::compare::{Told, level_heard};
use super::super::differences::LATE_PROGRESS;
use super::super::script::{SENTINEL, WatchStep};
use super::super::side::Side;
use super::super::streams::{Heard, WatchName};
use super::{Outcome, Run, SETTLE_MAX, difference};

/// The watch every stream has on the sentinel.
const GUARD: i64 = 1 << 40;
/// A watch that comes and goes.
const VISITOR: i64 = GUARD + 1;

impl Run {
    /// Open streams, and the ids of the script's watches on them, as the judge tells it.
    pub(super) fn live_streams(&self) -> Vec<(u64, Vec<i64>)> {
        let streams = &self.sides[0].streams;
        let live = |number| {
            let ids = streams.look(number, Heard::live).unwrap_or_default();
            (number, ids.into_iter().filter(|id| *id != GUARD).collect())
        };
        streams.numbers().into_iter().map(live).collect()
    }

    pub(super) fn close_all(&mut self) {
        self.sides[0].streams.numbers().into_iter().for_each(|stream| self.close(stream));
    }

    pub(super) async fn watch(&mut self, step: WatchStep) -> Outcome<()> {
        match step {
            WatchStep::Open(stream) => self.open(stream).await,
            WatchStep::Create(stream, request) => self.create(stream, request).await,
            WatchStep::Cancel(stream, id) => {
                self.settle().await?;
                self.cancel(stream, id).await
            }
            WatchStep::Progress(stream) => self.ask_for_progress(stream).await,
            WatchStep::Nothing(stream) => {
                self.send(stream, None).await;
                self.visit(&[stream], None).await
            }
            WatchStep::Close(stream) => {
                self.settle().await?;
                self.close(stream);
                Ok(())
            }
            WatchStep::Lonely(request) => self.ask_too_early(request).await,
        }
    }

    async fn open(&mut self, stream: u64) -> Outcome<()> {
        self.sides.iter_mut().for_each(|side| side.open(stream));
        self.create(stream, on_sentinel(GUARD, 0)).await
    }

    fn close(&mut self, stream: u64) {
        let [judge, ours] = [0, 1].map(|n| self.sides[n].streams.heard(stream));
        self.tally.events += judge.events();
        let late = ours.progress.len().saturating_sub(judge.progress.len());
        *self.tally.known.entry(LATE_PROGRESS).or_default() += late;
        self.unanswered.remove(&stream);
        self.sides.iter_mut().for_each(|side| side.streams.close(stream));
        self.past.retain(|(of, _)| *of != stream);
        self.answers.remove(&stream);
    }

    async fn create(&mut self, stream: u64, request: pb::WatchCreateRequest) -> Outcome<()> {
        let is_past = (1..=self.known.revision).contains(&request.start_revision);
        self.send(stream, Some(RequestUnion::CreateRequest(request))).await;
        self.answered(stream, 1).await?;
        let name = self.sides[0].streams.look(stream, Heard::newest).flatten();
        if let (Some(name), true) = (name, is_past) {
            self.past.insert((stream, name));
            self.is_catching_up = true;
        }
        Ok(())
    }

    /// etcd answers if there is such a watch, and only then.
    async fn cancel(&mut self, stream: u64, id: i64) -> Outcome<()> {
        let is_live = self.sides[0].streams.look(stream, |heard| heard.live().contains(&id));
        let request = pb::WatchCancelRequest { watch_id: id };
        self.send(stream, Some(RequestUnion::CancelRequest(request))).await;
        self.answered(stream, usize::from(is_live == Some(true))).await
    }

    async fn send(&self, stream: u64, request: Option<RequestUnion>) {
        for side in &self.sides {
            side.streams.send(stream, request.clone()).await;
        }
    }

    /// Waits for so many more answers than were there when the step began, and compares them.
    async fn answered(&mut self, stream: u64, more: usize) -> Outcome<()> {
        let wanted = self.answers.entry(stream).or_default();
        *wanted += more;
        let wanted = *wanted;
        let has_all = |side: &Side| {
            side.streams.look(stream, |heard| heard.answers.len() >= wanted).unwrap_or_default()
        };
        let have_all = self.wait(has_all).await;
        let [judge, ours] = [0, 1].map(|n| self.sides[n].streams.heard(stream));
        let (judge, ours) = ((judge.answers, judge.end), (ours.answers, ours.end));
        if judge == ours { have_all } else { Err(difference(&judge, &ours)) }
    }

    /// Watches on the sentinel come and go: what was sent before them has been looked at. If they
    /// begin at a revision that was, watches that began in the past have caught up.
    async fn visit(&mut self, streams: &[u64], from: Option<i64>) -> Outcome<()> {
        for stream in streams {
            let request = on_sentinel(VISITOR, from.unwrap_or_default());
            self.create(*stream, request).await?;
        }
        for stream in streams {
            if let Some(from) = from {
                self.wait(|side| side.heard_of(*stream, VISITOR, from)).await?;
            }
            self.cancel(*stream, VISITOR).await?;
        }
        Ok(())
    }

    /// Waits until all watches have been told everything, and compares what they were told.
    pub(super) async fn settle(&mut self) -> Outcome<()> {
        let streams = self.sides[0].streams.numbers();
        if streams.is_empty() {
            return Ok(());
        }
        self.guarded += 1;
        let (key, value) = (SENTINEL.into(), self.guarded.to_string().into());
        let put = pb::PutRequest { key, value, ..Default::default() };
        self.ask(&Call::new(Method::Put, &put)).await?;
        let revision = self.known.revision;
        if self.is_catching_up {
            self.visit(&streams, Some(revision)).await?;
            self.is_catching_up = false;
        }
        for stream in streams {
            let is_over = self.wait(|side| side.heard_of(stream, GUARD, revision)).await;
            self.compare_heard(stream).await?;
            is_over?;
        }
        Ok(())
    }

    async fn compare_heard(&mut self, stream: u64) -> Outcome<()> {
        let deadline = Instant::now() + SETTLE_MAX;
        loop {
            let [judge, mut ours] = [0, 1].map(|n| self.heard(n, stream));
            let late_max = self.unanswered.get(&stream).copied().unwrap_or_default();
            ours.0.forgive_late_progress(&judge.0, late_max);
            if judge == ours {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(difference(&judge, &ours));
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    fn heard(&self, side: usize, stream: u64) -> (Heard, BTreeMap<WatchName, Told>) {
        let heard = self.sides[side].streams.heard(stream);
        let is_flooded = self.sides[0].streams.look(stream, Heard::is_flooded) == Some(true);
        level_heard(heard, |name| is_flooded || self.past.contains(&(stream, name)))
    }

    async fn ask_for_progress(&mut self, stream: u64) -> Outcome<()> {
        self.settle().await?;
        let told = |run: &Self| run.sides[0].streams.look(stream, |heard| heard.progress.len());
        let before = told(self);
        *self.unanswered.entry(stream).or_default() += 1;
        let request = pb::WatchProgressRequest {};
        self.send(stream, Some(RequestUnion::ProgressRequest(request))).await;
        self.visit(&[stream], None).await?;
        self.settle().await?;
        if told(self) > before {
            *self.unanswered.entry(stream).or_default() -= 1;
        }
        Ok(())
    }

    async fn ask_too_early(&mut self, request: pb::WatchCreateRequest) -> Outcome<()> {
        const STREAM: u64 = 0;
        self.sides.iter_mut().for_each(|side| side.open(STREAM));
        let wish = RequestUnion::ProgressRequest(pb::WatchProgressRequest {});
        self.send(STREAM, Some(wish)).await;
        self.create(STREAM, request).await?;
        self.create(STREAM, on_sentinel(GUARD, 0)).await?;
        self.settle().await?;
        self.close(STREAM);
        Ok(())
    }

    async fn wait(&self, is_enough: impl Fn(&Side) -> bool) -> Outcome<()> {
        let deadline = Instant::now() + SETTLE_MAX;
        while !self.sides.iter().all(&is_enough) {
            if Instant::now() > deadline {
                let have_it = self.sides.each_ref().map(is_enough);
                return Err(format!("what must come does not: {have_it:?} of etcd, quorate"));
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Ok(())
    }
}

fn on_sentinel(watch_id: i64, start_revision: i64) -> pb::WatchCreateRequest {
    pb::WatchCreateRequest { key: SENTINEL.into(), watch_id, start_revision, ..Default::default() }
}
