//! Zipf's distribution: key number k is drawn in proportion to 1 / k^s.
//!
//! Pure. Sampled by rejection-inversion (Hörmann and Derflinger, 1996): constant memory and
//! constant expected time for any number of keys.

/// A sampler of the numbers 1 to n.
#[derive(Clone, Debug)]
pub(super) struct Zipf {
    n: f64,
    exponent: f64,
    /// The integral of the density at 1.5 less 1, and at n + 0.5: between them it is inverted.
    low: f64,
    high: f64,
    /// What lies at most this far below its number is taken without a further look.
    shortcut: f64,
}

impl Zipf {
    /// For `n` of at least 1 and a positive `exponent`.
    pub(super) fn new(n: u64, exponent: f64) -> Self {
        let mut zipf = Self { n: n as f64, exponent, low: 0.0, high: 0.0, shortcut: 0.0 };
        zipf.low = zipf.integral(1.5) - 1.0;
        zipf.high = zipf.integral(zipf.n + 0.5);
        zipf.shortcut = 2.0 - zipf.inverse(zipf.integral(2.5) - zipf.density(2.0));
        zipf
    }

    /// A number from 1 to n.
    pub(super) fn draw(&self, random: &mut fastrand::Rng) -> u64 {
        loop {
            let area = self.high + random.f64() * (self.low - self.high);
            let x = self.inverse(area);
            let k = x.round().clamp(1.0, self.n);
            if k - x <= self.shortcut || area >= self.integral(k + 0.5) - self.density(k) {
                return k as u64;
            }
        }
    }

    fn density(&self, x: f64) -> f64 {
        (-self.exponent * x.ln()).exp()
    }

    /// (x^(1-s) - 1) / (1-s), which is ln x for s = 1.
    fn integral(&self, x: f64) -> f64 {
        let log = x.ln();
        let t = (1.0 - self.exponent) * log;
        if t.abs() > 1e-8 { t.exp_m1() / t * log } else { log * (1.0 + t / 2.0) }
    }

    /// The x of an integral.
    fn inverse(&self, area: f64) -> f64 {
        // Rounding must not take the logarithm of less than nothing.
        let t = (area * (1.0 - self.exponent)).max(-1.0);
        let log = if t.abs() > 1e-8 { t.ln_1p() / t } else { 1.0 - t / 2.0 };
        (log * area).exp()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pearson's statistic of `draws` draws against the exact probabilities.
    fn chi_squared(n: u64, exponent: f64, draws: u64) -> f64 {
        let zipf = Zipf::new(n, exponent);
        let mut random = fastrand::Rng::with_seed(7);
        let mut seen = vec![0_u64; n as usize];
        for _ in 0..draws {
            seen[zipf.draw(&mut random) as usize - 1] += 1;
        }
        let weight = |k: usize| ((k + 1) as f64).powf(-exponent);
        let total: f64 = (0..seen.len()).map(weight).sum();
        let term = |(k, &seen): (usize, &u64)| {
            let expected = draws as f64 * weight(k) / total;
            (seen as f64 - expected).powi(2) / expected
        };
        seen.iter().enumerate().map(term).sum()
    }

    #[test]
    fn draws_are_in_proportion() {
        // 43.8 is passed by one sample in a million with 9 degrees of freedom, 173 with 99.
        let check = |n, exponent, bound| {
            let statistic = chi_squared(n, exponent, 300_000);
            assert!(statistic < bound, "{n} keys, s = {exponent}: {statistic}");
        };
        for exponent in [0.2, 0.99, 1.0, 1.01, 2.0] {
            check(10, exponent, 43.8);
            check(100, exponent, 173.0);
        }
    }

    #[test]
    fn the_statistic_notices_a_wrong_exponent() {
        let zipf = Zipf::new(10, 1.0);
        let mut random = fastrand::Rng::with_seed(7);
        let ones = (0..300_000).filter(|_| zipf.draw(&mut random) == 1).count();
        // The first of ten has 1 / 2.929 of the draws; with s = 1.1 it would have 0.38.
        assert!((ones as f64 / 300_000.0 - 0.3414).abs() < 0.005, "{ones}");
    }

    #[test]
    fn many_keys_stay_in_range() {
        for (n, exponent) in [(1, 1.0), (2, 0.5), (5_000_000, 0.9), (5_000_000, 1.3)] {
            let zipf = Zipf::new(n, exponent);
            let mut random = fastrand::Rng::with_seed(1);
            assert!((0..10_000).all(|_| (1..=n).contains(&zipf.draw(&mut random))), "{n}");
        }
    }
}
