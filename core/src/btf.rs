//! A reader of BTF, the kernel's description of its own types.
//!
//! Only what the probe needs: the offset of a (possibly nested) member, the existence of a
//! function, the prototype of a tracepoint, the values of an enumeration. The format is that of the kernel's
//! `Documentation/bpf/btf.rst`. Truncated or inconsistent input is an error, never a panic. [`cut`]
//! makes small descriptions of large ones, for tests.

pub mod cut;
mod enumerators;

use std::fmt;

const MAGIC: u16 = 0xEB9F;
/// Anonymous members nest; a cycle would be a broken blob.
const MAX_DEPTH: u32 = 32;

/// Why BTF gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum BtfError {
    /// Not BTF, or a damaged one.
    #[error("the BTF is damaged: {0}")]
    Damaged(&'static str),
    /// No such structure.
    #[error("the kernel has no structure '{0}'")]
    NoStruct(String),
    /// No such member.
    #[error("the kernel's '{structure}' has no member '{member}'")]
    NoMember {
        /// The structure.
        structure: String,
        /// The member.
        member: String,
    },
    /// Several structures of one name disagree.
    #[error("the kernel has several structures '{0}' that disagree about this member")]
    Ambiguous(String),
    /// The member is a bit field.
    #[error("'{0}' is a bit field")]
    BitField(String),
}

/// Kinds of types, as `enum` in `include/uapi/linux/btf.h` numbers them.
mod kind {
    pub(super) const INT: u32 = 1;
    pub(super) const ARRAY: u32 = 3;
    pub(super) const STRUCT: u32 = 4;
    pub(super) const UNION: u32 = 5;
    pub(super) const ENUM: u32 = 6;
    pub(super) const FWD: u32 = 7;
    pub(super) const TYPEDEF: u32 = 8;
    pub(super) const VOLATILE: u32 = 9;
    pub(super) const CONST: u32 = 10;
    pub(super) const RESTRICT: u32 = 11;
    pub(super) const PTR: u32 = 2;
    pub(super) const FUNC: u32 = 12;
    pub(super) const FUNC_PROTO: u32 = 13;
    pub(super) const VAR: u32 = 14;
    pub(super) const DATASEC: u32 = 15;
    pub(super) const DECL_TAG: u32 = 17;
    pub(super) const TYPE_TAG: u32 = 18;
    pub(super) const ENUM64: u32 = 19;
}

/// An argument of a tracepoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Argument {
    /// Its name; the kernel gives those of tracepoints none.
    pub name: String,
    /// Its type without qualifiers, `struct sk_buff *`.
    pub ty: String,
}

impl fmt::Display for Argument {
    /// As C writes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, ty } = self;
        let space = if name.is_empty() || ty.ends_with('*') {
            ""
        } else {
            " "
        };
        write!(f, "{ty}{space}{name}")
    }
}

/// A parsed blob.
#[derive(Debug)]
pub struct Btf {
    bytes: Vec<u8>,
    strings: usize,
    /// Where each type begins; the type with id N is at N − 1 (id 0 is `void`).
    types: Vec<u32>,
}

/// One type's header.
struct Type {
    at: usize,
    name: u32,
    kind: u32,
    /// `info`'s kind flag: member offsets carry bit field sizes.
    flag: bool,
    count: u32,
    /// Size, or the id of the type that this one refers to.
    size_or_type: u32,
}

impl Btf {
    /// Reads a blob.
    ///
    /// # Errors
    /// [`BtfError::Damaged`].
    pub fn parse(bytes: Vec<u8>) -> Result<Self, BtfError> {
        let header = |at| word(&bytes, at).ok_or(BtfError::Damaged("no whole header"));
        if header(0)? & 0xFFFF != u32::from(MAGIC) {
            return Err(BtfError::Damaged("wrong magic or byte order"));
        }
        let start = header(4)? as usize;
        let types = start.saturating_add(header(8)? as usize);
        let end = types.saturating_add(header(12)? as usize);
        let strings = start.saturating_add(header(16)? as usize);
        if end > bytes.len() || strings.saturating_add(header(20)? as usize) > bytes.len() {
            return Err(BtfError::Damaged("sections beyond its end"));
        }
        let mut btf = Self {
            bytes,
            strings,
            types: Vec::new(),
        };
        let mut at = types;
        while at < end {
            let ty = btf.read_type(at)?;
            btf.types.push(at as u32);
            at += 12 + trailer(&ty)?;
        }
        Ok(btf)
    }

    /// Offset in bytes of `path` (`nd_net.net`), looked for in anonymous members too.
    ///
    /// # Errors
    /// Where there is no such member, or not one alone.
    pub fn offset(&self, structure: &str, path: &str) -> Result<u32, BtfError> {
        let mut found = None;
        let mut last_error = BtfError::NoStruct(structure.to_owned());
        for id in 1..=self.types.len() as u32 {
            let ty = self.get(id)?;
            if !matches!(ty.kind, kind::STRUCT | kind::UNION)
                || ty.count == 0
                || self.string(ty.name)? != structure.as_bytes()
            {
                continue;
            }
            match self.offset_in(id, structure, path) {
                Ok(offset) if found.is_some_and(|other| other != offset) => {
                    return Err(BtfError::Ambiguous(structure.to_owned()));
                }
                Ok(offset) => found = Some(offset),
                Err(error) => last_error = error,
            }
        }
        found.ok_or(last_error)
    }

    /// The id of the function, where there is exactly one.
    ///
    /// # Errors
    /// [`BtfError::Damaged`].
    pub fn function(&self, name: &str) -> Result<Option<u32>, BtfError> {
        self.unique(kind::FUNC, name)
    }

    /// The id of a tracepoint's `btf_trace_NAME`, by which `tp_btf` programs attach.
    ///
    /// # Errors
    /// [`BtfError::Damaged`].
    pub fn tracepoint(&self, name: &str) -> Result<Option<u32>, BtfError> {
        self.unique(kind::TYPEDEF, &format!("btf_trace_{name}"))
    }

    /// The arguments that a tracepoint's program sees, `None` where there is no such tracepoint.
    ///
    /// # Errors
    /// [`BtfError::Damaged`].
    pub fn prototype(&self, name: &str) -> Result<Option<Vec<Argument>>, BtfError> {
        let Some(id) = self.tracepoint(name)? else {
            return Ok(None);
        };
        // typedef → pointer → prototype.
        let mut ty = self.get(id)?;
        while matches!(ty.kind, kind::TYPEDEF | kind::PTR) {
            ty = self.get(ty.size_or_type)?;
        }
        if ty.kind != kind::FUNC_PROTO {
            return Err(BtfError::Damaged("a tracepoint without a prototype"));
        }
        // The first parameter (`void *`) is the kernel's own.
        let arguments = (1..ty.count as usize).map(|index| {
            let at = ty.at + 12 + 8 * index;
            Ok(Argument {
                name: self.text(self.word(at)?)?,
                ty: self.type_name(self.word(at + 4)?, 0)?,
            })
        });
        arguments.collect::<Result<_, _>>().map(Some)
    }

    /// A type as C writes it, without qualifiers: `struct sk_buff *`.
    fn type_name(&self, id: u32, depth: u32) -> Result<String, BtfError> {
        if depth > MAX_DEPTH {
            return Err(BtfError::Damaged("types without end"));
        }
        if id == 0 {
            return Ok("void".to_owned());
        }
        let ty = self.get(id)?;
        let tagged = |word: &str| Ok(format!("{word} {}", self.text(ty.name)?));
        match ty.kind {
            kind::CONST | kind::VOLATILE | kind::RESTRICT | kind::TYPE_TAG => {
                self.type_name(ty.size_or_type, depth + 1)
            }
            kind::PTR => {
                let target = self.type_name(ty.size_or_type, depth + 1)?;
                let space = if target.ends_with('*') { "" } else { " " };
                Ok(format!("{target}{space}*"))
            }
            kind::STRUCT => tagged("struct"),
            kind::FWD if !ty.flag => tagged("struct"),
            kind::UNION | kind::FWD => tagged("union"),
            kind::ENUM | kind::ENUM64 => tagged("enum"),
            _ => self.text(ty.name),
        }
    }

    fn text(&self, offset: u32) -> Result<String, BtfError> {
        Ok(String::from_utf8_lossy(self.string(offset)?).into_owned())
    }

    fn unique(&self, kind: u32, name: &str) -> Result<Option<u32>, BtfError> {
        let mut found = None;
        for id in 1..=self.types.len() as u32 {
            let ty = self.get(id)?;
            if ty.kind == kind && self.string(ty.name)? == name.as_bytes() {
                if found.is_some() {
                    return Ok(None);
                }
                found = Some(id);
            }
        }
        Ok(found)
    }

    fn offset_in(&self, id: u32, structure: &str, path: &str) -> Result<u32, BtfError> {
        let (first, rest) = match path.split_once('.') {
            Some((first, rest)) => (first, Some(rest)),
            None => (path, None),
        };
        let Some((bits, member_type)) = self.member(id, first, 0)? else {
            return Err(BtfError::NoMember {
                structure: structure.to_owned(),
                member: first.to_owned(),
            });
        };
        if bits % 8 != 0 {
            return Err(BtfError::BitField(first.to_owned()));
        }
        match rest {
            None => Ok(bits / 8),
            Some(rest) => Ok(bits / 8 + self.offset_in(self.plain(member_type)?, first, rest)?),
        }
    }

    /// A member's offset in bits and type.
    fn member(&self, id: u32, name: &str, depth: u32) -> Result<Option<(u32, u32)>, BtfError> {
        let ty = self.get(id)?;
        if depth > MAX_DEPTH || !matches!(ty.kind, kind::STRUCT | kind::UNION) {
            return Ok(None);
        }
        for index in 0..ty.count as usize {
            let at = ty.at + 12 + 12 * index;
            let member_name = self.word(at)?;
            let member_type = self.word(at + 4)?;
            let offset = self.word(at + 8)?;
            let (bits, field_bits) = if ty.flag {
                (offset & 0xFF_FFFF, offset >> 24)
            } else {
                (offset, 0)
            };
            let member_name = self.string(member_name)?;
            if member_name == name.as_bytes() {
                if field_bits != 0 {
                    return Err(BtfError::BitField(name.to_owned()));
                }
                return Ok(Some((bits, member_type)));
            }
            if member_name.is_empty()
                && let Some((inner, found)) =
                    self.member(self.plain(member_type)?, name, depth + 1)?
            {
                return Ok(Some((bits + inner, found)));
            }
        }
        Ok(None)
    }

    /// The type without typedefs and qualifiers.
    fn plain(&self, mut id: u32) -> Result<u32, BtfError> {
        for _ in 0..MAX_DEPTH {
            let ty = self.get(id)?;
            match ty.kind {
                kind::TYPEDEF | kind::VOLATILE | kind::CONST | kind::RESTRICT | kind::TYPE_TAG => {
                    id = ty.size_or_type
                }
                _ => return Ok(id),
            }
        }
        Err(BtfError::Damaged("qualifiers without end"))
    }

    fn get(&self, id: u32) -> Result<Type, BtfError> {
        let at = (id as usize)
            .checked_sub(1)
            .and_then(|index| self.types.get(index))
            .ok_or(BtfError::Damaged("a type id beyond its end"))?;
        self.read_type(*at as usize)
    }

    fn read_type(&self, at: usize) -> Result<Type, BtfError> {
        let info = self.word(at + 4)?;
        Ok(Type {
            at,
            name: self.word(at)?,
            kind: (info >> 24) & 0x1F,
            flag: info >> 31 != 0,
            count: info & 0xFFFF,
            size_or_type: self.word(at + 8)?,
        })
    }

    fn word(&self, at: usize) -> Result<u32, BtfError> {
        word(&self.bytes, at).ok_or(BtfError::Damaged("a type beyond its end"))
    }

    fn string(&self, offset: u32) -> Result<&[u8], BtfError> {
        let tail = self
            .bytes
            .get(self.strings + offset as usize..)
            .ok_or(BtfError::Damaged("a name beyond its end"))?;
        let end = tail
            .iter()
            .position(|byte| *byte == 0)
            .unwrap_or(tail.len());
        Ok(&tail[..end])
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
}

/// Bytes after a type's 12-byte header.
fn trailer(ty: &Type) -> Result<usize, BtfError> {
    let count = ty.count as usize;
    Ok(match ty.kind {
        kind::INT | kind::VAR | kind::DECL_TAG => 4,
        kind::ARRAY => 12,
        kind::STRUCT | kind::UNION | kind::DATASEC | kind::ENUM64 => 12 * count,
        kind::ENUM | kind::FUNC_PROTO => 8 * count,
        1..=19 => 0,
        _ => {
            return Err(BtfError::Damaged(
                "a kind of type that this version does not know",
            ));
        }
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// `struct s { int a; struct { int b; const u_t c; }; int bits:3; }` with
    /// `typedef struct { int d; int e; } u_t`, a function, a tracepoint and an `enum en`.
    pub(crate) fn blob() -> Vec<u8> {
        let strings = b"\0s\0a\0b\0c\0bits\0u_t\0d\0e\0int\0fn\0btf_trace_tp\0en\0EN_A\0EN_B\0";
        let at = |name: &str| {
            let mut pattern = vec![0];
            pattern.extend(name.bytes());
            pattern.push(0);
            strings
                .windows(pattern.len())
                .position(|window| window == pattern)
                .unwrap() as u32
                + 1
        };
        let mut types: Vec<u32> = Vec::new();
        let mut ty = |words: &[u32]| types.extend(words);
        ty(&[at("int"), 1 << 24, 4, 32]); // 1 int
        ty(&[0, 4 << 24 | 2, 8, at("d"), 1, 0, at("e"), 1, 32]); // 2 struct {d, e}
        ty(&[at("u_t"), 8 << 24, 2]); // 3 typedef
        ty(&[0, 10 << 24, 3]); // 4 const u_t
        ty(&[0, 4 << 24 | 2, 12, at("b"), 1, 0, at("c"), 4, 32]); // 5 struct {b, c}
        ty(&[
            at("s"),
            1 << 31 | 4 << 24 | 3,
            20,
            at("a"),
            1,
            0,
            0,
            5,
            32,
            at("bits"),
            1,
            3 << 24 | 128,
        ]); // 6
        // 7 prototype of 3: (void *, const struct s *s, int a)
        ty(&[0, 13 << 24 | 3, 0, 0, 0, at("s"), 12, at("a"), 1]);
        ty(&[at("fn"), 12 << 24, 7]); // 8
        ty(&[0, 2 << 24, 7]); // 9 pointer
        ty(&[at("btf_trace_tp"), 8 << 24, 9]); // 10
        ty(&[0, 10 << 24, 6]); // 11 const struct s
        ty(&[0, 2 << 24, 11]); // 12 pointer
        ty(&[at("en"), 6 << 24 | 2, 4, at("EN_A"), 0, at("EN_B"), 7]); // 13
        let type_bytes = 4 * types.len() as u32;
        let header = [
            u32::from(MAGIC) | 1 << 16,
            24,
            0,
            type_bytes,
            type_bytes,
            strings.len() as u32,
        ];
        let mut bytes: Vec<u8> = header
            .iter()
            .chain(&types)
            .flat_map(|word| word.to_ne_bytes())
            .collect();
        bytes.extend(strings);
        bytes
    }

    #[test]
    fn members_are_found_through_anonymous_and_qualified_ones() {
        let btf = Btf::parse(blob()).unwrap();
        assert_eq!(btf.offset("s", "a").unwrap(), 0);
        assert_eq!(btf.offset("s", "b").unwrap(), 4);
        assert_eq!(btf.offset("s", "c.e").unwrap(), 12);
        assert!(matches!(
            btf.offset("s", "bits"),
            Err(BtfError::BitField(_))
        ));
        assert!(matches!(
            btf.offset("s", "x"),
            Err(BtfError::NoMember { .. })
        ));
        assert!(matches!(btf.offset("t", "x"), Err(BtfError::NoStruct(_))));
        assert_eq!(btf.function("fn").unwrap(), Some(8));
        assert_eq!(btf.function("nofn").unwrap(), None);
        let text = |argument: Argument| argument.to_string();
        let arguments = btf.prototype("tp").unwrap().unwrap();
        let arguments: Vec<_> = arguments.into_iter().map(text).collect();
        assert_eq!(arguments, ["struct s *s", "int a"]);
        assert_eq!(btf.prototype("fn").unwrap(), None);
        let enumerators = [("EN_A".to_owned(), 0), ("EN_B".to_owned(), 7)];
        assert_eq!(btf.enumerators("en").unwrap().unwrap(), enumerators);
        assert_eq!(btf.enumerators("s").unwrap(), None);
    }

    #[test]
    fn no_damage_panics() {
        let whole = blob();
        for cut in 0..whole.len() {
            if let Ok(btf) = Btf::parse(whole[..cut].to_vec()) {
                let _ = btf.offset("s", "c.e");
            }
        }
        for at in 0..whole.len() {
            for value in [0, 0x7F, 0xFF] {
                let mut bytes = whole.clone();
                bytes[at] = value;
                if let Ok(btf) = Btf::parse(bytes) {
                    let _ = btf.offset("s", "c.e");
                    let _ = btf.prototype("tp");
                    let _ = btf.enumerators("en");
                }
            }
        }
    }
}
