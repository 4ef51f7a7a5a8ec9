//! Those that need root and a real kernel are compiled with the feature `kernel-tests` and run
//! one at a time, see `docs/profile.md`.

#[cfg(feature = "kernel-tests")]
mod bed;
#[cfg(feature = "kernel-tests")]
mod kernel;
#[cfg(feature = "kernel-tests")]
mod perf;

use super::*;

#[test]
fn the_idle_threads_of_all_cpus_are_one() {
    assert_eq!(thread(b"swapper/0\0\0\0\0\0\0\0"), "swapper");
    assert_eq!(thread(b"swapper/127\0\0\0\0\0"), "swapper");
    assert_eq!(thread(b"iperf3\0\0\0\0\0\0\0\0\0\0"), "iperf3");
    assert_eq!(thread(b"sixteen-letters!"), "sixteen-letters!");
}
