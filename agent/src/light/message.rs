//! The datagrams of light rounds: a test's header and one byte that tells what it is, so that no
//! responder ever answers another one.

use crate::traffic::header::{HEADER_BYTES, MAGIC, message, set_sequence};

const REQUEST: u8 = 1;
const RESPONSE: u8 = 2;
const ANNOUNCEMENT: u8 = 3;

/// A request of the edge that `run` stands for.
pub(super) fn request(run: u32, bytes: usize) -> Box<[u8]> {
    let mut request = message(run, bytes.max(HEADER_BYTES + 1));
    set_kind(&mut request, REQUEST);
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
