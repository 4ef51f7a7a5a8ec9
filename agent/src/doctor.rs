//! What the agent needs, and whether this machine has it: every answer is tried or read, none
//! is guessed from a version.

mod bpf;
pub(crate) mod capabilities;
mod confinement;
pub(crate) mod hooks;
mod kernel;
mod table;

use std::{
    io::{IsTerminal, Write, stdout},
    process::ExitCode,
};

use clap::ValueEnum;
use serde::Serialize;

use self::{
    capabilities::Capability,
    hooks::{Hook, Place},
    kernel::{KernelOption, Setting},
};
use crate::{
    context,
    probe::{Probe, ProbeError},
    profile::{Kallsyms, Profiler},
};

/// How the findings are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people: 80 columns.
    Table,
    /// For programs.
    Json,
}

/// All findings. Programs rely on these names.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Report {
    schema: &'static str,
    agent_version: &'static str,
    /// `uname -r`.
    kernel: String,
    /// Nothing is [`Self::missing`].
    ready: bool,
    /// What keeps the agent or its probe from working, and what to do.
    missing: Vec<String>,
    capabilities: Vec<Capability>,
    settings: Vec<Setting>,
    kernel_options: Vec<KernelOption>,
    /// The file they were read from.
    kernel_options_source: Option<String>,
    hooks: Vec<Hook>,
    /// What the programs read of the kernel's structures.
    members: Vec<Place>,
}

impl Report {
    /// Looks at everything.
    fn make() -> Self {
        let kernel = context::kernel().unwrap_or_else(|| "unknown".to_owned());
        let capabilities = capabilities::all().unwrap_or_default();
        let (kernel_options_source, kernel_options) = kernel::options(&kernel);
        let mut report = Self {
            schema: "nettoll.doctor/v1",
            agent_version: env!("CARGO_PKG_VERSION"),
            kernel,
            ready: false,
            missing: Vec::new(),
            hooks: hooks::try_all(lacking(&capabilities).is_empty()),
            members: hooks::members(),
            capabilities,
            settings: (kernel::settings().into_iter())
                .chain(confinement::settings())
                .collect(),
            kernel_options,
            kernel_options_source,
        };
        report.missing = report.missing();
        report.ready = report.missing.is_empty();
        report
    }

    fn missing(&self) -> Vec<String> {
        let mut missing = Vec::new();
        if self.capabilities.is_empty() {
            missing.push("/proc/self/status cannot be read; mount /proc".to_owned());
        }
        let lacking = lacking(&self.capabilities);
        if !lacking.is_empty() {
            missing.push(format!(
                "{}: run as root, or give the binary or container these capabilities",
                lacking.join(", ")
            ));
        }
        for setting in self
            .settings
            .iter()
            .filter(|setting| setting.required && !setting.good)
        {
            missing.push(format!(
                "{} is {}: {}",
                setting.name, setting.value, setting.meaning
            ));
        }
        for option in self.kernel_options.iter().filter(|option| option.required) {
            if option.value == "n" {
                missing.push(format!(
                    "{} is off: use a kernel that is built with it ({})",
                    option.name, option.purpose
                ));
            }
        }
        let causes = confinement::causes(&self.settings);
        let mut required = self.hooks.iter().filter(|hook| hook.required);
        // All are forbidden or none is.
        if let Some(hook) = required.find(|hook| hook.reason == hooks::Reason::Forbidden) {
            missing.push(format!("eBPF: {}{causes}", hook.detail));
        }
        // What a lack of privilege breaks was told above.
        let told = [hooks::Reason::NoPrivilege, hooks::Reason::Forbidden];
        let broken = |hook: &&Hook| hook.required && !hook.works && !told.contains(&hook.reason);
        for hook in self.hooks.iter().filter(broken) {
            let remedy = hook.remedy.unwrap_or_default();
            missing.push(format!(
                "the tracepoint {}: {}; {remedy}",
                hook.name, hook.detail
            ));
        }
        for place in self.members.iter().filter(|place| place.offset.is_none()) {
            let detail = &place.detail;
            missing.push(format!("the kernel's member {}: {detail}", place.name()));
        }
        if missing.is_empty() {
            let of_programs = not_loading().into_iter();
            missing.extend(of_programs.map(|what| format!("{what}{causes}")));
        }
        missing
    }
}

/// Why the agent's own programs do not load, though nothing else is missing.
fn not_loading() -> Vec<String> {
    let probe = match Probe::load() {
        // One sentence for both.
        Err(error @ ProbeError::NotBuilt) => return vec![error.to_string()],
        Err(error) => Some(format!(
            "all hooks work, but the probe does not load: {error}"
        )),
        Ok(_) => None,
    };
    let profiler = (Profiler::load(&Kallsyms::open()).err())
        .map(|error| format!("the CPUs cannot be sampled: {error}"));
    probe.into_iter().chain(profiler).collect()
}

fn lacking(capabilities: &[Capability]) -> Vec<&'static str> {
    let lacking = |capability: &&Capability| capability.required && !capability.held;
    capabilities
        .iter()
        .filter(lacking)
        .map(|capability| capability.name)
        .collect()
}

/// Writes the findings. The exit code is 0 where everything needed works, else 2.
pub(crate) fn run(output: Output) -> ExitCode {
    let report = Report::make();
    let text = match output {
        Output::Table => table::table(&report, stdout().is_terminal()),
        Output::Json => match serde_json::to_string_pretty(&report) {
            Ok(text) => text + "\n",
            Err(error) => {
                eprintln!("nettoll-agent: the findings cannot be written as JSON: {error}");
                return ExitCode::FAILURE;
            }
        },
    };
    // A reader that has seen enough is no failure.
    let _ = stdout().write_all(text.as_bytes());
    ExitCode::from(if report.ready { 0 } else { 2 })
}
