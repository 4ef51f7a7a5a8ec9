//! A device's driver and offloads, by the ethtool ioctl.
//!
//! The ioctl and not ethtool's netlink family: only it tells the driver, and every kernel has it.
//! Structures and numbers are of `linux/ethtool.h`; all are made of 32-bit words.

use std::{io, os::fd::AsRawFd};

use socket2::Socket;

const ETHTOOL_GDRVINFO: u32 = 0x03;
const ETHTOOL_GSTRINGS: u32 = 0x1b;
const ETHTOOL_GSSET_INFO: u32 = 0x37;
const ETHTOOL_GFEATURES: u32 = 0x3a;
/// The names of the features, among the sets of strings.
const ETH_SS_FEATURES: u32 = 4;
/// Bytes of a name.
const ETH_GSTRING_LEN: usize = 32;
/// Words of `struct ethtool_drvinfo`.
const DRVINFO_WORDS: usize = 49;
/// Words of `struct ethtool_get_features_block`: available, requested, active, never changed.
const BLOCK_WORDS: usize = 4;
/// More features than any kernel has.
const MAX_FEATURES: u32 = 4096;

/// The name of the device's driver.
pub(super) fn driver(control: &Socket, device: &str) -> io::Result<String> {
    let mut info = vec![0; DRVINFO_WORDS];
    info[0] = ETHTOOL_GDRVINFO;
    ask(control, device, &mut info)?;
    Ok(name(&bytes(&info)[4..4 + ETH_GSTRING_LEN]))
}

/// The names of the offloads that are on, as `ethtool -k` reads them from the kernel.
pub(super) fn offloads(control: &Socket, device: &str) -> io::Result<Vec<String>> {
    // struct ethtool_sset_info: command, reserved, mask of sets (64 bits), a count for each.
    let mut set = vec![ETHTOOL_GSSET_INFO, 0, 0, 0, 0];
    set[2..4].copy_from_slice(&words(1 << ETH_SS_FEATURES));
    ask(control, device, &mut set)?;
    let count = set[4];
    // The kernel fills in all names that it has, so the room must never be less.
    if count > MAX_FEATURES {
        return Err(io::Error::other(format!(
            "the kernel has {count} features, too many"
        )));
    }

    let mut strings = vec![ETHTOOL_GSTRINGS, ETH_SS_FEATURES, count];
    let head = strings.len();
    strings.resize(
        head + count as usize * ETH_GSTRING_LEN / size_of::<u32>(),
        0,
    );
    ask(control, device, &mut strings)?;
    let names = bytes(&strings[head..]);

    let blocks = count.div_ceil(u32::BITS);
    let mut features = vec![ETHTOOL_GFEATURES, blocks];
    features.resize(2 + blocks as usize * BLOCK_WORDS, 0);
    ask(control, device, &mut features)?;
    Ok(on(&names, &features[2..]))
}

/// The names whose feature is active.
fn on(names: &[u8], blocks: &[u32]) -> Vec<String> {
    let active = |feature: usize| {
        blocks
            .chunks_exact(BLOCK_WORDS)
            .nth(feature / u32::BITS as usize)
            .is_some_and(|block| block[2] >> (feature % u32::BITS as usize) & 1 == 1)
    };
    names
        .chunks_exact(ETH_GSTRING_LEN)
        .enumerate()
        .filter(|(feature, _)| active(*feature))
        .map(|(_, text)| name(text))
        .filter(|name| !name.is_empty())
        .collect()
}

/// A text that ends at the first NUL.
fn name(bytes: &[u8]) -> String {
    let end = bytes
        .iter()
        .position(|byte| *byte == 0)
        .unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

fn bytes(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_ne_bytes()).collect()
}

/// A 64-bit number in two words, in memory's order.
fn words(number: u64) -> [u32; 2] {
    let bytes = number.to_ne_bytes();
    let word =
        |at: usize| u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    [word(0), word(4)]
}

/// Lets the kernel fill `request`, whose first word is the command and whose length fits it.
#[expect(
    unsafe_code,
    reason = "the ethtool ioctl has no safe wrapper among our dependencies"
)]
fn ask(control: &Socket, device: &str, request: &mut [u32]) -> io::Result<()> {
    let mut ifr_name = [0; libc::IFNAMSIZ];
    // One byte less: the name ends with a NUL.
    if device.len() >= ifr_name.len() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    for (to, from) in ifr_name.iter_mut().zip(device.bytes()) {
        *to = libc::c_char::from_ne_bytes([from]);
    }
    let mut question = libc::ifreq {
        ifr_name,
        ifr_ifru: libc::__c_anonymous_ifr_ifru {
            ifru_data: request.as_mut_ptr().cast(),
        },
    };
    // SAFETY: the kernel reads `question`, and reads and writes the command's structure behind
    // `ifru_data`. Each caller's `request` is as long as that structure with the counts that it
    // holds, and both outlive the call.
    let failed = unsafe {
        libc::ioctl(
            control.as_raw_fd(),
            libc::SIOCETHTOOL as _,
            &raw mut question,
        )
    } < 0;
    if failed {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use socket2::{Domain, Type};

    use super::*;

    #[test]
    fn active_features_are_named() {
        let mut names = Vec::new();
        for number in 0..34 {
            let mut text = format!("feature-{number}").into_bytes();
            text.resize(ETH_GSTRING_LEN, 0);
            names.extend(text);
        }
        let blocks = [u32::MAX, 0, 0b101, 0, u32::MAX, 0, 0b10, 0];
        assert_eq!(
            on(&names, &blocks),
            ["feature-0", "feature-2", "feature-33"]
        );
    }

    #[test]
    fn lo_has_offloads_and_no_device_has_none() {
        let control = Socket::new(Domain::IPV4, Type::DGRAM, None).unwrap();
        let lo = offloads(&control, "lo").unwrap();
        assert!(lo.iter().any(|name| name == "loopback"), "{lo:?}");
        assert!(offloads(&control, "no-such-device").is_err());
        assert!(driver(&control, "a-name-that-is-much-too-long").is_err());
    }
}
