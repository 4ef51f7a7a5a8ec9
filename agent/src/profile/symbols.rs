//! The kernel's symbols, as `/proc/kallsyms` lists them.

use std::{
    cmp::Reverse,
    fs::File,
    io::{self, Read as _, Seek as _},
    ops::Range,
    sync::Arc,
};

use super::ProfileError;

const KALLSYMS: &str = "/proc/kallsyms";

/// The name of what no symbol covers.
const UNKNOWN: &str = "[unknown]";

/// The file, open. Whether it shows addresses is asked when it is opened and never again
/// (`kallsyms_open` in the kernel's `kernel/kallsyms.c`): only for that CAP_SYSLOG is needed.
#[derive(Clone, Debug)]
pub(crate) struct Kallsyms(Arc<io::Result<File>>);

impl Kallsyms {
    /// Opens it. What goes wrong is told by whoever reads.
    pub(crate) fn open() -> Self {
        Self(Arc::new(File::open(KALLSYMS)))
    }

    /// All of it, as it is now.
    fn read(&self) -> io::Result<String> {
        let again = |error: &io::Error| io::Error::new(error.kind(), error.to_string());
        let mut file = self.0.as_ref().as_ref().map_err(again)?;
        let mut text = Vec::new();
        file.rewind()?;
        file.read_to_end(&mut text)?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }
}

/// All functions of the kernel, its modules and the loaded eBPF programs.
#[derive(Debug)]
pub(super) struct Symbols {
    kallsyms: Kallsyms,
    /// The file. Names are ranges of it, so that a hundred thousand of them cost no allocation.
    text: String,
    /// Ascending by address, one name an address.
    functions: Vec<Function>,
    /// The kernel's own text, which never changes; modules and programs come and go elsewhere.
    core: Range<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Function {
    address: u64,
    name: Range<u32>,
}

impl Symbols {
    /// Reads the running kernel's.
    pub(super) fn read(kallsyms: &Kallsyms) -> Result<Self, ProfileError> {
        let text = kallsyms.read().map_err(|source| match source.kind() {
            io::ErrorKind::PermissionDenied => ProfileError::HiddenSymbols,
            _ => ProfileError::Symbols(source),
        })?;
        Self::parse(kallsyms, text)
    }

    /// Reads again if any of `addresses` lies where modules and programs come and go.
    pub(super) fn refresh<'a>(
        &mut self,
        mut addresses: impl Iterator<Item = &'a u64>,
    ) -> Result<(), ProfileError> {
        if addresses.any(|address| !self.core.contains(address)) {
            *self = Self::read(&self.kallsyms)?;
        }
        Ok(())
    }

    /// Lines are `ADDRESS TYPE NAME`, then `[MODULE]` where there is one. Types of functions are
    /// `t`, `w` and their capitals, which stand for global ones.
    fn parse(kallsyms: &Kallsyms, text: String) -> Result<Self, ProfileError> {
        let mut functions = Vec::with_capacity(text.len() / 40);
        let mut core = 0..u64::MAX;
        for line in text.lines() {
            let mut words = line.split_ascii_whitespace();
            let (Some(address), Some(kind), Some(name)) =
                (words.next(), words.next(), words.next())
            else {
                continue;
            };
            if !matches!(kind, "t" | "T" | "w" | "W") {
                continue;
            }
            let Ok(address) = u64::from_str_radix(address, 16) else {
                continue;
            };
            match name {
                "_stext" => core.start = address,
                "_etext" => core.end = address,
                _ => {}
            }
            let Ok(start) = u32::try_from(name.as_ptr().addr() - text.as_ptr().addr()) else {
                continue;
            };
            let rank = Rank::of(kind, name);
            functions.push((
                Function {
                    address,
                    name: start..start + name.len() as u32,
                },
                rank,
            ));
        }
        if functions.iter().all(|(function, _)| function.address == 0) {
            return Err(ProfileError::HiddenSymbols);
        }
        functions.sort_by_key(|(function, rank)| (function.address, *rank));
        functions.dedup_by_key(|(function, _)| function.address);
        let functions = functions
            .into_iter()
            .map(|(function, _)| function)
            .collect();
        Ok(Self {
            kallsyms: kallsyms.clone(),
            text,
            functions,
            core,
        })
    }

    /// The name of the function that `address` is in.
    pub(super) fn name(&self, address: u64) -> &str {
        let after = self
            .functions
            .partition_point(|function| function.address <= address);
        let function = after
            .checked_sub(1)
            .and_then(|index| self.functions.get(index));
        function
            .and_then(|function| {
                let Range { start, end } = function.name;
                self.text.get(start as usize..end as usize)
            })
            .unwrap_or(UNKNOWN)
    }
}

/// Which of several names of one address is the function's: the smallest. As perf chooses
/// (`choose_best_symbol` in tools/perf/util/symbol.c), so that both tell the same: one that is
/// not weak, then a global one, then fewest leading underscores, then the longest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    weak: bool,
    local: bool,
    underscores: usize,
    length: Reverse<usize>,
}

impl Rank {
    fn of(kind: &str, name: &str) -> Self {
        Self {
            weak: kind == "W",
            local: kind.starts_with(|letter: char| letter.is_ascii_lowercase()),
            underscores: name.bytes().take_while(|byte| *byte == b'_').count(),
            length: Reverse(name.len()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "\
ffffffff81000000 T _stext
ffffffff81000000 T _text
ffffffff81000010 t local_twin
ffffffff81000010 T __global_twin
ffffffff81000010 W weak_twin
ffffffff81000020 D data
ffffffff81000040 T vxlan_xmit
ffffffff81000100 T _etext
ffffffffc0000000 t nf_hook_slow\t[nf_tables]
ffffffffc0001000 t bpf_prog_6deef7357e7b4530_sample\t[bpf]
";

    fn symbols() -> Symbols {
        Symbols::parse(&Kallsyms::open(), FILE.to_owned()).unwrap()
    }

    #[test]
    fn an_address_belongs_to_the_function_at_or_below_it() {
        let symbols = symbols();
        assert_eq!(symbols.name(0xffff_ffff_8100_0040), "vxlan_xmit");
        assert_eq!(symbols.name(0xffff_ffff_8100_0041), "vxlan_xmit");
        assert_eq!(
            symbols.name(0xffff_ffff_8100_003f),
            "__global_twin",
            "data is no function"
        );
        assert_eq!(symbols.name(0x1000), UNKNOWN);
    }

    #[test]
    fn the_names_of_modules_and_programs_come_without_brackets() {
        let symbols = symbols();
        assert_eq!(symbols.name(0xffff_ffff_c000_0004), "nf_hook_slow");
        assert_eq!(
            symbols.name(0xffff_ffff_c000_1004),
            "bpf_prog_6deef7357e7b4530_sample"
        );
    }

    #[test]
    fn of_several_names_the_global_one_is_the_functions() {
        assert_eq!(symbols().name(0xffff_ffff_8100_0010), "__global_twin");
    }

    #[test]
    fn only_the_core_is_known_not_to_change() {
        let core = symbols().core;
        assert!(core.contains(&0xffff_ffff_8100_0040));
        assert!(!core.contains(&0xffff_ffff_c000_1004));
    }

    #[test]
    fn hidden_addresses_are_an_error_that_says_what_to_do() {
        let hidden = "0000000000000000 T _stext\n0000000000000000 T vxlan_xmit\n";
        let error = Symbols::parse(&Kallsyms::open(), hidden.to_owned()).unwrap_err();
        assert!(error.to_string().contains("CAP_SYSLOG"), "{error}");
        assert!(error.to_string().contains("kptr_restrict"), "{error}");
    }
}
