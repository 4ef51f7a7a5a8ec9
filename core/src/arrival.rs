//! A message at its receiver: from the last device to the thread that reads it.
//!
//! A thread that reads one message at a time knows when it called and when it returned; the probe
//! tells when the packet was received on the endpoint's device and when the socket told that it has
//! the data. All four are of one clock. What a stamp does not tell is not guessed: without the
//! socket's there is one time, the whole.

/// The socket told that it has the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ready {
    /// When, in ns.
    pub at_ns: u64,
    /// A system call had the socket to itself when the packet came, which waited in the socket's backlog
    /// until the call let go.
    pub backlog: bool,
}

/// What the probe saw of a message. Times are of `CLOCK_MONOTONIC`, in ns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// Its last packet was received on the endpoint's device.
    pub received_ns: u64,
    /// After that the socket told so; `None` where nobody saw it.
    pub ready: Option<Ready>,
}

/// Where the time went between the device and the thread. The parts that are there add up to all of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Parts {
    /// All of it, in ns, where it is in no parts.
    pub whole_ns: Option<u64>,
    /// Work, in ns: the protocol's, and that of a receive call that found the data there.
    pub work_ns: Option<u64>,
    /// In the socket's backlog and through the protocol, in ns.
    pub backlog_ns: Option<u64>,
    /// Data waited in the socket for the receive call, in ns.
    pub queue_ns: Option<u64>,
    /// The thread was in its receive call before there were data: until it came back with them, in ns.
    pub wakeup_ns: Option<u64>,
}

impl Arrival {
    /// The parts, for a thread that called at `read_ns` (0: before anything was stamped) and came back
    /// with the message at `back_ns`.
    #[must_use]
    pub fn parts(&self, read_ns: u64, back_ns: u64) -> Parts {
        let whole_ns = back_ns.saturating_sub(self.received_ns);
        // A thread that looks at the socket without sleeping may take data before it is told of them.
        let in_order = |it: &Ready| (self.received_ns..=back_ns).contains(&it.at_ns);
        let Some(ready) = self.ready.filter(in_order) else {
            return Parts {
                whole_ns: Some(whole_ns),
                ..Parts::default()
            };
        };
        let protocol_ns = ready.at_ns - self.received_ns;
        let mut parts = Parts::default();
        match ready.backlog {
            true => parts.backlog_ns = Some(protocol_ns),
            false => parts.work_ns = Some(protocol_ns),
        }
        if read_ns > ready.at_ns {
            let read_ns = read_ns.min(back_ns);
            parts.queue_ns = Some(read_ns - ready.at_ns);
            *parts.work_ns.get_or_insert_default() += back_ns - read_ns;
        } else {
            parts.wakeup_ns = Some(back_ns - ready.at_ns);
        }
        parts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(ready: Option<(u64, bool)>, read_ns: u64) -> Parts {
        let ready = ready.map(|(at_ns, backlog)| Ready { at_ns, backlog });
        let arrival = Arrival {
            received_ns: 1_000,
            ready,
        };
        let parts = arrival.parts(read_ns, 2_000);
        let Parts {
            whole_ns,
            work_ns,
            backlog_ns,
            queue_ns,
            wakeup_ns,
        } = parts;
        let all = [whole_ns, work_ns, backlog_ns, queue_ns, wakeup_ns];
        assert_eq!(all.iter().flatten().sum::<u64>(), 1_000, "{parts:?}");
        parts
    }

    #[test]
    fn a_thread_that_sleeps_in_its_call_is_woken_up() {
        for read_ns in [0, 900, 1_200, 1_300] {
            let expected = Parts {
                work_ns: Some(300),
                wakeup_ns: Some(700),
                ..Parts::default()
            };
            assert_eq!(parts(Some((1_300, false)), read_ns), expected);
        }
    }

    #[test]
    fn data_wait_for_a_thread_that_calls_later() {
        let expected = Parts {
            work_ns: Some(300 + 200),
            queue_ns: Some(500),
            ..Parts::default()
        };
        assert_eq!(parts(Some((1_300, false)), 1_800), expected);
    }

    #[test]
    fn a_socket_that_is_in_use_has_a_backlog() {
        let expected = Parts {
            backlog_ns: Some(300),
            queue_ns: Some(500),
            work_ns: Some(200),
            ..Parts::default()
        };
        assert_eq!(parts(Some((1_300, true)), 1_800), expected);
        let expected = Parts {
            backlog_ns: Some(300),
            wakeup_ns: Some(700),
            ..Parts::default()
        };
        assert_eq!(parts(Some((1_300, true)), 1_100), expected);
    }

    #[test]
    fn what_was_not_seen_is_not_split() {
        let expected = Parts {
            whole_ns: Some(1_000),
            ..Parts::default()
        };
        // Not at all, of an earlier packet, of one that is not read yet.
        for ready in [None, Some((999, false)), Some((2_001, false))] {
            assert_eq!(parts(ready, 1_500), expected);
        }
    }
}
