//! The fixed window: a count that starts anew when a window begins.

use super::Window;
use super::operation::{Action, COUNT_MAX, Count};
use crate::clock::Timestamp;

/// A counter's state between operations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// The second in which the counted window starts.
    pub start: u64,
    /// The count in that window.
    pub count: u64,
}

impl State {
    /// The second from which the state says nothing any more.
    pub fn expires(self, window: Window) -> u64 {
        self.start.saturating_add(window.as_secs())
    }
}

/// One operation on one counter. A clock that goes back stays in the window it was in:
/// what was counted is never forgotten early.
pub fn step(window: Window, state: State, action: Action, now: Timestamp) -> (State, Count) {
    let start = window.start(now);
    let state = if start > state.start { State { start, count: 0 } } else { state };
    let after = match action {
        Action::Spend(hits) => state.count.saturating_add(hits).min(COUNT_MAX),
        Action::GiveBack(hits) => state.count.saturating_sub(hits),
    };
    (State { count: after, ..state }, Count { after })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(actions: &[(u64, Action)]) -> Vec<u64> {
        let mut state = State::default();
        let step = |&(secs, action): &(u64, Action)| {
            let (next, count) =
                step(Window::from_secs(60), state, action, Timestamp::from_secs(secs));
            state = next;
            count.after
        };
        actions.iter().map(step).collect()
    }

    #[test]
    fn counts_within_a_window_and_starts_anew_in_the_next() {
        use Action::{GiveBack, Spend};
        assert_eq!(run(&[(60, Spend(2)), (119, Spend(3)), (120, Spend(1))]), [2, 5, 1]);
        assert_eq!(run(&[(60, Spend(2)), (61, Spend(0)), (62, GiveBack(9))]), [2, 2, 0]);
        assert_eq!(run(&[(60, Spend(u64::MAX)), (61, Spend(1))]), [COUNT_MAX, COUNT_MAX]);
    }

    #[test]
    fn a_clock_that_goes_back_does_not_forget() {
        use Action::Spend;
        assert_eq!(run(&[(120, Spend(5)), (60, Spend(1)), (121, Spend(1))]), [5, 6, 7]);
    }
}
