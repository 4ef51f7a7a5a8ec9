//! Embeds the eBPF objects that `cargo xtask build` made.
//!
//! `NETTOLL_EBPF_DIR` names the folder that holds them. Without it the agent is built without a
//! probe and says so at run time: checking and linting user space needs no eBPF toolchain.

use std::{env, error::Error, fs, path::Path};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-env-changed=NETTOLL_EBPF_DIR");
    let out = env::var("OUT_DIR")?;
    let dir = env::var("NETTOLL_EBPF_DIR").ok();
    for object in ["empty", "hops", "hops_raw", "profile", "seam"] {
        let to = Path::new(&out).join(object);
        match &dir {
            Some(dir) => {
                let from = Path::new(dir).join(object);
                println!("cargo::rerun-if-changed={}", from.display());
                fs::copy(&from, &to).map_err(|error| {
                    format!("{}: {error}; 'cargo xtask build' makes it", from.display())
                })?;
            }
            None => fs::write(&to, [])?,
        }
    }
    Ok(())
}
