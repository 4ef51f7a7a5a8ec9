//! The one question of the setup.

use std::{
    io::{self, BufRead as _, IsTerminal as _, Write as _},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::Duration,
};

use anyhow::Result;

use crate::{setup::plan::Step, signals, stop::Stop};

/// Shows on a terminal what would be done and asks once. Without a terminal nobody can answer,
/// and whoever runs this from a script wants it done.
pub(crate) fn agree(steps: &[Step]) -> Result<()> {
    if !(io::stdin().is_terminal() && io::stderr().is_terminal()) {
        return Ok(());
    }
    for step in steps {
        eprintln!("setup: needed: {step}");
    }
    eprint!("setup: go ahead? [Y/n] ");
    io::stderr().flush()?;
    let answer = read_line()?;
    if matches!(answer.trim().to_lowercase().as_str(), "" | "y" | "yes") {
        return Ok(());
    }
    Err(Stop::Prerequisite("nothing was installed".to_owned()).into())
}

/// A line from the terminal. Ctrl-C only sets a mark, so reading must not be waited for.
fn read_line() -> Result<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut line = String::new();
        let read = io::stdin().lock().read_line(&mut line);
        // Nobody waits any more after Ctrl-C.
        let _ = sender.send(read.map(|_| line));
    });
    loop {
        match receiver.recv_timeout(Duration::from_millis(50)) {
            Ok(line) => return Ok(line?),
            Err(RecvTimeoutError::Timeout) if !signals::interrupted() => {}
            Err(_) => {
                eprintln!();
                return Err(Stop::Interrupted.into());
            }
        }
    }
}
