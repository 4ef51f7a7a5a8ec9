//! The binary of the agent: all is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    nettoll_agent::main()
}
