//! A socket tells its user that there are data: what came for it has been through the protocol.
//!
//! The softirq that delivers a packet tells so on the same CPU; it may deliver several before (a list
//! that came with one poll), so they are counted. Where the socket was its user's at that moment, the
//! packet waits in the socket's backlog, and the user's own call tells so when it lets go, on whatever
//! CPU it is. All other sockets of the host are left after two loads where no followed packet is awaited;
//! whose data they are is known by the socket's addresses alone.

use aya_ebpf::helpers::bpf_ktime_get_ns;
use nettoll_agent_common::hops::{ProgramCode, READY_BACKLOG};

use crate::{
    follow,
    kernel::Sock,
    maps::{self, Here},
};

/// A socket has data.
#[inline(always)]
pub(crate) fn ready(sock: Sock, here: &mut Here) -> Option<()> {
    let backlog = sock.is_owned();
    if *here.delivered == 0 && !backlog {
        return None;
    }
    // SAFETY: the value is two plain integers; a concurrent change of the map is a new run.
    let flow = *unsafe { maps::FLOW_KEYS.get(&sock.arriving()) }?;
    let state = maps::flow_state(u32::from(flow.flow))?;
    let way = follow::way(flow.direction);
    if state.counted == 0 || state.received_ns[way] == 0 {
        return None;
    }
    // SAFETY: a helper without arguments.
    let now = unsafe { bpf_ktime_get_ns() };
    state.ready_ns[way] = if backlog {
        now | READY_BACKLOG
    } else {
        *here.delivered -= 1;
        now
    };
    here.matched(ProgramCode::Ready);
    Some(())
}
