//! Tells the programs whose registers they read: `cfg(bpf_target_arch)`, as aya-ebpf sets it.

fn main() -> aya_build::Result<()> {
    aya_build::emit_bpf_target_arch_cfg()
}
