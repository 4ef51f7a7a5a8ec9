//! The datagrams of light rounds: a test's header and one byte that tells requests from
//! responses, so that no responder ever answers another one.

use crate::traffic::header::{HEADER_BYTES, MAGIC, message};

const REQUEST: u8 = 1;
const RESPONSE: u8 = 2;

/// A request of the edge that `run` stands for.
pub(super) fn request(run: u32, bytes: usize) -> Box<[u8]> {
    let mut request = message(run, bytes.max(HEADER_BYTES + 1));
    set_kind(&mut request, REQUEST);
    request
}

/// Turns a request into its response; false for anything else.
pub(super) fn answer(message: &mut [u8]) -> bool {
    let is_request = kind_of(message) == Some(REQUEST);
    if is_request {
        set_kind(message, RESPONSE);
    }
    is_request
}

/// Which request a response is to: the edge's run and the sequence. `None` for anything else.
pub(super) fn answered(message: &[u8]) -> Option<(u32, u64)> {
    if kind_of(message) != Some(RESPONSE) {
        return None;
    }
    let run = message.get(4..8)?.try_into().ok()?;
    let sequence = message.get(8..HEADER_BYTES)?.try_into().ok()?;
    Some((u32::from_be_bytes(run), u64::from_be_bytes(sequence)))
}

fn kind_of(message: &[u8]) -> Option<u8> {
    let ours = message.get(..4)? == MAGIC.to_be_bytes();
    ours.then(|| message.get(HEADER_BYTES).copied())?
}

fn set_kind(message: &mut [u8], kind: u8) {
    if let Some(byte) = message.get_mut(HEADER_BYTES) {
        *byte = kind;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::traffic::header::set_sequence;

    #[test]
    fn a_request_is_answered_once() {
        let mut datagram = request(7, 64);
        assert_eq!(datagram.len(), 64);
        set_sequence(&mut datagram, 1 << 40);
        assert_eq!(answered(&datagram), None);
        assert!(answer(&mut datagram));
        assert_eq!(answered(&datagram), Some((7, 1 << 40)));
        assert!(!answer(&mut datagram), "a response is no request");
    }

    #[test]
    fn what_others_send_is_neither() {
        for stranger in [&b""[..], b"ntol", &[0; 64], &request(1, 64)[..HEADER_BYTES]] {
            assert_eq!(answered(stranger), None);
            assert!(!answer(&mut stranger.to_vec()));
        }
    }
}
