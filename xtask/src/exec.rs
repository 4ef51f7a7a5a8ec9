//! Runs other programs. Each is in a process group of its own, so that Ctrl-C reaches this
//! program alone, which hands it on and goes on to clean up. One that cleans up outlives this
//! program where that is killed, any other does not.

use std::{
    io::{BufRead as _, BufReader},
    os::unix::process::CommandExt as _,
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

use crate::{
    signals,
    stop::{PREREQUISITE, Stop},
};

/// How often a running program and the interrupt mark are looked at.
const POLL: Duration = Duration::from_millis(20);
/// What an interrupted program gets, and how long after the interrupt.
const ESCALATION: [(Duration, libc::c_int); 3] = [
    (Duration::ZERO, libc::SIGINT),
    (Duration::from_secs(10), libc::SIGTERM),
    (Duration::from_secs(15), libc::SIGKILL),
];

/// Runs a program to its end, its output on ours.
///
/// # Errors
/// [`Stop::Interrupted`] after a signal, else where it cannot be started.
pub(crate) fn run(command: &mut Command) -> Result<ExitStatus> {
    let child = start(command)?;
    supervise(child, None)
}

/// Like [`run`], and an exit code other than 0 is an error.
pub(crate) fn run_ok(command: &mut Command, what: &str) -> Result<()> {
    success(run(command)?, what)
}

/// Like [`run`], handing each line of the program's standard output to `line` as it comes.
pub(crate) fn run_lines(
    command: &mut Command,
    line: impl FnMut(&str) + Send,
) -> Result<ExitStatus> {
    run_lines_within(command, None, line)
}

/// Like [`run_lines`]; a program that has not ended after `limit` is killed, which is an error.
pub(crate) fn run_lines_within(
    command: &mut Command,
    limit: Option<Duration>,
    mut line: impl FnMut(&str) + Send,
) -> Result<ExitStatus> {
    let mut child = start(command.stdout(Stdio::piped()))?;
    let output = child.stdout.take().context("the program has no output")?;
    thread::scope(|scope| {
        scope.spawn(move || {
            for text in BufReader::new(output).split(b'\n').map_while(Result::ok) {
                line(&String::from_utf8_lossy(&text));
            }
        });
        supervise(child, limit)
    })
}

/// Runs a clean-up to its end, whatever signals come meanwhile.
pub(crate) fn run_to_end(command: &mut Command) -> Result<ExitStatus> {
    spawn(command)?
        .wait()
        .with_context(|| format!("cannot wait for {}", name(command)))
}

/// The standard output of a short program that says something about the machine.
///
/// # Errors
/// Where it cannot be started, fails or prints something that is not text.
pub(crate) fn ask(command: &mut Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .with_context(|| format!("cannot start {}", name(command)))?;
    success(output.status, &name(command))?;
    String::from_utf8(output.stdout).with_context(|| format!("{} printed no text", name(command)))
}

/// An exit code other than 0 as an error. A prerequisite that the program missed stays one.
pub(crate) fn success(status: ExitStatus, what: &str) -> Result<()> {
    if status.success() {
        return Ok(());
    }
    let code = status.code();
    if code == Some(i32::from(PREREQUISITE)) {
        return Err(Stop::Prerequisite(format!("{what} cannot run here")).into());
    }
    let what = what.to_owned();
    Err(Stop::Failed { what, code }.into())
}

/// Starts a program that the caller ends.
pub(crate) fn start(command: &mut Command) -> Result<Child> {
    signals::end_with_parent(command);
    spawn(command)
}

fn spawn(command: &mut Command) -> Result<Child> {
    command
        .stdin(Stdio::null())
        .process_group(0)
        .spawn()
        .with_context(|| format!("cannot start {}", name(command)))
}

fn supervise(mut child: Child, limit: Option<Duration>) -> Result<ExitStatus> {
    let begin = Instant::now();
    let mut interrupted: Option<Instant> = None;
    let mut escalation = ESCALATION.iter().peekable();
    loop {
        let status = child.try_wait().context("cannot wait for a program")?;
        if signals::interrupted() {
            let since = interrupted.get_or_insert_with(Instant::now).elapsed();
            if status.is_some() {
                return Err(Stop::Interrupted.into());
            }
            if let Some((_, signal)) = escalation.next_if(|(after, _)| since >= *after) {
                signals::send_to_group(child.id(), *signal);
            }
        } else if let Some(status) = status {
            return Ok(status);
        } else if let Some(limit) = limit.filter(|limit| begin.elapsed() > *limit) {
            signals::send_to_group(child.id(), libc::SIGKILL);
            child.wait().context("cannot wait for a program")?;
            bail!("it did not end within {} s", limit.as_secs());
        }
        thread::sleep(POLL);
    }
}

fn name(command: &Command) -> String {
    command.get_program().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use std::{env, fs, path::Path};

    use super::*;

    /// The process in which this is set starts a program, and is killed.
    const KILLED: &str = "NETTOLL_XTASK_TEST_KILLED";

    #[test]
    fn a_program_ends_with_this_one() {
        if env::var_os(KILLED).is_some() {
            let script = "echo $$; exec sleep 60";
            let mut sleep = Command::new("sh");
            let line = |pid: &str| println!("PID {pid}");
            run_lines(sleep.args(["-c", script]), line).unwrap();
            return;
        }
        let mut killed = Command::new(env::current_exe().unwrap())
            .args(["--exact", "exec::tests::a_program_ends_with_this_one"])
            .arg("--nocapture")
            .env(KILLED, "1")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(killed.stdout.take().unwrap()).lines();
        let pid = lines
            .map_while(Result::ok)
            .find_map(|line| Some(line.split_once("PID ")?.1.to_owned()));
        let of_program = Path::new("/proc").join(pid.unwrap()).join("stat");
        let runs = || {
            let stat = fs::read_to_string(&of_program);
            stat.is_ok_and(|stat| stat.contains("(sleep)") && !stat.contains(") Z "))
        };
        let deadline = Instant::now() + Duration::from_secs(10);
        while !runs() {
            assert!(Instant::now() < deadline, "it did not begin");
            thread::sleep(POLL);
        }
        killed.kill().unwrap();
        killed.wait().unwrap();
        while runs() {
            assert!(Instant::now() < deadline, "it goes on");
            thread::sleep(POLL);
        }
    }
}
