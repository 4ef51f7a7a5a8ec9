//! One row of the waterfall while it is added up.

use super::table::Named;
use crate::{
    api::{Times, UserStage, UserTimes},
    device::Device,
    histogram::{Histogram, KERNEL_SUB_BITS, USER_SUB_BITS},
    hop::{Direction, Edge, SelfTime, Side},
    report::{Stage, StageClass},
};

/// All edges of one side, direction, stage and device.
#[derive(Clone, Debug)]
pub(super) struct Row {
    side: Side,
    pub(super) direction: Direction,
    pub(super) stage: String,
    class: Option<StageClass>,
    pub(super) device: Option<Device>,
    packets: u64,
    pub(super) sum_ns: u64,
    /// Segments, packets without payload, bytes: `None` for what a traffic thread measured, which
    /// sees messages.
    counts: Option<Counts>,
    one_segment: Histogram,
    many_segments: Histogram,
    /// Calls, bytes and time of the device's transmit function.
    self_time: Option<(u64, u64, u64)>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    segments: u64,
    ack_packets: u64,
    bytes: u64,
}

impl Row {
    pub(super) fn new(side: Side, direction: Direction, named: Named) -> Self {
        let Named {
            stage,
            class,
            device,
        } = named;
        Self {
            side,
            direction,
            stage,
            class,
            device,
            packets: 0,
            sum_ns: 0,
            counts: None,
            one_segment: Histogram::new(KERNEL_SUB_BITS),
            many_segments: Histogram::new(KERNEL_SUB_BITS),
            self_time: None,
        }
    }

    /// The same under another name.
    pub(super) fn renamed(self, named: Named) -> Self {
        Self {
            stage: named.stage,
            class: named.class,
            device: named.device,
            ..self
        }
    }

    pub(super) fn is_same_stage(&self, other: &Self) -> bool {
        let key = |row: &Self| (row.side, row.direction, row.device.as_ref().map(|it| it.id));
        key(self) == key(other) && self.stage == other.stage
    }

    pub(super) fn with(mut self, edge: &Edge) -> Self {
        self.add(edge);
        self
    }

    pub(super) fn add(&mut self, edge: &Edge) {
        self.packets += edge.packets;
        self.sum_ns += edge.sum_ns;
        let counts = self.counts.get_or_insert_default();
        counts.segments += edge.segments;
        counts.ack_packets += edge.ack_packets;
        counts.bytes += edge.bytes;
        let histogram = match edge.many_segments {
            true => &mut self.many_segments,
            false => &mut self.one_segment,
        };
        histogram.merge_buckets(&edge.histogram, edge.sum_ns);
    }

    pub(super) fn add_times(&mut self, times: &Times) {
        self.packets += times.count;
        self.sum_ns += times.sum_ns;
        self.one_segment.merge_times(times);
    }

    pub(super) fn add_self_time(&mut self, time: &SelfTime, seam_ns: f64) {
        let (calls, bytes, ns) = self.self_time.get_or_insert_default();
        *calls += time.calls;
        *bytes += time.bytes;
        *ns += time.without_seams(seam_ns);
    }

    pub(super) fn to_stage(&self) -> Stage {
        let mut all = self.one_segment.clone();
        all.merge(&self.many_segments);
        let per = |time: (u64, u64)| (time.1 > 0).then(|| time.0 as f64 / time.1 as f64);
        Stage {
            side: Some(self.side),
            direction: self.direction,
            stage: self.stage.clone(),
            class: self.class,
            device: self.device.as_ref().map(|device| device.name.clone()),
            device_kind: self.device.as_ref().map(|device| device.kind),
            derived: false,
            packets: Some(self.packets),
            segments: self.counts.map(|counts| counts.segments),
            ack_packets: self.counts.map(|counts| counts.ack_packets),
            bytes: self.counts.map(|counts| counts.bytes),
            mean_ns: per((self.sum_ns, self.packets)).unwrap_or_default(),
            p50_ns: all.percentile(50.0),
            p99_ns: all.percentile(99.0),
            histogram: Some(self.one_segment.to_buckets()),
            histogram_many_segments: self.counts.map(|_| self.many_segments.to_buckets()),
            cpu_ns_per_packet: self.self_time.and_then(|(calls, _, ns)| per((ns, calls))),
            cpu_ns_per_byte: self.self_time.and_then(|(_, bytes, ns)| per((ns, bytes))),
        }
    }
}

/// A stage that a traffic thread saw one end of: `socket_rx` and its parts on the endpoint's device,
/// or `responder`, which is about none.
pub(super) fn user_row(user: &UserTimes, endpoint: Option<&Device>) -> Row {
    let (stage, class, device) = match user.stage {
        UserStage::SocketRx | UserStage::SocketUnsplit => {
            ("socket_rx", StageClass::Mixed, endpoint)
        }
        UserStage::SocketWork => ("socket_rx", StageClass::Work, endpoint),
        UserStage::SocketBacklog => ("socket_backlog", StageClass::Mixed, endpoint),
        UserStage::SocketQueue => ("socket_queue", StageClass::Wait, endpoint),
        UserStage::Wakeup => ("wakeup", StageClass::Wait, endpoint),
        UserStage::Responder => ("responder", StageClass::Work, None),
        UserStage::NameLookup => ("name_lookup", StageClass::Wait, None),
        UserStage::Connect => ("connect", StageClass::Wait, None),
        UserStage::Tls => ("tls", StageClass::Mixed, None),
        UserStage::FirstByte => ("first_byte", StageClass::Wait, None),
    };
    let named = Named {
        stage: stage.to_owned(),
        class: Some(class),
        device: device.cloned(),
    };
    let mut row = Row::new(user.side, user.direction, named);
    row.one_segment = Histogram::new(USER_SUB_BITS);
    row.add_times(&user.times);
    row
}
