//! Which threads hold capabilities.
//!
//! A thread has its creator's. So the agent's first thread starts the [`Privileged`] ones and
//! then [gives up](drop_all) all of its own, before it starts those that speak to the network:
//! none of them ever has any. What needs privilege they hand over as a closure, after its
//! request was parsed. A thread inside a network namespace gives its own up once it is there
//! ([`crate::netns`]): that is where traffic is made, of runs and of light rounds.
//!
//! Threads share their memory: this is a hurdle and no wall.

mod thread;

use std::{io, thread::Builder};

use tokio::{
    runtime,
    sync::{
        mpsc::{UnboundedSender, unbounded_channel},
        oneshot,
    },
    task::spawn_blocking,
};

pub(crate) use self::thread::{drop_all, drop_syslog, forbid_gains};

/// The name of the thread that starts the others.
const ORDERS: &str = "nettoll-orders";
/// The name of those that do the work: the probe's, mostly.
const WORK: &str = "nettoll-probe";

type Job = Box<dyn FnOnce() + Send>;

/// The threads that hold the agent's capabilities, as many as there is work for. They end when
/// the last of these handles is dropped and the work is done.
#[derive(Clone, Debug)]
pub(crate) struct Privileged(UnboundedSender<Job>);

impl Privileged {
    /// Starts them with the capabilities of the calling thread.
    ///
    /// # Errors
    /// The kernel has no thread for them.
    pub(crate) fn start() -> io::Result<Self> {
        let runtime = runtime::Builder::new_current_thread()
            .thread_name(WORK)
            .build()?;
        let (jobs, mut orders) = unbounded_channel::<Job>();
        // A thread that may block is made by the thread that asks for it, which is this one.
        let give = async move {
            while let Some(job) = orders.recv().await {
                spawn_blocking(job);
            }
        };
        Builder::new()
            .name(ORDERS.to_owned())
            .spawn(move || runtime.block_on(give))?;
        Ok(Self(jobs))
    }

    /// Does this on a thread that may block, for nobody who waits.
    pub(crate) fn order(&self, job: impl FnOnce() + Send + 'static) {
        if self.0.send(Box::new(job)).is_err() {
            tracing::error!("the privileged threads are gone");
        }
    }

    /// Does this on a thread that may block; `None` where it panicked.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        f: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let (tell, told) = oneshot::channel();
        self.order(move || {
            // Whoever asked may be gone.
            let _ = tell.send(f());
        });
        told.await.ok()
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, thread};

    use super::*;

    /// The calling thread's sets, in the kernel's order, and whether it can gain any.
    fn sets() -> Vec<String> {
        let status = fs::read_to_string("/proc/thread-self/status").unwrap();
        let wanted = ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"];
        let lines = status.lines().filter_map(|line| line.split_once(':'));
        lines
            .filter(|(name, _)| wanted.contains(name))
            .map(|(_, value)| value.trim().to_owned())
            .collect()
    }

    #[tokio::test]
    async fn the_work_is_done_with_the_starters_capabilities() {
        let privileged = Privileged::start().unwrap();
        let before = sets();
        let name = || thread::current().name().map(str::to_owned);
        let asks = thread::spawn(move || {
            drop_all().unwrap();
            let ask = privileged.run(move || (name(), sets()));
            let answer = runtime::Builder::new_current_thread()
                .build()
                .unwrap()
                .block_on(ask);
            (answer, sets())
        });
        let (answer, own) = asks.join().unwrap();
        assert_eq!(answer, Some((Some(WORK.to_owned()), before)));
        for set in [0, 1, 2, 4] {
            assert_eq!(own[set], "0000000000000000");
        }
    }

    #[tokio::test]
    async fn a_panic_is_no_answer_and_ends_nothing() {
        let privileged = Privileged::start().unwrap();
        assert_eq!(privileged.run(|| panic!("on purpose")).await, None::<()>);
        assert_eq!(privileged.run(|| 1).await, Some(1));
    }

    #[test]
    fn one_capability_goes_alone() {
        let before = thread::spawn(sets).join().unwrap();
        let without = thread::spawn(|| {
            drop_syslog().unwrap();
            sets()
        });
        let number = |set: &String| u64::from_str_radix(set, 16).unwrap();
        let without = without.join().unwrap();
        for set in [0, 1, 2, 4] {
            assert_eq!(number(&without[set]), number(&before[set]) & !(1 << 34));
        }
    }
}
