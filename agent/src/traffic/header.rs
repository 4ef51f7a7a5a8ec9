//! The first bytes of every message: whose it is, and which one.
//!
//! | bytes | big endian |
//! |---|---|
//! | 0–3 | [`MAGIC`] |
//! | 4–7 | the run: FNV-1a of its id |
//! | 8 | a [`Wish`], 0 for none; of `udp_stream` what it is |
//! | 9–15 | the sequence number |
//!
//! A response repeats its request's header. On UDP the probe reads the low 32 bits of the
//! sequence number (bytes 12–15) to recognise a datagram on the wire.

use nettoll_core::api::SLOWEST;

/// `ntol`: no message of anybody else begins so by chance.
pub(crate) const MAGIC: u32 = 0x6e74_6f6c;
/// Bytes of a header, hence of the smallest message.
pub(crate) const HEADER_BYTES: usize = 16;

/// A run's identity in its messages: FNV-1a with 32 bits (Fowler, Noll, Vo).
pub(crate) fn run_hash(id: &str) -> u32 {
    let step = |hash: u32, byte: u8| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
    id.bytes().fold(0x811c_9dc5, step)
}

/// A message of `bytes` with the run's header and sequence number 0; the rest is filled with
/// what does not compress, at least [`HEADER_BYTES`] in all.
pub(crate) fn message(run: u32, bytes: usize) -> Box<[u8]> {
    let mut random = nettoll_core::random::SplitMix64::new(u64::from(run));
    let mut message = vec![0; bytes.max(HEADER_BYTES)];
    message.fill_with(|| random.next_u64() as u8);
    message[..4].copy_from_slice(&MAGIC.to_be_bytes());
    message[4..8].copy_from_slice(&run.to_be_bytes());
    set_sequence(&mut message, 0);
    message.into_boxed_slice()
}

/// What a client asks its server to do with an earlier request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wish {
    /// How many requests ago that was, at least 1; [`Self::FARTHEST`] for that and more.
    pub(crate) back: u64,
    /// In which of the places for the slowest ones it is to be kept.
    pub(crate) place: usize,
}

impl Wish {
    /// What does not fit any more is told as this.
    pub(crate) const FARTHEST: u64 = 31;

    fn byte(self) -> u8 {
        ((self.place as u8) << 5) | self.back.min(Self::FARTHEST) as u8
    }
}

const _: () = assert!(SLOWEST <= 8, "places have 3 bits");

/// Puts a wish into a numbered message.
#[inline]
pub(super) fn set_wish(message: &mut [u8], wish: Wish) {
    if let Some(byte) = message.get_mut(8) {
        *byte = wish.byte();
    }
}

/// A message's number and wish.
#[inline]
pub(super) fn number(message: &[u8]) -> Option<(u64, Option<Wish>)> {
    let field = message.get(8..HEADER_BYTES)?.try_into().ok()?;
    let field = u64::from_be_bytes(field);
    let (byte, sequence) = (field >> 56, field << 8 >> 8);
    let wish = Wish {
        back: byte & Wish::FARTHEST,
        place: (byte >> 5) as usize,
    };
    Some((sequence, (wish.back != 0).then_some(wish)))
}

/// Numbers a message that has a header, without a wish.
#[inline]
pub(crate) fn set_sequence(message: &mut [u8], sequence: u64) {
    if let Some(field) = message.get_mut(8..HEADER_BYTES) {
        field.copy_from_slice(&sequence.to_be_bytes());
    }
}

/// Whether two messages have one header: the same run and sequence number.
#[inline]
pub(super) fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() >= HEADER_BYTES && a.get(..HEADER_BYTES) == b.get(..HEADER_BYTES)
}

/// Whether two messages are of one run.
#[inline]
pub(super) fn same_run(a: &[u8], b: &[u8]) -> bool {
    a.len() >= HEADER_BYTES && a.get(..8) == b.get(..8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_layout_is_as_documented() {
        let mut message = message(run_hash("a"), 20);
        set_sequence(&mut message, 0x0102_0304_0506_0708);
        let header = [
            0x6e, 0x74, 0x6f, 0x6c, 0xe4, 0x0c, 0x29, 0x2c, 1, 2, 3, 4, 5, 6, 7, 8,
        ];
        assert_eq!(message[..16], header);
        assert_eq!(message.len(), 20);
    }

    #[test]
    fn a_wish_goes_beside_the_number() {
        let mut message = message(1, 16);
        set_sequence(&mut message, 0x0003_0405_0607_0809);
        assert_eq!(number(&message), Some((0x0003_0405_0607_0809, None)));
        for (back, told) in [(1, 1), (31, 31), (32, 31), (1 << 40, 31)] {
            for place in 0..SLOWEST {
                set_wish(&mut message, Wish { back, place });
                let wish = Wish { back: told, place };
                assert_eq!(number(&message), Some((0x0003_0405_0607_0809, Some(wish))));
            }
        }
        set_sequence(&mut message, 9);
        assert_eq!(number(&message), Some((9, None)));
        assert_eq!(number(&message[..15]), None);
    }

    #[test]
    fn the_hash_is_fnv_1a() {
        // From the authors' test vectors.
        for (text, hash) in [
            ("", 0x811c_9dc5),
            ("a", 0xe40c_292c),
            ("foobar", 0xbf9c_f968),
        ] {
            assert_eq!(run_hash(text), hash, "{text}");
        }
    }

    #[test]
    fn headers_are_told_apart() {
        let mut a = message(1, 64);
        let b = message(1, 16);
        assert!(same(&a, &b) && same_run(&a, &b));
        set_sequence(&mut a, 1);
        assert!(!same(&a, &b) && same_run(&a, &b));
        assert!(!same_run(&a, &message(2, 64)) && !same(&a[..8], &a[..8]));
    }
}
