//! Hashes of texts that are the same in all versions and on all machines. Not for secrets.

use crate::random::SplitMix64;

/// FNV-1a of 64 bits (Fowler, Noll and Vo; draft-eastlake-fnv).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fnv(u64);

impl Fnv {
    pub(crate) fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    pub(crate) fn add(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    pub(crate) fn value(self) -> u64 {
        self.0
    }
}

/// A hash of some texts in which each bit depends on all of them: FNV alone leaves those of
/// `node-1` and `node-2` close to each other.
pub(crate) fn mixed(texts: &[&str]) -> u64 {
    let mut hash = Fnv::new();
    for text in texts {
        hash.add(text.as_bytes());
        // In no UTF-8 text.
        hash.add(&[0xff]);
    }
    SplitMix64::new(hash.value()).next_u64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_the_published_one() {
        let of = |text: &str| {
            let mut hash = Fnv::new();
            hash.add(text.as_bytes());
            hash.value()
        };
        assert_eq!(of(""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(of("a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(of("foobar"), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn names_that_are_alike_lie_apart() {
        let hashes: std::collections::BTreeSet<u64> = (0..1_000)
            .map(|n| mixed(&[&format!("node-{n}")]) >> 54)
            .collect();
        // 1,000 into 1,024: 1,024 · (1 − 1/e) ≈ 638 are met.
        assert!((590..690).contains(&hashes.len()), "{}", hashes.len());
        assert_ne!(mixed(&["ab", "c"]), mixed(&["a", "bc"]));
    }
}
