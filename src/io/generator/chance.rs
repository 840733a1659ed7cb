//! Dice: the same throws for the same seed. Not for secrets.

/// SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014).
#[derive(Clone, Debug)]
pub(super) struct Chance(u64);

/// SplitMix64's finisher: spreads neighbouring numbers over all 64 bits.
pub(super) fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl Chance {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// From 0 to below `bound`; 0 for a bound of 0. The bias of the product is below 2^-32 for the bounds used here.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }

    /// From 0 to below 1.
    pub(super) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// True with this probability.
    pub(super) fn once_in(&mut self, share: f64) -> bool {
        share > 0.0 && self.unit() < share
    }

    pub(super) fn one_of<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len() as u64) as usize]
    }
}

/// Ranks by Zipf's law: rejection inversion (Hörmann and Derflinger, 1996), constant time and memory whatever the number.
#[derive(Clone, Debug)]
pub(super) struct Zipf {
    count: u64,
    exponent: f64,
    integral_first: f64,
    integral_last: f64,
    shortcut: f64,
}

impl Zipf {
    /// Ranks from 0 to below `count`; exponent 0 is uniform.
    pub(super) fn new(count: u64, exponent: f64) -> Self {
        let mut zipf = Self { count: count.max(1), exponent, integral_first: 0.0, integral_last: 0.0, shortcut: 0.0 };
        zipf.integral_first = zipf.integral(1.5) - 1.0;
        zipf.integral_last = zipf.integral(zipf.count as f64 + 0.5);
        zipf.shortcut = 2.0 - zipf.inverse(zipf.integral(2.5) - zipf.weight(2.0));
        zipf
    }

    pub(super) fn rank(&self, chance: &mut Chance) -> u64 {
        if self.exponent <= 0.0 {
            return chance.below(self.count);
        }
        loop {
            let u = self.integral_last + chance.unit() * (self.integral_first - self.integral_last);
            let x = self.inverse(u);
            let k = x.round().clamp(1.0, self.count as f64);
            if k - x <= self.shortcut || u >= self.integral(k + 0.5) - self.weight(k) {
                return k as u64 - 1;
            }
        }
    }

    fn weight(&self, x: f64) -> f64 {
        (-self.exponent * x.ln()).exp()
    }

    /// The integral of the weight: (x^(1-s) - 1) / (1-s), or ln x where s is 1.
    fn integral(&self, x: f64) -> f64 {
        let log = x.ln();
        let t = (1.0 - self.exponent) * log;
        log * if t.abs() > 1e-8 { t.exp_m1() / t } else { 1.0 + t / 2.0 }
    }

    fn inverse(&self, y: f64) -> f64 {
        let t = (y * (1.0 - self.exponent)).max(-1.0);
        (y * if t.abs() > 1e-8 { t.ln_1p() / t } else { 1.0 - t / 2.0 }).exp()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: ranks follow Zipf's law. Method: count throws, compare the first ranks' shares with the law's.
    #[test]
    fn ranks_follow_the_law() {
        for exponent in [0.0, 0.8, 0.99, 1.0, 1.2] {
            let (mut chance, zipf, throws) = (Chance::new(7), Zipf::new(1_000, exponent), 200_000);
            let mut counts = vec![0_u32; 1_000];
            (0..throws).for_each(|_| counts[zipf.rank(&mut chance) as usize] += 1);
            let total: f64 = (1..=1_000).map(|k| f64::from(k).powf(-exponent)).sum();
            for (rank, count) in counts.iter().enumerate().take(5) {
                let want = f64::from(throws) * (rank as f64 + 1.0).powf(-exponent) / total;
                // Six standard deviations of a Poisson count.
                assert!((f64::from(*count) - want).abs() < 6.0 * want.sqrt(), "s={exponent} rank {rank}: {count}, law {want:.0}");
            }
        }
    }

    /// Goal: one seed, one run. Method: two dice of one seed, and one of another.
    #[test]
    fn one_seed_gives_one_run() {
        let run = |seed| {
            (0..9).map(|_| Chance::new(seed).next()).chain(std::iter::once(Chance::new(seed).below(0))).collect::<Vec<_>>()
        };
        assert_eq!(run(1), run(1));
        assert_ne!(run(1), run(2));
    }
}
