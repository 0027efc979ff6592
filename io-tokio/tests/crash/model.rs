//! What may be found after a crash: all that was said to be safe, and of what came after it some
//! first part. A record of the log is there or not; a batch of rows is there as a whole or not.

use super::story::{
    Append, Found, Hard, Log, Mark, Rows, Step, Word, apply, digest, writes_of_all,
};

/// A record of the log.
#[derive(Clone, Debug)]
enum Record {
    Restart(Mark),
    Entry(Mark),
    Hard(Hard),
    Cut(Mark),
}

/// See the module.
#[derive(Default)]
pub(crate) struct Model {
    log: Log,
    records: Vec<Record>,
    rows: Rows,
    stored: Mark,
    /// Entries whose rows came together, or as an image.
    batches: Vec<Vec<Mark>>,
    /// The step under way.
    step: Option<Step>,
    /// What was found when it was opened.
    pub(crate) has_opened: bool,
}

impl Model {
    /// Hears a word; an error if it tells of something that must not be.
    pub(crate) fn hear(&mut self, word: Word) -> Result<(), String> {
        match word {
            Word::Found(found) => self.find(&found),
            Word::Refused(why) => Err(format!("it does not open: {why}")),
            Word::Failed(why) => Err(format!("{:?} failed: {why}", self.step)),
            Word::Begins(step) => {
                self.begin(&step);
                self.step = Some(step);
                Ok(())
            }
            Word::Done => {
                if let Some(step) = self.step.take() {
                    self.end(&step);
                }
                Ok(())
            }
        }
    }

    /// A life begins.
    pub(crate) fn start(&mut self) {
        (self.step, self.has_opened) = (None, false);
    }

    fn begin(&mut self, step: &Step) {
        match step {
            Step::Append(batches) => batches.iter().for_each(|batch| self.append(batch)),
            Step::Cut(mark) => self.records.push(Record::Cut(*mark)),
            Step::Write(marks) | Step::Install(marks) => self.batches.push(marks.clone()),
            Step::SyncLog | Step::SyncStore | Step::Tidy => {}
        }
    }

    fn append(&mut self, batch: &Append) {
        self.records.extend(batch.image.map(Record::Restart));
        self.records.extend(batch.entries.iter().copied().map(Record::Entry));
        self.records.extend(batch.hard.map(Record::Hard));
    }

    fn end(&mut self, step: &Step) {
        match step {
            Step::Append(batches) if batches.iter().any(|it| it.must_sync) => self.settle_log(),
            Step::Cut(_) | Step::SyncLog => self.settle_log(),
            Step::SyncStore | Step::Install(_) => self.settle_rows(self.batches.len()),
            Step::Append(_) | Step::Write(_) | Step::Tidy => {}
        }
    }

    fn settle_log(&mut self) {
        let records = std::mem::take(&mut self.records);
        records.into_iter().for_each(|record| take(&mut self.log, record));
    }

    fn settle_rows(&mut self, count: usize) {
        for marks in self.batches.drain(..count) {
            self.stored = marks.last().copied().unwrap_or(self.stored);
            apply(&mut self.rows, writes_of_all(&marks));
        }
    }

    /// Holds what a start found against what may be there. From then on it must stay.
    fn find(&mut self, found: &Found) -> Result<(), String> {
        let ends = self.batches.iter().filter_map(|marks| marks.last()).copied();
        let mut ends = std::iter::once(self.stored).chain(ends);
        let Some(count) = ends.position(|end| end == found.stored) else {
            let (stored, batches) = (self.stored, &self.batches);
            return Err(format!("{:?} stored, not {stored:?} or of {batches:?}", found.stored));
        };
        self.settle_rows(count);
        self.batches.clear();
        let rows = self.rows.iter().map(|((table, key), value)| (*table, &key[..], &value[..]));
        if digest(rows) != found.digest {
            return Err(format!("other rows than those of {:?}", found.stored));
        }
        let mut log = self.log.clone();
        let mut may_be = vec![view(&log, found.stored)];
        for record in self.records.drain(..) {
            take(&mut log, record);
            may_be.push(view(&log, found.stored));
        }
        if !may_be.contains(&found.log) {
            let (stored, log) = (found.stored, &found.log);
            return Err(format!("{stored:?} stored, the log is {log:?}, not one of {may_be:?}"));
        }
        self.log = found.log.clone();
        self.has_opened = true;
        Ok(())
    }
}

fn take(log: &mut Log, record: Record) {
    match record {
        Record::Entry(entry) => log.put(entry),
        Record::Hard(hard) => log.hard = hard,
        Record::Cut(mark) => log.cut(mark),
        Record::Restart(mark) => (log.mark, log.terms) = (mark, Vec::new()),
    }
}

/// A log as a start shows it beside a store that goes up to `stored`.
fn view(log: &Log, stored: Mark) -> Log {
    let mut log = log.clone();
    let reaches = log.last() >= stored.index;
    let parts = log.term_at(stored.index).is_some_and(|term| term != stored.term);
    if !reaches || parts {
        (log.mark, log.terms) = (stored, Vec::new());
    }
    let term = log.terms.last().copied().unwrap_or(0).max(log.mark.term);
    if log.hard.term < term {
        (log.hard.term, log.hard.vote) = (term, 0);
    }
    log.hard.commit = log.hard.commit.max(log.mark.index);
    log
}
