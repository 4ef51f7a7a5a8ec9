//! Drops with the reasons of whichever kernel runs, whose numbers are its own. `cargo xtask vm` runs this
//! inside machines with other kernels.

use anyhow::Result;
use nettoll_tests::drops;

#[test]
fn what_a_socket_has_no_room_for_is_lost_in_socket_rx() -> Result<()> {
    drops::fill_a_socket()
}
