//! Many datagrams with one system call.

use std::{io, mem, os::fd::AsRawFd, ptr};

use socket2::Socket;

/// Most datagrams of one call: enough that a call's own price is small beside theirs.
pub(super) const BATCH: usize = 64;

/// Room for datagrams of one size, side by side.
#[derive(Debug)]
pub(super) struct Batch {
    bytes: Box<[u8]>,
    size: usize,
}

impl Batch {
    /// So many places, at most [`BATCH`]; each holds a copy of `datagram`, which is not empty.
    pub(super) fn of(datagram: &[u8], places: usize) -> Self {
        Self {
            bytes: datagram.repeat(places.min(BATCH)).into_boxed_slice(),
            size: datagram.len(),
        }
    }

    /// How many places there are.
    pub(super) fn len(&self) -> usize {
        self.bytes.len() / self.size
    }

    /// The places.
    pub(super) fn places(&mut self) -> impl Iterator<Item = &mut [u8]> {
        self.bytes.chunks_exact_mut(self.size)
    }

    /// Sends the first so many on a connected socket. Answers how many the kernel took.
    pub(super) fn send(&mut self, socket: &Socket, count: usize) -> io::Result<usize> {
        let count = count.min(self.len()) as libc::c_uint;
        let mut vectors = vectors(&mut self.bytes, self.size);
        let mut messages = messages(&mut vectors);
        #[expect(
            unsafe_code,
            reason = "sendmmsg has no safe wrapper among our dependencies"
        )]
        // SAFETY: the headers point to the vectors, these to `self.bytes`, all of which outlive the
        // call; there are as many as places, and `count` is no more. The kernel writes `msg_len` alone.
        let sent = unsafe { libc::sendmmsg(socket.as_raw_fd(), messages.as_mut_ptr(), count, 0) };
        usize::try_from(sent).map_err(|_| io::Error::last_os_error())
    }

    /// Waits for a datagram and takes those that are there besides: each of them, cut at the size of
    /// a place.
    pub(super) fn receive(&mut self, socket: &Socket) -> io::Result<impl Iterator<Item = &[u8]>> {
        let (size, count) = (self.size, self.len() as libc::c_uint);
        let mut vectors = vectors(&mut self.bytes, size);
        let mut messages = messages(&mut vectors);
        #[expect(
            unsafe_code,
            reason = "recvmmsg has no safe wrapper among our dependencies"
        )]
        // SAFETY: as above; the kernel writes at most `size` bytes to each place, and nothing says
        // that an address or a time is wanted.
        let received = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                messages.as_mut_ptr(),
                count,
                libc::MSG_WAITFORONE as _,
                ptr::null_mut(),
            )
        };
        let received = usize::try_from(received).map_err(|_| io::Error::last_os_error())?;
        let lengths = messages.map(|message| message.msg_len as usize);
        let places = self.bytes.chunks_exact(self.size);
        let datagrams = places.zip(lengths).take(received);
        Ok(datagrams.map(|(place, length)| place.get(..length).unwrap_or(place)))
    }
}

fn vectors(bytes: &mut [u8], size: usize) -> [libc::iovec; BATCH] {
    let mut places = bytes.chunks_exact_mut(size);
    std::array::from_fn(|_| {
        let place = places.next().unwrap_or_default();
        libc::iovec {
            iov_base: place.as_mut_ptr().cast(),
            iov_len: place.len(),
        }
    })
}

/// Headers without addresses and control data.
fn messages(vectors: &mut [libc::iovec; BATCH]) -> [libc::mmsghdr; BATCH] {
    let mut vectors = vectors.iter_mut();
    std::array::from_fn(|_| {
        #[expect(
            unsafe_code,
            reason = "the struct has hidden members on some platforms"
        )]
        // SAFETY: integers and pointers only, for which zeroes are valid.
        let mut message: libc::mmsghdr = unsafe { mem::zeroed() };
        if let Some(vector) = vectors.next() {
            message.msg_hdr.msg_iov = vector;
            message.msg_hdr.msg_iovlen = 1;
        }
        message
    })
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;

    #[test]
    fn datagrams_come_as_they_were_sent() {
        let (from, to) = (
            UdpSocket::bind("127.0.0.1:0").unwrap(),
            UdpSocket::bind("127.0.0.1:0").unwrap(),
        );
        from.connect(to.local_addr().unwrap()).unwrap();
        let (from, to) = (Socket::from(from), Socket::from(to));
        let mut batch = Batch::of(&[0; 40], BATCH);
        for (number, place) in (0..).zip(batch.places()) {
            place[0] = number;
        }
        assert_eq!(batch.send(&from, 5).unwrap(), 5);
        // One that is shorter, and one that is longer than a place of the receiver.
        from.send(&[7]).unwrap();
        from.send(&[8; 100]).unwrap();
        let mut room = Batch::of(&[0; 40], BATCH);
        let mut seen = Vec::new();
        while seen.len() < 7 {
            let received = room.receive(&to).unwrap();
            seen.extend(received.map(|datagram| (datagram[0], datagram.len())));
        }
        let expected = [(0, 40), (1, 40), (2, 40), (3, 40), (4, 40), (7, 1), (8, 40)];
        assert_eq!(seen, expected);
        assert_eq!(batch.send(&from, 1_000).unwrap(), BATCH);
    }
}
