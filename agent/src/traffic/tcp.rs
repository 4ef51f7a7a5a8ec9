//! TCP's own counters.

use std::{io, mem::offset_of, os::fd::AsRawFd};

use nettoll_core::report::Tcp;
use socket2::Socket;

/// `TCPI_OPT_TIMESTAMPS` (`include/uapi/linux/tcp.h`).
const TIMESTAMPS: u8 = 1;
/// `TCPOLEN_TSTAMP_ALIGNED` (`include/net/tcp.h`).
const TIMESTAMPS_BYTES: u32 = 12;

/// What nettoll reads of `struct tcp_info` (`include/uapi/linux/tcp.h`).
#[derive(Clone, Copy, Debug)]
pub(super) struct TcpInfo {
    /// `tcpi_bytes_acked`: payload that the peer has acknowledged, RFC 4898
    /// `tcpEStatsAppHCThruOctetsAcked`.
    pub(super) bytes_acked: u64,
    /// `tcpi_bytes_received`: payload that has arrived in order, RFC 4898
    /// `tcpEStatsAppHCThruOctetsReceived`.
    pub(super) bytes_received: u64,
    /// `tcpi_total_retrans`: segments sent again.
    retransmits: u64,
    mss_bytes: u32,
    option_bytes: u32,
    srtt_us: u32,
    cwnd_segments: u32,
}

impl TcpInfo {
    /// The connection's counters now.
    ///
    /// # Errors
    /// The socket is none of TCP, or the kernel is older than 4.2 and does not count bytes.
    #[expect(
        unsafe_code,
        reason = "TCP_INFO has no safe wrapper among our dependencies"
    )]
    pub(super) fn of(socket: &Socket) -> io::Result<Self> {
        // SAFETY: a tcp_info holds integers only, for which zeroes are valid.
        let mut info: libc::tcp_info = unsafe { std::mem::zeroed() };
        let mut length = size_of::<libc::tcp_info>() as libc::socklen_t;
        // SAFETY: the pointer is to `length` bytes; the kernel writes no more and says in
        // `length` how many it knew.
        let failed = unsafe {
            libc::getsockopt(
                socket.as_raw_fd(),
                libc::IPPROTO_TCP,
                libc::TCP_INFO,
                (&raw mut info).cast(),
                &raw mut length,
            )
        } != 0;
        if failed {
            return Err(io::Error::last_os_error());
        }
        let needed = offset_of!(libc::tcp_info, tcpi_bytes_received) + size_of::<u64>();
        if (length as usize) < needed {
            let text = "this kernel's TCP_INFO does not count bytes; Linux 4.2 or later does";
            return Err(io::Error::new(io::ErrorKind::Unsupported, text));
        }
        Ok(Self {
            bytes_acked: info.tcpi_bytes_acked,
            bytes_received: info.tcpi_bytes_received,
            retransmits: info.tcpi_total_retrans.into(),
            mss_bytes: info.tcpi_snd_mss,
            option_bytes: match info.tcpi_options & TIMESTAMPS {
                0 => 0,
                _ => TIMESTAMPS_BYTES,
            },
            srtt_us: info.tcpi_rtt,
            cwnd_segments: info.tcpi_snd_cwnd,
        })
    }
}

/// Bytes that were written but are not acknowledged yet (`SIOCOUTQ`, see tcp(7)); of datagrams those
/// in the node's own queues.
pub(super) fn unacknowledged(socket: &Socket) -> io::Result<usize> {
    // The same number as SIOCOUTQ (`include/uapi/linux/sockios.h`).
    ask(socket, libc::TIOCOUTQ)
}

/// Bytes of the next datagram that nobody has taken yet (`SIOCINQ`, see udp(7)).
pub(super) fn unread(socket: &Socket) -> io::Result<usize> {
    ask(socket, libc::FIONREAD)
}

#[expect(
    unsafe_code,
    reason = "these requests have no safe wrapper among our dependencies"
)]
fn ask(socket: &Socket, request: libc::Ioctl) -> io::Result<usize> {
    let mut bytes: libc::c_int = 0;
    // SAFETY: both requests write one int, to which the pointer is.
    if unsafe { libc::ioctl(socket.as_raw_fd(), request, &raw mut bytes) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(usize::try_from(bytes).unwrap_or(0))
}

/// Segments that a connection sent again in the rounds with the probe.
#[derive(Debug, Default)]
pub(super) struct Retransmits {
    before: Option<u64>,
    sum: u64,
}

impl Retransmits {
    /// A round begins.
    pub(super) fn begin(&mut self, connection: Option<&Socket>, probe: bool) {
        self.before = connection.filter(|_| probe).and_then(Self::now);
    }

    /// It is over.
    pub(super) fn end(&mut self, connection: Option<&Socket>) {
        let now = connection.and_then(Self::now);
        if let (Some(before), Some(now)) = (self.before.take(), now) {
            self.sum += now.saturating_sub(before);
        }
    }

    /// The connection's counters as they are reported.
    pub(super) fn report(&self, connection: &Socket) -> Option<Tcp> {
        report(connection, self.sum)
            .inspect_err(|error| tracing::warn!(%error, "cannot read TCP_INFO"))
            .ok()
    }

    fn now(connection: &Socket) -> Option<u64> {
        Some(TcpInfo::of(connection).ok()?.retransmits)
    }
}

fn report(socket: &Socket, retransmits: u64) -> io::Result<Tcp> {
    let info = TcpInfo::of(socket)?;
    let name = socket.tcp_congestion()?;
    let name = name.split(|&byte| byte == 0).next().unwrap_or_default();
    Ok(Tcp {
        retransmits,
        mss_bytes: info.mss_bytes,
        option_bytes: Some(info.option_bytes),
        srtt_us: info.srtt_us,
        cwnd_segments: info.cwnd_segments,
        congestion_control: String::from_utf8_lossy(name).into_owned(),
    })
}
