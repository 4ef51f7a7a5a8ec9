//! The memory that a flow's traffic threads share with the probe: one mapped array, one cache
//! line a flow, written and read by plain atomic stores and loads.

use std::{
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd},
    ptr::NonNull,
    sync::{
        Arc,
        atomic::{AtomicU16, AtomicU32, AtomicU64, Ordering},
    },
};

use nettoll_agent_common::hops::{FLOWS, FlowState};
use nettoll_core::hop::Direction;

/// [`FlowState`] as seen from a thread: the same layout, in atomics.
#[repr(C, align(64))]
pub(super) struct Shared {
    pub(super) counted: AtomicU32,
    pub(super) generation: AtomicU32,
    sent_ns: [AtomicU64; 2],
    received_ns: [AtomicU64; 2],
    pub(super) origin: [AtomicU16; 2],
    pub(super) terminal: [AtomicU16; 2],
    pub(super) over_wire: AtomicU32,
    _pad: u32,
}

const _: () = assert!(size_of::<Shared>() == size_of::<FlowState>());

/// The mapped array.
pub(super) struct States {
    base: NonNull<Shared>,
}

#[expect(unsafe_code, reason = "memory shared with the kernel")]
// SAFETY: the memory is reached through atomics only.
unsafe impl Send for States {}
#[expect(unsafe_code, reason = "memory shared with the kernel")]
// SAFETY: as above.
unsafe impl Sync for States {}

impl States {
    const BYTES: usize = FLOWS * size_of::<Shared>();

    /// Maps the `STATES` array.
    pub(super) fn map(map: BorrowedFd<'_>) -> io::Result<Arc<Self>> {
        #[expect(unsafe_code, reason = "mmap")]
        // SAFETY: a fresh mapping at an address of the kernel's choice; the array was created
        // with BPF_F_MMAPABLE and holds FLOWS values of this size, and its memory lives as long
        // as the mapping, whatever becomes of the descriptor.
        let base = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                Self::BYTES,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                map.as_fd().as_raw_fd(),
                0,
            )
        };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let base = NonNull::new(base.cast()).ok_or(io::ErrorKind::InvalidData)?;
        Ok(Arc::new(Self { base }))
    }

    /// The state of a flow.
    pub(super) fn get(&self, flow: usize) -> &Shared {
        let states: &[Shared] = {
            #[expect(unsafe_code, reason = "memory shared with the kernel")]
            // SAFETY: FLOWS values that live as long as `self`; zeroed by the kernel, and any
            // bits are values of the atomics.
            unsafe {
                std::slice::from_raw_parts(self.base.as_ptr(), FLOWS)
            }
        };
        &states[flow % FLOWS]
    }
}

impl Drop for States {
    fn drop(&mut self) {
        #[expect(unsafe_code, reason = "munmap")]
        // SAFETY: the mapping made in `map`; nobody holds a reference into it any more.
        unsafe {
            libc::munmap(self.base.as_ptr().cast(), Self::BYTES);
        }
    }
}

/// The stamps of one flow. Cheap to clone; all methods are a few plain stores and loads. Times
/// are of `CLOCK_MONOTONIC`, in ns: the clock of `bpf_ktime_get_ns`.
#[derive(Clone)]
pub(crate) struct Stamps {
    states: Arc<States>,
    flow: usize,
}

impl std::fmt::Debug for Stamps {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Stamps").field(&self.flow).finish()
    }
}

impl Stamps {
    /// The stamps of a flow.
    pub(super) fn of(states: Arc<States>, flow: usize) -> Self {
        Self { states, flow }
    }

    fn state(&self) -> &Shared {
        self.states.get(self.flow)
    }

    /// A round's marks: only between them is anything counted.
    pub(crate) fn mark(&self, counted: bool) {
        let state = self.state();
        for direction in 0..2 {
            state.sent_ns[direction].store(0, Ordering::Relaxed);
            state.received_ns[direction].store(0, Ordering::Relaxed);
        }
        state.counted.store(u32::from(counted), Ordering::Release);
    }

    /// The traffic thread is about to send a message in this direction.
    #[inline]
    pub(crate) fn sending(&self, direction: Direction, now_ns: u64) {
        let state = self.state();
        state.sent_ns[way(direction)].store(now_ns, Ordering::Relaxed);
    }

    /// The traffic thread has received a message of this direction: the time since it was
    /// received on the endpoint's device (`socket_rx`), `None` where the probe saw none.
    #[inline]
    pub(crate) fn received(&self, direction: Direction, now_ns: u64) -> Option<u64> {
        let received = &self.state().received_ns[way(direction)];
        let received_ns = received.load(Ordering::Relaxed);
        if received_ns == 0 {
            return None;
        }
        received.store(0, Ordering::Relaxed);
        Some(now_ns.saturating_sub(received_ns))
    }
}

/// The index of a direction in shared memory.
pub(super) fn way(direction: Direction) -> usize {
    usize::from(direction == Direction::Response)
}
