//! The messages of DNS (RFC 1035), as far as a stub needs them: one question, and the addresses in
//! its answer. Whatever a message holds, reading it ends and panics at nothing.

use std::net::IpAddr;

/// Asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Records `A`.
    V4,
    /// Records `AAAA`.
    V6,
}

impl Kind {
    fn number(self) -> u16 {
        match self {
            Self::V4 => 1,
            Self::V6 => 28,
        }
    }
}

/// What an answer says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// The name's addresses of that kind, maybe none.
    Addresses(Vec<IpAddr>),
    /// There is no such name.
    NoSuchName,
}

/// Class `IN`.
const INTERNET: u16 = 1;
const NO_SUCH_NAME: u16 = 3;
/// Most records that are looked at.
const MAX_RECORDS: u16 = 64;

/// A question; `None` for what is no name.
pub(super) fn question(id: u16, name: &str, kind: Kind) -> Option<Vec<u8>> {
    let mut message = Vec::with_capacity(name.len() + 18);
    // Recursion is desired; one question.
    for word in [id, 0x0100, 1, 0, 0, 0] {
        message.extend(word.to_be_bytes());
    }
    for label in name.split('.') {
        let length = u8::try_from(label.len()).ok()?;
        if !(1..=63).contains(&length) {
            return None;
        }
        message.push(length);
        message.extend(label.as_bytes());
    }
    message.push(0);
    for word in [kind.number(), INTERNET] {
        message.extend(word.to_be_bytes());
    }
    (name.len() <= 253).then_some(message)
}

/// What a message answers to the question of this id, or the error code that it carries; `None`
/// where it is no such answer.
pub(super) fn answer(message: &[u8], id: u16, kind: Kind) -> Option<Result<Found, u16>> {
    let mut reader = Reader(message);
    let (its, flags) = (reader.word()?, reader.word()?);
    let (questions, records) = (reader.word()?, reader.word()?);
    reader.skip(4)?;
    if its != id || flags & 0x8000 == 0 || questions != 1 {
        return None;
    }
    match flags & 0x000f {
        0 => {}
        NO_SUCH_NAME => return Some(Ok(Found::NoSuchName)),
        code => return Some(Err(code)),
    }
    reader.skip_name()?;
    reader.skip(4)?;
    let mut addresses = Vec::new();
    for _ in 0..records.min(MAX_RECORDS) {
        // One that was cut off ends what can be read.
        let Some((its, class, data)) = reader.record() else {
            break;
        };
        let address = match kind {
            Kind::V4 => <[u8; 4]>::try_from(data).map(IpAddr::from),
            Kind::V6 => <[u8; 16]>::try_from(data).map(IpAddr::from),
        };
        // Of aliases the last name's addresses are in here too.
        if (its, class) == (kind.number(), INTERNET) {
            addresses.extend(address.ok());
        }
    }
    Some(Ok(Found::Addresses(addresses)))
}

/// What is left of a message.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, bytes: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(bytes)?;
        self.0 = rest;
        Some(taken)
    }

    fn skip(&mut self, bytes: usize) -> Option<()> {
        self.take(bytes).map(drop)
    }

    fn word(&mut self) -> Option<u16> {
        let bytes = self.take(2)?.try_into().ok()?;
        Some(u16::from_be_bytes(bytes))
    }

    /// Labels up to an empty one, or up to a pointer to the rest of them, which is not followed.
    fn skip_name(&mut self) -> Option<()> {
        loop {
            let length = *self.take(1)?.first()?;
            match length {
                0 => return Some(()),
                1..=63 => self.skip(length.into())?,
                0xc0.. => return self.skip(1),
                _ => return None,
            }
        }
    }

    /// Type, class and data.
    fn record(&mut self) -> Option<(u16, u16, &'a [u8])> {
        self.skip_name()?;
        let (kind, class) = (self.word()?, self.word()?);
        self.skip(4)?;
        let length = self.word()?;
        Some((kind, class, self.take(length.into())?))
    }
}

#[cfg(test)]
mod checks {
    use super::*;

    /// As a server answers: an alias, and two addresses.
    fn answered() -> Vec<u8> {
        let mut message = question(7, "a.example", Kind::V4).unwrap();
        message[2] |= 0x80;
        message[7] = 3;
        let mut record = |kind: u16, data: &[u8]| {
            message.extend([0xc0, 12]);
            for word in [kind, INTERNET, 0, 60, data.len() as u16] {
                message.extend(word.to_be_bytes());
            }
            message.extend(data);
        };
        record(5, b"\x01b\xc0\x0e");
        record(1, &[198, 18, 0, 1]);
        record(1, &[198, 18, 0, 2]);
        message
    }

    #[test]
    fn an_answer_has_the_addresses_behind_an_alias() {
        let found = answer(&answered(), 7, Kind::V4);
        let expected = [[198, 18, 0, 1], [198, 18, 0, 2]].map(IpAddr::from);
        assert_eq!(found, Some(Ok(Found::Addresses(expected.to_vec()))));
        let found = answer(&answered(), 7, Kind::V6);
        assert_eq!(found, Some(Ok(Found::Addresses(vec![]))));
    }

    #[test]
    fn errors_and_strangers_are_told_apart() {
        let mut message = answered();
        assert_eq!(answer(&message, 8, Kind::V4), None);
        message[3] |= 3;
        assert_eq!(answer(&message, 7, Kind::V4), Some(Ok(Found::NoSuchName)));
        message[3] = message[3] & !3 | 2;
        assert_eq!(answer(&message, 7, Kind::V4), Some(Err(2)));
        message[2] &= 0x7f;
        assert_eq!(answer(&message, 7, Kind::V4), None);
    }

    #[test]
    fn whatever_comes_is_read_to_an_end() {
        let whole = answered();
        for length in 0..whole.len() {
            let _ = answer(&whole[..length], 7, Kind::V4);
        }
        let mut random = nettoll_core::random::SplitMix64::new(1);
        for _ in 0..20_000 {
            let mut message = whole.clone();
            for _ in 0..4 {
                let place = random.next_u64() as usize % message.len();
                message[place] = random.next_u64() as u8;
            }
            let _ = answer(&message, 7, Kind::V4);
        }
    }

    #[test]
    fn what_is_no_name_is_not_asked_for() {
        let long = "x".repeat(64);
        let many = "x.".repeat(127) + "x";
        for name in ["", ".", "a..b", &long, &many] {
            assert!(question(1, name, Kind::V4).is_none(), "{name}");
        }
    }
}
