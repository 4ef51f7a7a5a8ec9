//! A lab from up to down.

use std::{
    ffi::OsStr,
    path::Path,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use crate::{
    Binaries, Error, Options, bed, certificates, config, files, leftovers,
    lock::{self, Lock},
    netns,
    plan::{self, Plan},
    privilege,
    process::{self, Process},
    ready,
    state::{State, Status},
};

/// A lab that is up. It is taken down when this is dropped, and until then no other lab can be
/// made on this machine.
#[derive(Debug)]
pub struct Lab {
    plan: Plan,
    state: State,
    stop: Arc<AtomicBool>,
    down_on_drop: bool,
    lock: Lock,
}

impl Lab {
    /// Builds a lab, after taking down what an earlier one left.
    ///
    /// # Errors
    /// Any; nothing of the new lab is left then.
    pub fn up(options: &Options) -> Result<Self, Error> {
        privilege::check()?;
        let plan = Plan {
            has_services: options.services,
            ..Plan::new(options.nodes, options.network, options.underlay)?
        };
        if let Some(binaries) = &options.processes {
            check_program(&binaries.agent, "agent")?;
            check_program(&binaries.controller, "controller")?;
        }
        let stop = Arc::clone(&options.stop);
        let lock = lock::acquire(options.lock_wait, || go_on(&stop))?;
        leftovers::take_down(&lock)?;
        let state = State::new(options.nodes, &plan);
        // From here on, an early return drops the lab and so takes it down.
        let mut lab = Self {
            plan,
            state,
            stop,
            down_on_drop: true,
            lock,
        };
        files::make_directory()?;
        lab.state.write()?;
        bed::build(&lab.lock, &lab.plan, || go_on(&lab.stop))?;
        if let Some(binaries) = &options.processes {
            lab.start(binaries, &options.agents)?;
        }
        go_on(&lab.stop)?;
        Ok(lab)
    }

    /// Starts all processes, then waits for each.
    fn start(&mut self, binaries: &Binaries, more: &toml::Table) -> Result<(), Error> {
        certificates::write()?;
        config::write(&self.plan, more)?;
        let plan = self.plan.clone();
        let mut agents = Vec::new();
        for node in &plan.nodes {
            let name = format!("agent-{}", node.name);
            let agent = self.run(
                &name,
                &node.netns(),
                &binaries.agent,
                &config::agent_file(node),
            )?;
            agents.push((agent, node.metrics()));
        }
        let netns = plan::netns(plan::CONTROLLER);
        let controller = self.run(
            "controller",
            &netns,
            &binaries.controller,
            config::CONTROLLER_FILE,
        )?;
        for (agent, metrics) in &agents {
            ready::agent(agent, *metrics, || go_on(&self.stop))?;
        }
        ready::controller(&controller, || go_on(&self.stop))
    }

    fn run(
        &mut self,
        name: &str,
        netns: &str,
        program: &Path,
        file: &str,
    ) -> Result<Process, Error> {
        go_on(&self.stop)?;
        let arguments = ["run".into(), "--config".into(), files::path(file).into()];
        let process = Process::start(name, netns, program, &arguments)?;
        self.state.processes.push(process.clone());
        self.state.write()?;
        Ok(process)
    }

    /// The names and numbers of this lab.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// What was made.
    #[must_use]
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Leaves the lab up for other processes.
    pub fn leave(mut self) {
        self.down_on_drop = false;
    }

    /// Takes the lab down and tells how that went.
    ///
    /// # Errors
    /// What could not be taken down.
    pub fn down(mut self) -> Result<(), Error> {
        self.down_on_drop = false;
        leftovers::take_down(&self.lock)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if self.down_on_drop
            && let Err(error) = leftovers::take_down(&self.lock)
        {
            eprintln!("nettoll: the lab is not all down: {error}");
        }
    }
}

/// Takes down whatever lab there is, whoever made it. No lab is no error.
///
/// # Errors
/// [`Error::Lock`] where somebody holds it longer than `lock_wait`, and what could not be taken
/// down.
pub fn down(lock_wait: Duration) -> Result<(), Error> {
    privilege::check()?;
    let lock = lock::acquire(lock_wait, || Ok(()))?;
    leftovers::take_down(&lock)
}

/// The lab as it is now, `None` where none is up.
///
/// # Errors
/// Where its state cannot be read.
pub fn status() -> Result<Option<Status>, Error> {
    privilege::check()?;
    Ok(State::read()?.map(Status::of))
}

/// A command that will run in a place of the lab: `n1`, `n1-a`, `node/n1`, `pod/lab/n1-a`, `cp`.
///
/// # Errors
/// Where there is no such place, or not now.
pub fn command_in(place: &str, program: impl AsRef<OsStr>) -> Result<Command, Error> {
    privilege::check()?;
    let mut command = Command::new(program);
    netns::enter_before_exec(&mut command, &plan::netns_of(place)?)?;
    Ok(command)
}

fn check_program(program: &Path, flag: &'static str) -> Result<(), Error> {
    if program.is_file() {
        Ok(())
    } else {
        Err(process::Error::Missing {
            program: program.to_owned(),
            flag,
        }
        .into())
    }
}

fn go_on(stop: &AtomicBool) -> Result<(), Error> {
    if stop.load(Ordering::Relaxed) {
        Err(Error::Interrupted)
    } else {
        Ok(())
    }
}
