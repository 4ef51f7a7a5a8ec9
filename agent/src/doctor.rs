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

use nettoll_core::kernel::Reason;

use self::{
    capabilities::Capability,
    hooks::{Hook, Place},
    kernel::{KernelOption, Setting},
};
use crate::{
    context,
    probe::{ProbeError, Settings},
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
    fn make(settings: &Settings) -> Self {
        let kernel = context::kernel().unwrap_or_else(|| "unknown".to_owned());
        let capabilities = capabilities::all().unwrap_or_default();
        let (kernel_options_source, kernel_options) = kernel::options(&kernel);
        let (hooks, error) = hooks::found(lacking(&capabilities).is_empty(), settings);
        let mut report = Self {
            schema: "nettoll.doctor/v1",
            agent_version: env!("CARGO_PKG_VERSION"),
            kernel,
            ready: false,
            missing: Vec::new(),
            hooks,
            members: hooks::members(),
            capabilities,
            settings: (kernel::settings().into_iter())
                .chain(confinement::settings())
                .collect(),
            kernel_options,
            kernel_options_source,
        };
        report.missing = report.missing(error);
        report.ready = report.missing.is_empty();
        report
    }

    /// `error`: why there is no probe.
    fn missing(&self, error: Option<ProbeError>) -> Vec<String> {
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
        // What the probe does without is told in its row.
        if error.is_some() {
            missing.extend(self.in_the_way(causes.as_str()));
        }
        if missing.is_empty() {
            let of_programs = not_loading(error).into_iter();
            missing.extend(of_programs.map(|what| format!("{what}{causes}")));
        }
        missing
    }

    /// Which hooks and members keep the probe from working, beside what a lack of privilege breaks.
    fn in_the_way(&self, causes: &str) -> Vec<String> {
        let mut all = Vec::new();
        let mut required = self.hooks.iter().filter(|hook| hook.required);
        // All are forbidden or none is.
        if let Some(hook) = required.find(|hook| hook.reason == Reason::Forbidden) {
            all.push(format!("eBPF: {}{causes}", hook.detail));
        }
        let told = [Reason::NoPrivilege, Reason::Forbidden];
        let broken = |hook: &&Hook| hook.required && !hook.works && !told.contains(&hook.reason);
        for hook in self.hooks.iter().filter(broken) {
            let remedy = hook.remedy.unwrap_or_default();
            all.push(format!(
                "the tracepoint {}: {}; {remedy}",
                hook.name, hook.detail
            ));
        }
        for place in self.members.iter().filter(|place| place.offset.is_none()) {
            let detail = &place.detail;
            all.push(format!("the kernel's member {}: {detail}", place.name()));
        }
        all
    }
}

/// Why the agent's own programs do not load, though nothing else is missing.
fn not_loading(error: Option<ProbeError>) -> Vec<String> {
    let probe = match error {
        // One sentence for both.
        Some(error @ ProbeError::NotBuilt) => return vec![error.to_string()],
        error => error.map(|error| format!("the probe does not load: {error}")),
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
pub(crate) fn run(output: Output, settings: &Settings) -> ExitCode {
    let report = Report::make(settings);
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
