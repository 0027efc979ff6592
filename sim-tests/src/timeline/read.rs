//! From the lines of a trace to a picture.
//!
//! Every line begins with a sign that says what it is (`io-sim/src/world/describe.rs`). A message
//! is one line where it leaves and one line where it arrives, with the same words: each arrival
//! belongs to the oldest departure that has none.

use std::collections::{BTreeMap, VecDeque};

use quorate_io_sim::world::trace::Line;

use super::{Arrow, Call, Machine, Picture, Stream, Write};

/// What is being put together.
#[derive(Default)]
struct Reader {
    picture: Picture,
    /// Who each machine is now.
    ids: BTreeMap<usize, u64>,
    /// Arrows without an end, by sender's and receiver's id and words.
    under_way: BTreeMap<(u64, u64, String), VecDeque<usize>>,
    /// What each machine's clock showed at the world's beginning, in microseconds.
    clocks: BTreeMap<usize, i64>,
    /// Where open watch streams are.
    streams: BTreeMap<(usize, u64), usize>,
    /// Where open calls are: client and place among its calls.
    open: BTreeMap<u64, (usize, usize)>,
}

/// Reads lines. Seed, objection, faults and the lines themselves are left empty.
pub(super) fn read(lines: &[Line]) -> Picture {
    let mut reader = Reader::default();
    for line in lines {
        let at = line.at / 1_000;
        match line.node {
            Some(node) => reader.take_member_line(at, node, &line.text),
            None => reader.take_world_line(at, &line.text),
        }
    }
    reader.picture
}

impl Reader {
    fn machine(&mut self, node: usize) -> &mut Machine {
        let machines = &mut self.picture.machines;
        if machines.len() <= node {
            machines.resize_with(node + 1, Machine::default);
        }
        &mut machines[node]
    }

    fn take_member_line(&mut self, at: u64, node: usize, text: &str) {
        let words: Vec<&str> = text.split(' ').collect();
        match words.as_slice() {
            ["=", "start", "as", id] => self.start(at, node, number(id)),
            ["=", "clock", local, ppm] => self.set_clock(at, node, local, ppm),
            ["=", "stop", why @ ..] => self.stop(at, node, why.join(" ")),
            [sign @ ("<stream" | ">stream"), stream, what @ ..] => {
                self.take_frame(
                    at,
                    node,
                    number(stream),
                    &format!("{} {}", &sign[..1], what.join(" ")),
                );
            }
            [">role", term, "led", "by", leader] => {
                let own = self.ids.get(&node).copied();
                let leader = leader.parse().ok();
                let is_leader = leader.is_some() && leader == own;
                let term = number(term.trim_start_matches('t'));
                self.machine(node).roles.push((at, term, leader, is_leader));
            }
            [">commit-index", index] => self.machine(node).committed.push((at, number(index))),
            [">applied", index, ..] => self.machine(node).applied.push((at, number(index))),
            [kind @ (">sync" | ">write"), number, what @ ..] => {
                let what = format!("batch {number}: {}", what.join(" "));
                let is_synced = *kind == ">sync";
                self.machine(node).writes.push(Write {
                    from: at,
                    to: None,
                    what,
                    is_synced,
                    is_lost: false,
                });
            }
            ["<persisted", number] => self.persist(at, node, number),
            [peer, what @ ..] if !what.is_empty() => self.take_message(at, node, peer, what),
            _ => {}
        }
    }

    fn start(&mut self, at: u64, node: usize, id: u64) {
        self.ids.insert(node, id);
        let machine = self.machine(node);
        machine.lives.push((at, None));
        if machine.names.last().is_none_or(|(_, name)| *name != id) {
            machine.names.push((at, id));
        }
    }

    /// With it ends what it was about to write, and its watch streams.
    fn stop(&mut self, at: u64, node: usize, why: String) {
        let machine = self.machine(node);
        machine.lives.push((at, Some(why)));
        for write in machine.writes.iter_mut().rev().take_while(|it| it.to.is_none()) {
            (write.to, write.is_lost) = (Some(at), true);
        }
        let open = self.streams.extract_if((node, 0)..=(node, u64::MAX), |_, _| true);
        for (_, place) in open {
            self.picture.streams[place].to = Some(at);
        }
    }

    /// `local` in nanoseconds of its own.
    fn set_clock(&mut self, at: u64, node: usize, local: &str, ppm: &str) {
        let (Ok(local), Ok(ppm)) = (local.parse::<i64>(), ppm.parse()) else { return };
        let ahead = local / 1_000 - at as i64;
        let base = *self.clocks.entry(node).or_insert(ahead);
        self.machine(node).clock.push((at, ahead - base, ppm));
    }

    fn take_frame(&mut self, at: u64, machine: usize, number: u64, what: &str) {
        let streams = &mut self.picture.streams;
        if what == "< opened" {
            self.streams.insert((machine, number), streams.len());
            streams.push(Stream { number, machine, from: at, to: None, frames: Vec::new() });
            return;
        }
        let Some(place) = self.streams.get(&(machine, number)).copied() else { return };
        if what == "< closed" {
            streams[place].to = Some(at);
            self.streams.remove(&(machine, number));
        // Credit is not said by anybody.
        } else if !what.starts_with("< +") {
            streams[place].frames.push((at, what.to_string()));
        }
    }

    /// A batch and all before it are on disk.
    fn persist(&mut self, at: u64, node: usize, number: &str) {
        let writes = &mut self.machine(node).writes;
        let name = format!("batch {number}: ");
        let last = writes.iter().rposition(|write| write.what.starts_with(&name));
        let written = writes[..last.map_or(0, |place| place + 1)].iter_mut().rev();
        for write in written.take_while(|write| write.to.is_none()) {
            write.to = Some(at);
        }
    }

    /// `>2 MsgVote ..` leaves for member 2, `<1 MsgVote ..` comes from member 1.
    fn take_message(&mut self, at: u64, node: usize, peer: &str, what: &[&str]) {
        let Some(own) = self.ids.get(&node).copied() else { return };
        let (sign, id) = peer.split_at(1);
        let Ok(other) = id.parse::<u64>() else { return };
        let what = what.join(" ");
        match sign {
            ">" => {
                let place = self.picture.arrows.len();
                let waiting = self.under_way.entry((own, other, what.clone())).or_default();
                waiting.push_back(place);
                let to = self.ids.iter().find(|(_, id)| **id == other).map(|(to, _)| *to);
                let arrow = Arrow { from: node, to, sent: at, arrived: None, what };
                self.picture.arrows.push(arrow);
            }
            "<" => {
                let waiting = self.under_way.get_mut(&(other, own, what));
                let Some(place) = waiting.and_then(VecDeque::pop_front) else { return };
                let arrow = &mut self.picture.arrows[place];
                (arrow.to, arrow.arrived) = (Some(node), Some(at));
            }
            _ => {}
        }
    }

    /// `! heal`, `c7 #12 Put(..`, `c7 #12 = Response(..`.
    fn take_world_line(&mut self, at: u64, text: &str) {
        if text == "! heal" {
            self.picture.healed = Some(at);
        }
        let mut words = text.splitn(3, ' ');
        let (Some(client), Some(call), Some(rest)) = (words.next(), words.next(), words.next())
        else {
            return;
        };
        let client = client.strip_prefix('c').and_then(|it| it.parse::<usize>().ok());
        let call = call.strip_prefix('#').and_then(|it| it.parse::<u64>().ok());
        let (Some(client), Some(call)) = (client, call) else { return };
        match rest.strip_prefix("= ") {
            None => self.open_call(at, client, call, rest),
            Some(learned) => self.close_call(at, call, learned),
        }
    }

    fn open_call(&mut self, at: u64, client: usize, number: u64, asked: &str) {
        let clients = &mut self.picture.clients;
        if clients.len() <= client {
            clients.resize_with(client + 1, Vec::new);
        }
        let (asked, learned) = (asked.to_string(), String::new());
        let call = Call { number, from: at, to: None, asked, learned, revision: None };
        self.open.insert(number, (client, clients[client].len()));
        clients[client].push(call);
    }

    fn close_call(&mut self, at: u64, number: u64, learned: &str) {
        let Some((client, place)) = self.open.remove(&number) else { return };
        let call = &mut self.picture.clients[client][place];
        call.to = Some(at);
        call.learned = learned.to_string();
        let revision = learned.split_once(" revision: ").map(|(_, rest)| rest);
        call.revision = revision.and_then(|rest| rest.split(',').next()?.parse().ok());
    }
}

fn number(word: &str) -> u64 {
    word.parse().unwrap_or(0)
}
