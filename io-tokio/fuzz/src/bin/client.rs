//! Fuzzes what clients send.
#![no_main]

use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};
use quorate_fuzz::{client, corpus, records};

fuzz_target!(init: corpus::prepare("client"), |input: &[u8]| client::run(input));

fuzz_mutator!(|input: &mut [u8], size: usize, max_size: usize, seed: u32| {
    records::mutate(&mut input[..max_size], size, seed, |bytes, size| {
        let room = bytes.len();
        fuzzer_mutate(bytes, size, room)
    })
});
