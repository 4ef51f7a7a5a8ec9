//! What is measured beside the traffic, from one moment to another.

use std::{fmt, sync::Arc};

use super::{
    TrafficError,
    cpu::{CpuTime, CpuUse},
};

/// Switches the sampling of stacks on and off; says why it cannot.
pub(crate) type Sample = Arc<dyn Fn(bool) -> Result<(), String> + Send + Sync>;

/// The measured part of a round: processor time, and stacks where they are asked for.
#[derive(Default)]
pub(crate) struct Interval {
    sample: Option<Sample>,
    sampling: bool,
    from: Option<CpuTime>,
    used: Option<CpuUse>,
}

impl fmt::Debug for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Interval")
            .field("from", &self.from)
            .field("used", &self.used)
            .finish()
    }
}

impl Interval {
    /// Not begun; samples stacks if `sample` is given.
    pub(crate) fn new(sample: Option<Sample>) -> Self {
        Self {
            sample,
            ..Self::default()
        }
    }

    pub(super) fn begin(&mut self) -> Result<(), TrafficError> {
        if let Some(sample) = &self.sample {
            self.sampling = true;
            sample(true).map_err(TrafficError::Sample)?;
        }
        self.from = CpuTime::now();
        Ok(())
    }

    /// Doing so twice changes nothing.
    pub(super) fn end(&mut self) {
        if let (Some(from), Some(now)) = (self.from.take(), CpuTime::now()) {
            self.used = Some(from.until(now));
        }
        if let Some(sample) = self.sample.as_ref().filter(|_| self.sampling) {
            self.sampling = false;
            if let Err(error) = sample(false) {
                tracing::warn!(error, "cannot end the sampling of stacks");
            }
        }
    }

    /// Between begin and end; `None` before the end, or without `/proc/stat`.
    pub(super) fn used(&self) -> Option<CpuUse> {
        self.used
    }
}

impl Drop for Interval {
    fn drop(&mut self) {
        self.end();
    }
}
