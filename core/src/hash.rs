//! Hashes of texts that are the same in all versions and on all machines. Not for secrets.

use std::hash::Hasher;

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

/// A hash that takes eight bytes at a step, for what is compared with another version of itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Digest(u64);

impl Digest {
    pub(crate) fn new() -> Self {
        Self(0)
    }

    /// The high half of a product depends on all bits of both factors, its low half does not.
    fn word(&mut self, word: u64) {
        let product = u128::from(self.0 ^ word ^ 0x9e37_79b9_7f4a_7c15) * 0xbf58_476d_1ce4_e5b9;
        self.0 = self.0.rotate_left(23) ^ (product >> 64) as u64 ^ product as u64;
    }
}

impl Hasher for Digest {
    /// Adds bytes; where they end counts, too.
    fn write(&mut self, bytes: &[u8]) {
        self.word(bytes.len() as u64);
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.word(u64::from_le_bytes(word));
        }
    }

    fn write_u64(&mut self, number: u64) {
        self.word(number);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// A hash of two hashes, in this order.
pub(crate) fn paired(first: u64, second: u64) -> u64 {
    SplitMix64::new(first.rotate_left(32) ^ second).next_u64()
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
    fn a_digest_depends_on_each_byte_and_on_where_texts_end() {
        let of = |texts: &[&str]| {
            let mut digest = Digest::new();
            texts.iter().for_each(|text| digest.write(text.as_bytes()));
            digest.finish()
        };
        let mut digests: Vec<u64> = (0..100_000)
            .map(|n| of(&[&format!("pod-{n}"), "x"]))
            .collect();
        digests.extend(
            [
                &["ab", "c"][..],
                &["a", "bc"],
                &["abc"],
                &["abc", ""],
                &["abc\0"],
                &[],
            ]
            .map(of),
        );
        let all = digests.len();
        digests.sort_unstable();
        digests.dedup();
        assert_eq!(digests.len(), all);
    }

    #[test]
    fn a_pair_has_another_hash_the_other_way() {
        let all: std::collections::BTreeSet<u64> = (0..300)
            .flat_map(|a| (0..300).map(move |b| paired(mixed(&["x"]) ^ a, mixed(&["x"]) ^ b)))
            .collect();
        assert_eq!(all.len(), 300 * 300);
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
