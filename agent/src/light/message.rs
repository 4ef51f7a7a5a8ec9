//! The messages of light rounds: a test's header, one byte that tells what it is, so that no
//! responder ever answers another one, and in requests and responses their length, by which they are
//! told apart on a connection.

use crate::traffic::header::{HEADER_BYTES, MAGIC, message, set_sequence};

const REQUEST: u8 = 1;
const RESPONSE: u8 = 2;
const ANNOUNCEMENT: u8 = 3;
/// Bytes of the shortest request.
pub(super) const SHORTEST: usize = 24;
/// Bytes of the longest request, as a datagram.
const LONGEST: usize = 65_507;
/// Where the length is.
const LENGTH: std::ops::Range<usize> = HEADER_BYTES + 1..HEADER_BYTES + 5;

/// A request of the edge that `run` stands for.
pub(super) fn request(run: u32, bytes: usize) -> Box<[u8]> {
    let mut request = message(run, bytes.max(SHORTEST));
    set_kind(&mut request, REQUEST);
    let length = u32::try_from(request.len()).unwrap_or(u32::MAX);
    if let Some(field) = request.get_mut(LENGTH) {
        field.copy_from_slice(&length.to_be_bytes());
    }
    request
}

/// What a datagram of a client is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// To be answered.
    Request(Header),
    /// A round begins soon; the sequence is that of its first request.
    Announcement(Header),
}

/// Whose a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// The edge.
    pub(super) run: u32,
    pub(super) sequence: u64,
}

/// Tells the responder that a round of the edge begins soon.
pub(super) fn announcement(run: u32, first_sequence: u64) -> Box<[u8]> {
    let mut message = message(run, HEADER_BYTES + 1);
    set_sequence(&mut message, first_sequence);
    set_kind(&mut message, ANNOUNCEMENT);
    message
}

/// What a client sent; `None` for anything else.
pub(super) fn asked(message: &[u8]) -> Option<Asked> {
    match parse(message)? {
        (REQUEST, header) => Some(Asked::Request(header)),
        (ANNOUNCEMENT, header) => Some(Asked::Announcement(header)),
        _ => None,
    }
}

/// How long a request says that it is, where that is possible.
pub(super) fn length(request: &[u8]) -> Option<usize> {
    let field = request.get(LENGTH)?.try_into().ok()?;
    let length = usize::try_from(u32::from_be_bytes(field)).ok()?;
    (SHORTEST..=LONGEST).contains(&length).then_some(length)
}

/// Turns a request into its response.
pub(super) fn answer(request: &mut [u8]) {
    set_kind(request, RESPONSE);
}

/// Which request a response is to. `None` for anything else.
pub(super) fn answered(message: &[u8]) -> Option<Header> {
    match parse(message)? {
        (RESPONSE, header) => Some(header),
        _ => None,
    }
}

fn parse(message: &[u8]) -> Option<(u8, Header)> {
    let (magic, rest) = message.split_first_chunk()?;
    let (run, rest) = rest.split_first_chunk()?;
    let (sequence, rest) = rest.split_first_chunk()?;
    let header = Header {
        run: u32::from_be_bytes(*run),
        sequence: u64::from_be_bytes(*sequence),
    };
    (u32::from_be_bytes(*magic) == MAGIC).then_some((*rest.first()?, header))
}

fn set_kind(message: &mut [u8], kind: u8) {
    if let Some(byte) = message.get_mut(HEADER_BYTES) {
        *byte = kind;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_answered_once() {
        let mut datagram = request(7, 64);
        assert_eq!(datagram.len(), 64);
        set_sequence(&mut datagram, 1 << 40);
        let header = Header {
            run: 7,
            sequence: 1 << 40,
        };
        assert_eq!(answered(&datagram), None);
        assert_eq!(asked(&datagram), Some(Asked::Request(header)));
        answer(&mut datagram);
        assert_eq!(answered(&datagram), Some(header));
        assert_eq!(asked(&datagram), None, "a response is no request");
    }

    #[test]
    fn a_request_tells_its_length() {
        for bytes in [24, 64, 65_507] {
            assert_eq!(length(&request(7, bytes)), Some(bytes));
        }
        assert_eq!(length(&request(7, 0)), Some(24));
        assert_eq!(length(&request(7, 65_508)), None);
        assert_eq!(length(&[0; 24]), None);
        assert_eq!(length(&request(7, 64)[..20]), None);
    }

    #[test]
    fn an_announcement_is_nothing_to_answer() {
        let datagram = announcement(7, 9);
        let header = Header {
            run: 7,
            sequence: 9,
        };
        assert_eq!(asked(&datagram), Some(Asked::Announcement(header)));
        assert_eq!(answered(&datagram), None);
    }

    #[test]
    fn what_others_send_is_neither() {
        for stranger in [&b""[..], b"ntol", &[0; 64], &request(1, 64)[..HEADER_BYTES]] {
            assert_eq!((answered(stranger), asked(stranger)), (None, None));
        }
    }
}
