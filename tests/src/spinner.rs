//! Ground truth for work, `backlog` and drops: the classifier of `agent-ebpf/src/spin.rs` on a device.

use std::{env, ffi::CString, path::Path};

use anyhow::{Context as _, Result, ensure};
use aya::{
    Ebpf, EbpfLoader,
    maps::{Array, MapData},
    programs::{SchedClassifier, TcAttachType},
};
use nettoll_lab::netns;

/// Names the folder of the eBPF objects.
pub const EBPF_DIR: &str = "NETTOLL_EBPF_DIR";

/// The attached classifier; it goes with this.
pub struct Spinner {
    spin: Array<MapData, u64>,
    spun: Array<MapData, [u64; 2]>,
    drops: Array<MapData, [u64; 2]>,
    clone_to: Array<MapData, u32>,
    namespace: String,
    _ebpf: Ebpf,
}

impl Spinner {
    /// Attaches it to a device of a namespace, where packets leave it or come to it. It does not spin
    /// yet.
    ///
    /// # Errors
    /// Where the object is missing, or the kernel refuses it.
    pub fn attach(namespace: &str, device: &str, hook: TcAttachType) -> Result<Self> {
        let folder = env::var_os(EBPF_DIR)
            .with_context(|| format!("{EBPF_DIR} is not set; run 'cargo xtask test --only lab'"))?;
        let mut ebpf = EbpfLoader::new().load_file(Path::new(&folder).join("spin"))?;
        let mut take = |name: &str| {
            ebpf.take_map(name)
                .with_context(|| format!("no map {name}"))
        };
        let (spin, spun) = (take("SPIN_NS")?.try_into()?, take("SPUN")?.try_into()?);
        let (drops, clone_to) = (
            take("DROP_EVERY")?.try_into()?,
            take("CLONE_TO")?.try_into()?,
        );
        let program: &mut SchedClassifier = ebpf
            .program_mut("spin")
            .context("no program 'spin'")?
            .try_into()?;
        program.load()?;
        netns::within(namespace, || program.attach(device, hook))??;
        Ok(Self {
            spin,
            spun,
            drops,
            clone_to,
            namespace: namespace.to_owned(),
            _ebpf: ebpf,
        })
    }

    /// Spins so long for each packet from now on.
    ///
    /// # Errors
    /// Where the map cannot be written.
    pub fn spin(&mut self, ns: u64) -> Result<()> {
        Ok(self.spin.set(0, ns, 0)?)
    }

    /// Drops each of so many packets from now on, 0 for none; how many it dropped since the last call.
    ///
    /// # Errors
    /// Where the map cannot be used.
    pub fn drop_every(&mut self, packets: u64) -> Result<u64> {
        let [every, seen] = self.drops.get(&0, 0)?;
        self.drops.set(0, [packets, 0], 0)?;
        Ok(seen.checked_div(every).unwrap_or(0))
    }

    /// From now on a clone of each packet is received on another device of the namespace, and on the
    /// same CPU: before the packet itself, which has not left yet.
    ///
    /// # Errors
    /// Where there is no such device.
    pub fn send_clones_to(&mut self, device: &str) -> Result<()> {
        let index = if_index(&self.namespace, device)?;
        Ok(self.clone_to.set(0, index, 0)?)
    }

    /// Mean time that it spun since the last call, in ns, and for how many packets.
    ///
    /// # Errors
    /// Where the map cannot be read.
    pub fn take_mean_ns(&mut self) -> Result<(f64, u64)> {
        let [packets, ns] = self.spun.get(&0, 0)?;
        self.spun.set(0, [0; 2], 0)?;
        Ok((ns as f64 / packets.max(1) as f64, packets))
    }
}

/// The index of a namespace's device.
#[expect(unsafe_code, reason = "the standard library knows no devices")]
fn if_index(namespace: &str, device: &str) -> Result<u32> {
    let name = CString::new(device)?;
    // SAFETY: if_nametoindex takes a string that ends with a 0.
    let index = netns::within(namespace, || unsafe { libc::if_nametoindex(name.as_ptr()) })?;
    ensure!(index != 0, "no device {device} in {namespace}");
    Ok(index)
}
