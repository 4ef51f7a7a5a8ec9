//! Which pod a process belongs to, by its line in `/proc/PID/cgroup`.
//!
//! Kubelet makes a cgroup for each pod and the container runtime one for each container in it.
//! Their names depend on the cgroup driver, and what is before them on how the node is set up
//! (nested nodes, a private cgroup namespace of the reader), but the pod's always holds its UID:
//!
//! | driver | path |
//! |---|---|
//! | cgroupfs | `…/kubepods/burstable/podUID/CONTAINER` |
//! | systemd, containerd | `…/kubepods-burstable-podU_I_D.slice/cri-containerd-CONTAINER.scope` |
//! | systemd, CRI-O | `…/kubepods-podU_I_D.slice/crio-CONTAINER.scope[/container]` |

/// What CRI-O with crun adds below a container's scope.
const CRUN_LEAF: &str = "container";

/// Whether a process with these cgroups is of a container of the pod, and in no cgroup that the
/// container made itself: those may have network namespaces of their own (a container runtime
/// that runs in a pod).
pub(super) fn is_container_of(cgroups: &str, uid: &str) -> bool {
    cgroups
        .lines()
        .filter_map(|line| line.splitn(3, ':').nth(2))
        .any(|path| {
            let mut parts = path
                .split('/')
                .skip_while(|part| !is_pod(part, uid))
                .skip(1);
            let container = parts.next().is_some_and(|part| !part.is_empty());
            match (parts.next(), parts.next()) {
                (None, _) => container,
                (Some(leaf), None) => container && leaf == CRUN_LEAF,
                (Some(_), Some(_)) => false,
            }
        })
}

/// Whether a cgroup's name is that of the pod. No UID is the end of another one: all have one
/// length, or begin after the word `pod`.
fn is_pod(part: &str, uid: &str) -> bool {
    let name = part.strip_suffix(".slice").unwrap_or(part);
    let found = name.strip_prefix("pod").or_else(|| {
        name.strip_prefix("kubepods")
            .and_then(|rest| rest.rsplit_once("-pod"))
            .map(|(_, uid)| uid)
    });
    found.is_some_and(|found| {
        !uid.is_empty()
            && found.len() == uid.len()
            && found
                .bytes()
                .map(|byte| if byte == b'_' { b'-' } else { byte })
                .eq(uid.bytes())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const UID: &str = "0a1b2c3d-1111-2222-3333-444455556666";

    #[test]
    fn containers_are_found_by_the_names_of_all_drivers() {
        for path in [
            "12:cpu,cpuacct:/kubepods/burstable/pod0a1b2c3d-1111-2222-3333-444455556666/f00d",
            "3:pids:/kit-n1/kubepods/besteffort/pod0a1b2c3d-1111-2222-3333-444455556666/f00d",
            "0::/kubelet/kubepods/pod0a1b2c3d-1111-2222-3333-444455556666/f00d",
            "0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod0a1b2c3d_1111_2222_3333_444455556666.slice/cri-containerd-f00d.scope",
            "0::/kubepods.slice/kubepods-pod0a1b2c3d_1111_2222_3333_444455556666.slice/crio-f00d.scope/container",
            // As a reader in a cgroup namespace of its own sees it.
            "0::/../../kubepods-besteffort-pod0a1b2c3d_1111_2222_3333_444455556666.slice/cri-containerd-f00d.scope",
        ] {
            assert!(is_container_of(path, UID), "{path}");
            let first = "5:devices:/user.slice\n".to_owned();
            assert!(is_container_of(&(first + path + "\n"), UID), "{path}");
        }
    }

    #[test]
    fn nothing_else_is_taken_for_one() {
        let hash = "9bf9cc0d8be4f0d7cd0d3ab6d2b0a2f5";
        assert!(is_container_of(
            "0::/kubepods/burstable/pod9bf9cc0d8be4f0d7cd0d3ab6d2b0a2f5/f00d",
            hash
        ));
        for path in [
            "",
            "0::/",
            // The pod's own cgroup, and one below a container's.
            "0::/kubepods/pod0a1b2c3d-1111-2222-3333-444455556666",
            "0::/kubepods/pod0a1b2c3d-1111-2222-3333-444455556666/",
            "0::/kubepods/pod0a1b2c3d-1111-2222-3333-444455556666/f00d/docker/beef",
            "0::/kubepods/pod0a1b2c3d-1111-2222-3333-444455556666/f00d/container/init.scope",
            // Another pod.
            "0::/kubepods/pod1a1b2c3d-1111-2222-3333-444455556666/f00d",
            "0::/kubepods/pod-0a1b2c3d-1111-2222-3333-444455556666/f00d",
            "0::/system.slice/x-pod0a1b2c3d-1111-2222-3333-444455556666.slice/f00d",
        ] {
            assert!(!is_container_of(path, UID), "{path}");
        }
        assert!(!is_container_of("0::/kubepods/pod/f00d", ""));
    }
}
