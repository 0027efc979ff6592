//! Recipes of one step.

use core::fmt;

use super::{Answer, Failure, Recipe, Step};

/// One step, and how its answer is understood.
pub struct Once<T, E> {
    understand: fn(Answer<E>) -> Result<T, Failure<E>>,
}

/// The recipe and its step.
pub(super) type Begun<T, E> = (Once<T, E>, Step<Result<T, Failure<E>>>);

impl<T, E> Once<T, E> {
    pub(super) fn new(understand: fn(Answer<E>) -> Result<T, Failure<E>>) -> Self {
        Self { understand }
    }
}

impl<T, E> Recipe<E> for Once<T, E> {
    type Yield = Result<T, Failure<E>>;

    fn handle(&mut self, answer: Answer<E>) -> Step<Self::Yield> {
        Step::Yield(match answer {
            Answer::Refused(why) | Answer::Unavailable(why) => Err(Failure::Refused(why)),
            Answer::ClientGone => Err(Failure::Abandoned),
            answer => (self.understand)(answer),
        })
    }
}

impl<T, E> fmt::Debug for Once<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Once").finish_non_exhaustive()
    }
}
