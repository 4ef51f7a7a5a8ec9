//! The agent of nettoll.

mod netns;
mod probe;
mod profile;
mod runs;

fn main() {}
