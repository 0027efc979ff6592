//! What the fuzzers found worth keeping is put to every build, and nothing panics on any thread.

use std::sync::atomic::{AtomicUsize, Ordering};

use quorate_fuzz::{client, corpus, gateway, peer, seeds};

static PANICS: AtomicUsize = AtomicUsize::new(0);

/// Counts panics of threads and tasks nobody waits for, too.
fn count_panics() {
    let tell = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        PANICS.fetch_add(1, Ordering::Relaxed);
        tell(info);
    }));
}

fn replay(target: &str, run: fn(&[u8])) {
    count_panics();
    let put = |input: &Vec<u8>| {
        run(input);
        assert_eq!(PANICS.load(Ordering::Relaxed), 0, "{target}: {}", input.escape_ascii());
    };
    let seeds = seeds::of(target);
    assert!(!seeds.is_empty());
    seeds.iter().for_each(put);
    let packed = std::fs::read(corpus::path(target)).expect("a corpus is part of the workspace");
    let kept = corpus::read(&packed);
    assert!(kept.len() > 100, "only {} inputs", kept.len());
    kept.iter().for_each(put);
}

#[test]
fn what_clients_send() {
    replay("client", client::run);
}

#[test]
fn what_clients_of_the_gateway_send() {
    replay("gateway", gateway::run);
}

#[test]
fn what_other_members_send() {
    replay("peer", peer::run);
}

/// One input by itself: the file that `QUORATE_FUZZ_INPUT` names, put to the target of
/// `QUORATE_FUZZ_TARGET`.
#[test]
fn one_input() {
    let Some(file) = std::env::var_os("QUORATE_FUZZ_INPUT") else { return };
    let input = std::fs::read(file).expect("the file can be read");
    match std::env::var("QUORATE_FUZZ_TARGET").as_deref() {
        Ok("gateway") => gateway::run(&input),
        Ok("peer") => peer::run(&input),
        _ => client::run(&input),
    }
}
