//! The world's verdicts and madsim's are equal, right or wrong. More seeds:
//! `quorate-sim on-madsim --seeds 500`, built with the cfg.
#![cfg(madsim)]

use quorate_sim_tests::second::{ask_both, plan, try_out};

const SECONDS: u64 = 5;

#[test]
fn both_schedulers_find_nothing() {
    for seed in 0..10 {
        let opinions = ask_both(&plan(seed, 3, SECONDS));
        assert_eq!(opinions.world, None, "seed {seed}");
        assert_eq!(opinions.trial.violation, None, "seed {seed}");
        // Everything takes longer there: fewer calls fit into the same time.
        assert!(opinions.trial.answered > 50, "seed {seed}: {:?}", opinions.trial);
    }
}

#[test]
fn a_trial_is_the_same_twice() {
    let plan = plan(3, 3, SECONDS);
    assert_eq!(try_out(&plan), try_out(&plan));
}
