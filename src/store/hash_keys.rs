//! The keys of the hashes by which tables here find what they hold.
//!
//! They are random, so that nobody can look for counters that meet in one place; whoever
//! replays what happened gives the same ones again.

use std::hash::{BuildHasher, RandomState};

use siphasher::sip128::SipHasher13;

/// The keys of one process.
#[derive(Clone, Copy, Debug)]
pub struct HashKeys(u64, u64);

impl HashKeys {
    /// Keys that are always the same, for replays alone.
    pub const fn fixed(seed: u64) -> Self {
        Self(seed, !seed)
    }
}

impl Default for HashKeys {
    /// Random ones.
    fn default() -> Self {
        let random = RandomState::new();
        Self(random.hash_one(0), random.hash_one(1))
    }
}

impl BuildHasher for HashKeys {
    type Hasher = SipHasher13;

    fn build_hasher(&self) -> SipHasher13 {
        SipHasher13::new_with_keys(self.0, self.1)
    }
}
