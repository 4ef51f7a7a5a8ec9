//! What may forbid to this process what its capabilities allow: AppArmor, SELinux, seccomp and the
//! kernel's lockdown. Whether one does is told by what is tried; here is which ones are there.

use std::fs;

use super::kernel::Setting;

/// Of a process that a seccomp filter holds. Runtimes' usual filters let pass what capabilities
/// allow, so that it is a cause only where something is refused.
const FILTERED: &str = "filtered";

/// How this process is confined.
pub(super) fn settings() -> [Setting; 4] {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let current = read("/proc/self/attr/current");
    // From Linux 5.8 on each module has a file of its own.
    let of_apparmor = fs::read_to_string("/proc/self/attr/apparmor/current");
    let apparmor = apparmor(&of_apparmor.unwrap_or_else(|_| current.clone()));
    let selinux = selinux(&read("/sys/fs/selinux/enforce"), &current);
    let lockdown = lockdown(&read("/sys/kernel/security/lockdown"));
    let setting = |name, value: String, good, meaning| Setting {
        name,
        value,
        good,
        required: false,
        meaning,
    };
    [
        setting(
            "lockdown",
            lockdown.clone(),
            lockdown != "confidentiality",
            "'confidentiality' forbids programs that read the kernel, and samples",
        ),
        setting(
            "AppArmor",
            apparmor.clone(),
            !apparmor.ends_with("(enforce)"),
            "a profile may forbid eBPF and setns(2); the manifests ask for none",
        ),
        setting(
            "SELinux",
            selinux.clone(),
            !selinux.starts_with("enforcing, container_"),
            "containers may not load eBPF; deploy/overlays/selinux asks for spc_t",
        ),
        setting(
            "seccomp",
            seccomp(&read("/proc/self/status")).to_owned(),
            true,
            "a filter may forbid bpf(2), perf_event_open(2) and setns(2)",
        ),
    ]
}

/// Those of the settings that can be why something is refused, after a refusal; else nothing.
pub(super) fn causes(settings: &[Setting]) -> String {
    let may = |setting: &&Setting| match setting.name {
        "lockdown" | "AppArmor" | "SELinux" => !setting.good,
        "seccomp" => setting.value == FILTERED,
        _ => false,
    };
    let named = |setting: &Setting| format!("{} ({})", setting.name, setting.value);
    let named: Vec<_> = settings.iter().filter(may).map(named).collect();
    if named.is_empty() {
        String::new()
    } else {
        format!("; what may forbid it: {}", named.join(", "))
    }
}

/// `none [integrity] confidentiality`: the chosen one.
fn lockdown(file: &str) -> String {
    let chosen = file.split(['[', ']']).nth(1);
    chosen.unwrap_or("unknown").to_owned()
}

/// `unconfined`, or `PROFILE (enforce)`; a context of SELinux is none of it.
fn apparmor(file: &str) -> String {
    let profile = file.trim_matches(['\n', '\0']);
    if profile.is_empty() || type_of(profile).is_some() {
        "off".to_owned()
    } else {
        profile.to_owned()
    }
}

fn selinux(enforce: &str, context: &str) -> String {
    match (type_of(context), enforce.trim()) {
        (None, _) => "off".to_owned(),
        (Some(_), "0") => "permissive".to_owned(),
        (Some(kind), _) => format!("enforcing, {kind}"),
    }
}

/// The type in `user:role:type:level`.
fn type_of(context: &str) -> Option<&str> {
    let mut parts = context.trim_matches(['\n', '\0']).split(':');
    parts.nth(2).filter(|kind| kind.ends_with("_t"))
}

fn seccomp(status: &str) -> &'static str {
    let mode = status
        .lines()
        .find_map(|line| line.strip_prefix("Seccomp:"));
    match mode.map(str::trim) {
        Some("0") => "off",
        Some("1") => "strict",
        Some(_) => FILTERED,
        None => "unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_files_words_are_understood() {
        assert_eq!(lockdown("[none] integrity confidentiality\n"), "none");
        assert_eq!(
            lockdown("none integrity [confidentiality]\n"),
            "confidentiality"
        );
        assert_eq!(lockdown(""), "unknown");
        assert_eq!(
            apparmor("docker-default (enforce)\n"),
            "docker-default (enforce)"
        );
        assert_eq!(apparmor("unconfined\n"), "unconfined");
        let context = "system_u:system_r:container_t:s0:c1,c2\0";
        assert_eq!(
            (apparmor(context), apparmor("")),
            ("off".into(), "off".into())
        );
        assert_eq!(selinux("1", context), "enforcing, container_t");
        assert_eq!(selinux("", context), "enforcing, container_t");
        assert_eq!(selinux("0\n", context), "permissive");
        assert_eq!(selinux("", "docker-default (enforce)\n"), "off");
        assert_eq!(
            seccomp("Name:\tx\nSeccomp:\t2\nSeccomp_filters:\t1\n"),
            FILTERED
        );
        assert_eq!(seccomp("Seccomp:\t0\n"), "off");
    }

    #[test]
    fn only_what_may_forbid_is_named_as_a_cause() {
        let mut all = settings();
        for setting in &mut all {
            (setting.value, setting.good) = ("x".to_owned(), true);
        }
        assert_eq!(causes(&all), "");
        (all[1].value, all[1].good) = ("docker-default (enforce)".to_owned(), false);
        all[3].value = FILTERED.to_owned();
        let told = "; what may forbid it: AppArmor (docker-default (enforce)), seccomp (filtered)";
        assert_eq!(causes(&all), told);
    }
}
