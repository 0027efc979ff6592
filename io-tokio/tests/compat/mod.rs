//! One random script, two servers, one set of answers.
//!
//! ```text
//!   seed --> script --step--+--> a real etcd, the judge --+--> levelled --> equal?
//!              ^            `--> Quorate -----------------'        |
//!              `---- revisions, open watches, as the judge tells them
//! ```
//!
//! The script is a function of the seed and of the judge's answers, and those depend on nothing
//! but the script: the same seed asks the same questions. Steps go one by one; reads that follow
//! each other go together.
//!
//! - `script/`: what is asked.
//! - `side`, `streams`, `call`: how it is asked, and what was heard.
//! - `compare`: what may differ between any two etcds, in one table, and nothing else.
//! - `differences`: where Quorate means to differ, as listed in `docs/differences.md`.
//! - `run`: one script from its beginning to its end.

pub(crate) mod call;
pub(crate) mod compare;
pub(crate) mod differences;
pub(crate) mod judge;
pub(crate) mod luck;
pub(crate) mod run;
pub(crate) mod script;
pub(crate) mod side;
pub(crate) mod streams;
