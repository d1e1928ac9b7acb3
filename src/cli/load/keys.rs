//! Which key a call asks for.
//!
//! Pure: the same seed draws the same keys.

use std::fmt;
use std::str::FromStr;

use super::zipf::Zipf;

/// How calls spread over the keys.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Distribution {
    /// All calls ask for key 0.
    One,
    /// Every key is as likely as the other.
    Uniform,
    /// Key k, from 0, is drawn in proportion to 1 / (k+1)^s.
    Zipf(f64),
}

impl FromStr for Distribution {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':').map_or((text, None), |(name, s)| (name, Some(s))) {
            ("one", None) => Ok(Self::One),
            ("uniform", None) => Ok(Self::Uniform),
            ("zipf", None) => Ok(Self::Zipf(1.0)),
            ("zipf", Some(s)) => match s.parse() {
                Ok(s) if s > 0.0 && s <= 10.0 => Ok(Self::Zipf(s)),
                _ => Err(format!("{s:?} is no exponent; it is above 0, up to 10")),
            },
            _ => Err(format!("{text:?} is none of one, uniform, zipf and zipf:EXPONENT")),
        }
    }
}

impl fmt::Display for Distribution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One => f.write_str("one"),
            Self::Uniform => f.write_str("uniform"),
            Self::Zipf(s) => write!(f, "zipf:{s}"),
        }
    }
}

/// Draws keys, endlessly.
#[derive(Debug)]
pub(super) struct Keys {
    random: fastrand::Rng,
    draw: Draw,
}

#[derive(Debug)]
enum Draw {
    One,
    Uniform(u64),
    Zipf(Zipf),
}

impl Keys {
    /// Of the keys 0 to `count` - 1; `count` is at least 1.
    pub(super) fn new(distribution: Distribution, count: u64, seed: u64) -> Self {
        let draw = match distribution {
            Distribution::Uniform if count > 1 => Draw::Uniform(count),
            Distribution::Zipf(exponent) if count > 1 => Draw::Zipf(Zipf::new(count, exponent)),
            _ => Draw::One,
        };
        Self { random: fastrand::Rng::with_seed(seed), draw }
    }

    /// The next key.
    pub(super) fn draw(&mut self) -> u64 {
        match &self.draw {
            Draw::One => 0,
            Draw::Uniform(count) => self.random.u64(..count),
            Draw::Zipf(zipf) => zipf.draw(&mut self.random) - 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distributions_are_read_as_written() {
        let check = |text: &str, expected| {
            let read = text.parse::<Distribution>();
            assert_eq!(read.ok(), expected, "{text}");
        };
        check("one", Some(Distribution::One));
        check("uniform", Some(Distribution::Uniform));
        check("zipf", Some(Distribution::Zipf(1.0)));
        check("zipf:0.9", Some(Distribution::Zipf(0.9)));
        for wrong in ["", "two", "one:1", "zipf:", "zipf:0", "zipf:-1", "zipf:NaN", "zipf:inf"] {
            check(wrong, None);
        }
    }

    #[test]
    fn draws_repeat_with_the_seed_and_reach_every_key() {
        let draws = |distribution, seed| -> Vec<u64> {
            let mut keys = Keys::new(distribution, 8, seed);
            (0..1000).map(|_| keys.draw()).collect()
        };
        for distribution in [Distribution::Uniform, Distribution::Zipf(1.0)] {
            assert_eq!(draws(distribution, 3), draws(distribution, 3));
            assert_ne!(draws(distribution, 3), draws(distribution, 4));
            let mut reached = draws(distribution, 3);
            reached.sort_unstable();
            reached.dedup();
            assert_eq!(reached, (0..8).collect::<Vec<_>>(), "{distribution}");
        }
        assert_eq!(draws(Distribution::One, 3), [0; 1000]);
    }
}
