//! Which calls are traced, as OpenTelemetry's samplers decide it.

use super::super::Caller;

/// Decides for calls that begin.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampler {
    /// What holds for traces that begin here.
    pub root: Root,
    /// Whether the caller's word goes before it, where there is one.
    pub follows_caller: bool,
}

/// What is sampled of the traces that begin here.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Root {
    /// All of them.
    All,
    /// None.
    None,
    /// This part of them, 0 to 1, by the number of the trace: who samples the same part
    /// samples the same traces.
    Part(f64),
}

impl Sampler {
    /// Whether the call is traced.
    pub(super) fn wants(&self, caller: Option<&Caller>, trace: u128) -> bool {
        let said = caller.filter(|_| self.follows_caller).and_then(|caller| caller.sampled);
        said.unwrap_or_else(|| self.root.wants(trace))
    }
}

impl Root {
    fn wants(self, trace: u128) -> bool {
        match self {
            Self::All => true,
            Self::None => false,
            Self::Part(part) if part >= 1.0 => true,
            // The low 63 bits are what the kits of other languages go by.
            Self::Part(part) => ((trace as u64) >> 1) < (part * (1_u64 << 63) as f64) as u64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_traces_are_what_they_say() {
        let check = |part, low: u32, high: u32| {
            let mut random = fastrand::Rng::with_seed(7);
            let sampler = Sampler { root: Root::Part(part), follows_caller: true };
            let sampled = (0..10_000).filter(|_| sampler.wants(None, random.u128(1..))).count();
            assert!((low as usize..=high as usize).contains(&sampled), "{part}: {sampled}");
        };
        check(0.0, 0, 0);
        check(1.0, 10_000, 10_000);
        check(0.1, 900, 1100);
        check(0.5, 4800, 5200);
    }

    #[test]
    fn a_part_samples_what_other_kits_sample() {
        let half = Root::Part(0.5);
        assert!(half.wants(0xffff_ffff_ffff_ffff_7fff_ffff_ffff_ffff));
        assert!(!half.wants(0x0000_0000_0000_0000_8000_0000_0000_0000));
    }
}
