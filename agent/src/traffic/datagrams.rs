//! `udp_stream`: datagrams from client to server, at a rate or as fast as possible.
//!
//! A datagram begins with the header of all messages, whose byte 8 is a [`Kind`], and a stamp of the
//! sender. The client says how many it sent ([`sender`]), the server counts what arrived of them
//! ([`receiver`]): nothing is told on the path itself but the datagrams, and an empty one and its answer
//! before the first round.

use super::header::HEADER_BYTES;

mod batch;
mod receiver;
mod sender;

pub(super) use self::{
    receiver::{Inbox, make_room, receive},
    sender::Datagrams,
};

/// Header and stamp: the smallest datagram.
pub(super) const LEAST_BYTES: u32 = HEADER_BYTES as u32 + 8;

/// What a datagram is, beside its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// To be answered: is there a way?
    Hello,
    /// Of that round, by its remainder.
    Data { round: u8, measured: bool },
}

impl Kind {
    /// Rounds are told by their remainder.
    const ROUNDS: u8 = 120;

    fn of(byte: u8) -> Self {
        match byte {
            u8::MAX => Self::Hello,
            byte => Self::Data {
                round: byte >> 1,
                measured: byte & 1 != 0,
            },
        }
    }

    fn byte(self) -> u8 {
        match self {
            Self::Hello => u8::MAX,
            Self::Data { round, measured } => round << 1 | u8::from(measured),
        }
    }

    /// With the number, as in the header.
    fn field(self, number: u64) -> u64 {
        u64::from(self.byte()) << 56 | number
    }
}

/// A datagram's kind, number and stamp.
fn read(datagram: &[u8]) -> Option<(Kind, u64, u64)> {
    let word = |at: usize| {
        let bytes = datagram.get(at..at + 8)?.try_into().ok()?;
        Some(u64::from_be_bytes(bytes))
    };
    let field = word(8)?;
    let kind = Kind::of((field >> 56) as u8);
    let stamp = word(HEADER_BYTES).unwrap_or(0);
    Some((kind, field & ((1 << 56) - 1), stamp))
}

#[cfg(test)]
mod tests {
    use super::{
        super::header::{message, set_sequence},
        *,
    };

    #[test]
    fn kinds_are_told_apart() {
        let data = |round, measured| Kind::Data { round, measured };
        for kind in [
            Kind::Hello,
            data(0, false),
            data(0, true),
            data(Kind::ROUNDS - 1, true),
        ] {
            let mut datagram = message(5, LEAST_BYTES as usize);
            set_sequence(&mut datagram, kind.field(0x0102_0304_0506));
            datagram[HEADER_BYTES..].copy_from_slice(&77_u64.to_be_bytes());
            assert_eq!(read(&datagram), Some((kind, 0x0102_0304_0506, 77)));
        }
        assert_eq!(read(&[0; 15]), None);
    }
}
