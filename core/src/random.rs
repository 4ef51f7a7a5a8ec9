//! Reproducible random numbers: for the order of rounds and for resampling.

/// SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA
/// 2014): one word of state, passes BigCrush, good from any seed. Not for secrets.
#[derive(Clone, Debug)]
pub struct SplitMix64(u64);

impl SplitMix64 {
    /// The sequence of a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A seed that depends on all bits of the values.
    pub(crate) fn seeded_by(values: &[f64]) -> Self {
        values
            .iter()
            .fold(Self::new(values.len() as u64), |mut random, value| {
                Self::new(random.next_u64() ^ value.to_bits())
            })
    }

    /// All values alike.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// In 0 ≤ x < 1, in steps of 2⁻⁵³.
    pub fn uniform(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 * 0.5_f64.powi(53)
    }

    /// In 0 ≤ x < `end`; 0 for an empty range. The high word of a product: its bias is below
    /// `end / 2⁶⁴` (Lemire, "Fast random integer generation in an interval", 2019).
    pub fn below(&mut self, end: usize) -> usize {
        ((u128::from(self.next_u64()) * end as u128) >> 64) as usize
    }

    /// Brings `items` in an order of which each is equally likely (Fisher and Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.below(i + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sequence_is_the_published_one() {
        // The first values of the reference implementation for seed 1234567.
        let mut random = SplitMix64::new(1_234_567);
        let expected = [6_457_827_717_110_365_317, 3_203_168_211_198_807_973];
        assert_eq!([random.next_u64(), random.next_u64()], expected);
    }

    #[test]
    fn all_orders_are_equally_likely() {
        let mut random = SplitMix64::new(7);
        let mut seen = std::collections::BTreeMap::new();
        for _ in 0..6_000 {
            let mut items = [0, 1, 2];
            random.shuffle(&mut items);
            *seen.entry(items).or_insert(0) += 1;
        }
        assert_eq!(seen.len(), 6);
        // 1,000 each, standard deviation 29.
        assert!(
            seen.values().all(|&n| (850..1_150).contains(&n)),
            "{seen:?}"
        );
    }

    #[test]
    fn an_empty_range_gives_zero() {
        assert_eq!(SplitMix64::new(1).below(0), 0);
    }
}
