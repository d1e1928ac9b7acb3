//! What occurs most in a stream, in bounded memory: Space-Saving, with counts that fade.
//!
//! Of everything it holds, the sketch knows two bounds: the true count is not above `most`
//! and not below `least`. What it does not hold has occurred `unseen` times at most. Fading
//! halves all of that at once, true counts included, and halves of such numbers are exact.
//! Pure: turns of fading come in as a number that grows.

/// Counts what occurs.
#[derive(Debug)]
pub(super) struct Sketch {
    room: usize,
    held: Vec<Held>,
    unseen: f64,
    turn: u64,
}

/// Something that has occurred.
#[derive(Clone, Debug)]
pub(super) struct Held {
    key: u64,
    /// Not more often than that.
    pub(super) most: f64,
    /// Not less often than that.
    pub(super) least: f64,
    /// What it is.
    pub(super) what: What,
}

/// What is counted, in words. Its texts are used again for what takes its place.
#[derive(Clone, Debug, Default)]
pub(super) struct What {
    /// The path of the rule.
    pub(super) rule: String,
    /// The values, as they are shown.
    pub(super) values: String,
}

impl Sketch {
    /// A sketch with room for so many, at least one.
    pub(super) fn new(room: usize) -> Self {
        Self { room: room.max(1), held: Vec::new(), unseen: 0.0, turn: 0 }
    }

    /// Counts one. `describe` is asked what it is if the sketch does not hold it yet.
    pub(super) fn note(&mut self, key: u64, turn: u64, describe: impl FnOnce(&mut What)) {
        self.fade(turn);
        if let Some(held) = self.held.iter_mut().find(|held| held.key == key) {
            held.most += 1.0;
            held.least += 1.0;
            return;
        }
        let mut what = self.make_room();
        what.rule.clear();
        what.values.clear();
        describe(&mut what);
        self.held.push(Held { key, most: self.unseen + 1.0, least: 1.0, what });
    }

    /// All that is held, as of `turn`.
    pub(super) fn held(&mut self, turn: u64) -> &[Held] {
        self.fade(turn);
        &self.held
    }

    /// Gives up the one that has occurred least, if there is no room; hands its texts on.
    fn make_room(&mut self) -> What {
        if self.held.len() < self.room {
            return What::default();
        }
        let by_most = |(_, one): &(usize, &Held), (_, other): &(usize, &Held)| {
            one.most.total_cmp(&other.most)
        };
        let least = self.held.iter().enumerate().min_by(by_most).map(|(index, _)| index);
        least.map_or_else(What::default, |index| {
            let given_up = self.held.swap_remove(index);
            self.unseen = self.unseen.max(given_up.most);
            given_up.what
        })
    }

    /// Halves every count for each turn since the last; what is as good as nothing goes.
    fn fade(&mut self, turn: u64) {
        let turns = turn.saturating_sub(self.turn).min(1100) as i32;
        if turns == 0 {
            return;
        }
        self.turn = turn;
        let left = 0.5_f64.powi(turns);
        self.unseen *= left;
        for held in &mut self.held {
            held.most *= left;
            held.least *= left;
        }
        let unseen = &mut self.unseen;
        self.held.retain(|held| {
            let stays = held.most >= 0.5;
            if !stays {
                *unseen = unseen.max(held.most);
            }
            stays
        });
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// For any stream, any room and any fading.
        #[test]
        fn the_true_count_is_within_the_bounds(
            room in 1_usize..8,
            stream in prop::collection::vec((0_u64..20, 0_u64..40), 0..400),
        ) {
            let mut sketch = Sketch::new(room);
            let mut truth: HashMap<u64, f64> = HashMap::new();
            let mut turn = 0;
            for (key, pause) in stream {
                // Now and then a turn passes, rarely two.
                let turns = pause.saturating_sub(37);
                turn += turns;
                truth.values_mut().for_each(|count| *count *= 0.5_f64.powi(turns as i32));
                *truth.entry(key).or_default() += 1.0;
                sketch.note(key, turn, |what| what.rule = key.to_string());
                prop_assert!(sketch.held.len() <= room);
            }
            let total: f64 = truth.values().sum();
            let held = sketch.held(turn).to_vec();
            for (key, count) in truth {
                match held.iter().find(|held| held.key == key) {
                    Some(held) => {
                        prop_assert!(held.most >= count && held.least <= count);
                        prop_assert_eq!(&held.what.rule, &key.to_string());
                    }
                    None => prop_assert!(sketch.unseen >= count),
                }
            }
            // Whoever has more than its share of the room is held.
            prop_assert!(sketch.unseen <= total / room as f64 + 0.5);
        }
    }

    #[test]
    fn what_is_over_is_forgotten() {
        let mut sketch = Sketch::new(10);
        for _ in 0..1000 {
            sketch.note(1, 0, |_| {});
        }
        assert_eq!(sketch.held(3)[0].most, 125.0);
        assert_eq!(sketch.held(9)[0].most, 1000.0 / 512.0);
        assert!(sketch.held(11).is_empty());
        sketch.note(2, u64::MAX, |_| {});
        assert_eq!(sketch.held(u64::MAX).len(), 1);
    }
}
