mod bed;
mod cost;
mod kernel;
mod perf;

use super::*;

#[test]
fn the_idle_threads_of_all_cpus_are_one() {
    assert_eq!(thread(b"swapper/0\0\0\0\0\0\0\0"), "swapper");
    assert_eq!(thread(b"swapper/127\0\0\0\0\0"), "swapper");
    assert_eq!(thread(b"iperf3\0\0\0\0\0\0\0\0\0\0"), "iperf3");
    assert_eq!(thread(b"sixteen-letters!"), "sixteen-letters!");
}
