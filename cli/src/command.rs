//! The commands that measure and show: arguments become a job, its answer becomes text and
//! files.

pub(crate) mod compare;
pub(crate) mod doctor;
pub(crate) mod flame;
pub(crate) mod matrix;
pub(crate) mod path;
pub(crate) mod report;
pub(crate) mod test;
pub(crate) mod toll;

mod output;
mod rate;
mod run;
