//! Switching the sampling from threads that may not: those of the traffic, which hold no
//! capability.

use std::{
    io,
    sync::{
        Arc,
        mpsc::{SyncSender, channel, sync_channel},
    },
    thread::Builder,
};

use crate::traffic::Sample;

/// Calls `switch` on a thread with the capabilities of this one. It ends when what this gives is
/// dropped.
pub(super) fn start(
    switch: impl Fn(bool) -> Result<(), String> + Send + 'static,
) -> io::Result<Sample> {
    let (orders, heard) = channel::<(bool, SyncSender<Result<(), String>>)>();
    Builder::new()
        .name("nettoll-sampler".to_owned())
        .spawn(move || {
            for (on, answer) in heard {
                // Whoever asked waits for it.
                let _ = answer.send(switch(on));
            }
        })?;
    Ok(Arc::new(move |on| {
        let (answer, answered) = sync_channel(1);
        // Where the thread is gone, so is the answer's other end.
        let _ = orders.send((on, answer));
        answered
            .recv()
            .map_err(|_| "the sampler's thread is gone".to_owned())?
    }))
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn the_switch_is_called_elsewhere_and_answers() {
        let name = || thread::current().name().map(str::to_owned);
        let sample = start(move |on| match on {
            true => Ok(()),
            false => Err(name().unwrap_or_default()),
        })
        .unwrap();
        assert_eq!(sample(true), Ok(()));
        assert_eq!(sample(false), Err("nettoll-sampler".to_owned()));
    }

    #[test]
    fn a_panic_is_an_error() {
        let sample = start(|_| panic!("on purpose")).unwrap();
        assert!(sample(true).is_err());
        assert!(sample(false).is_err());
    }
}
