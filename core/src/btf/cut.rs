//! Cuts a kernel's description of itself down to what is asked for: a kernel has megabytes, a test
//! wants a few kilobytes. What is left has the members' real offsets and the tracepoints' real
//! arguments; types that nobody asked for are forward declarations, or `void`.

use std::collections::{BTreeMap, BTreeSet};

use super::{Btf, BtfError, MAGIC, Type, kind};

/// Bytes of the header, and words of it.
const HEADER: u32 = 24;

/// The description with these members (structure, path), these tracepoints, and the enumerations
/// of these that there are, alone.
///
/// # Errors
/// Where a member or a tracepoint is missing.
pub fn cut(
    btf: &Btf,
    members: &[(&str, &str)],
    tracepoints: &[&str],
    enumerations: &[&str],
) -> Result<Vec<u8>, BtfError> {
    let mut cut = Cut {
        btf,
        enumerations,
        whole: BTreeMap::new(),
        ids: BTreeMap::new(),
        types: Vec::new(),
        strings: vec![0],
    };
    for (structure, path) in members {
        btf.offset(structure, path)?;
        for id in 1..=btf.types.len() as u32 {
            let ty = btf.get(id)?;
            if is_structure(&ty) && ty.count > 0 && btf.string(ty.name)? == structure.as_bytes() {
                cut.keep(id, path)?;
            }
        }
    }
    let structures: Vec<_> = cut.whole.keys().copied().collect();
    for id in structures {
        cut.take(id)?;
    }
    for name in tracepoints {
        let id = btf.tracepoint(name)?;
        cut.take(id.ok_or_else(|| BtfError::NoStruct(format!("btf_trace_{name}")))?)?;
    }
    for id in 1..=btf.types.len() as u32 {
        let ty = btf.get(id)?;
        if ty.kind == kind::ENUM && cut.wants(&ty)? {
            cut.take(id)?;
        }
    }
    Ok(cut.finish())
}

struct Cut<'a> {
    btf: &'a Btf,
    /// Those whose values are kept.
    enumerations: &'a [&'a str],
    /// Structures that are wanted, and which of their members.
    whole: BTreeMap<u32, BTreeSet<Vec<u8>>>,
    /// New ids by old ones.
    ids: BTreeMap<u32, u32>,
    /// The words of each new type.
    types: Vec<Vec<u32>>,
    strings: Vec<u8>,
}

impl Cut<'_> {
    /// Wants `path` of a structure.
    fn keep(&mut self, id: u32, path: &str) -> Result<(), BtfError> {
        let (first, rest) = path
            .split_once('.')
            .map_or((path, None), |(a, b)| (a, Some(b)));
        let members = self.whole.entry(id).or_default();
        members.insert(first.as_bytes().to_vec());
        // It may lie in a member without a name, whose type may have one.
        let ty = self.btf.get(id)?;
        for index in 0..ty.count as usize {
            let at = ty.at + 12 + 12 * index;
            if self.btf.string(self.btf.word(at)?)?.is_empty() {
                let inner = self.btf.plain(self.btf.word(at + 4)?)?;
                if self.btf.member(inner, first, 0)?.is_some() {
                    self.keep(inner, first)?;
                }
            }
        }
        if let Some(rest) = rest
            && let Some((_, ty)) = self.btf.member(id, first, 0)?
        {
            self.keep(self.btf.plain(ty)?, rest)?;
        }
        Ok(())
    }

    /// Whether the values of an enumeration are asked for.
    fn wants(&self, ty: &Type) -> Result<bool, BtfError> {
        let name = self.btf.string(ty.name)?;
        Ok(self.enumerations.iter().any(|it| it.as_bytes() == name))
    }

    /// The new id of a type.
    fn take(&mut self, id: u32) -> Result<u32, BtfError> {
        if id == 0 {
            return Ok(0);
        }
        if let Some(new) = self.ids.get(&id) {
            return Ok(*new);
        }
        let ty = self.btf.get(id)?;
        // Types refer to each other in circles: the number is given first.
        let new = self.types.len() as u32 + 1;
        self.ids.insert(id, new);
        self.types.push(Vec::new());
        let name = self.name(ty.name)?;
        let info =
            |kind: u32, count: usize| (u32::from(ty.flag) << 31) | (kind << 24) | count as u32;
        let words = match ty.kind {
            kind::STRUCT | kind::UNION if name == 0 || self.whole.contains_key(&id) => {
                let members = self.members(id, &ty)?;
                let mut words = vec![name, info(ty.kind, members.len()), ty.size_or_type];
                words.extend(members.concat());
                words
            }
            kind::STRUCT => vec![name, kind::FWD << 24, 0],
            kind::UNION => vec![name, (1 << 31) | (kind::FWD << 24), 0],
            kind::FUNC_PROTO => {
                let mut words = vec![0, info(ty.kind, ty.count as usize), 0];
                for index in 0..ty.count as usize {
                    let at = ty.at + 12 + 8 * index;
                    words.push(self.name(self.btf.word(at)?)?);
                    words.push(self.take(self.btf.word(at + 4)?)?);
                }
                words
            }
            kind::INT => {
                let encoding = self.btf.word(ty.at + 12)?;
                vec![name, info(ty.kind, 0), ty.size_or_type, encoding]
            }
            kind::ENUM if self.wants(&ty)? => {
                let mut words = vec![name, info(ty.kind, ty.count as usize), ty.size_or_type];
                for index in 0..ty.count as usize {
                    let at = ty.at + 12 + 8 * index;
                    words.push(self.name(self.btf.word(at)?)?);
                    words.push(self.btf.word(at + 4)?);
                }
                words
            }
            kind::ENUM | kind::ENUM64 => vec![name, kind::ENUM << 24, ty.size_or_type],
            kind::FWD => vec![name, info(ty.kind, 0), 0],
            kind::PTR
            | kind::TYPEDEF
            | kind::VOLATILE
            | kind::CONST
            | kind::RESTRICT
            | kind::TYPE_TAG => vec![name, info(ty.kind, 0), self.take(ty.size_or_type)?],
            _ => return Err(BtfError::Damaged("a kind of type that cannot be cut")),
        };
        self.types[new as usize - 1] = words;
        Ok(new)
    }

    /// A structure's members that are wanted, and all that are or lie in anonymous ones.
    fn members(&mut self, id: u32, ty: &Type) -> Result<Vec<[u32; 3]>, BtfError> {
        let anonymous = self.btf.string(ty.name)?.is_empty();
        let wanted = self.whole.get(&id).cloned().unwrap_or_default();
        let mut members = Vec::new();
        for index in 0..ty.count as usize {
            let at = ty.at + 12 + 12 * index;
            let (name, member) = (self.btf.word(at)?, self.btf.word(at + 4)?);
            let text = self.btf.string(name)?;
            let inner = text.is_empty();
            if !inner && !anonymous && !wanted.contains(text) {
                continue;
            }
            let goes_on = inner || self.goes_on(member)?;
            let member = if goes_on { self.take(member)? } else { 0 };
            members.push([self.name(name)?, member, self.btf.word(at + 8)?]);
        }
        Ok(members)
    }

    /// Whether a wanted path leads into a member of this type.
    fn goes_on(&self, id: u32) -> Result<bool, BtfError> {
        Ok(id != 0 && self.whole.contains_key(&self.btf.plain(id)?))
    }

    /// Where a name is in the new strings.
    fn name(&mut self, offset: u32) -> Result<u32, BtfError> {
        let text = self.btf.string(offset)?;
        if text.is_empty() {
            return Ok(0);
        }
        let whole: Vec<u8> = [&[0], text, &[0]].concat();
        let known = self
            .strings
            .windows(whole.len())
            .position(|it| *it == *whole);
        let at = known.map_or(self.strings.len(), |before| before + 1);
        if known.is_none() {
            self.strings.extend(&whole[1..]);
        }
        Ok(at as u32)
    }

    fn finish(self) -> Vec<u8> {
        let types = self.types.concat();
        let bytes = 4 * types.len() as u32;
        let header = [
            u32::from(MAGIC) | 1 << 16,
            HEADER,
            0,
            bytes,
            bytes,
            self.strings.len() as u32,
        ];
        let words = header.iter().chain(&types);
        let mut blob: Vec<u8> = words.flat_map(|word| word.to_ne_bytes()).collect();
        blob.extend(self.strings);
        blob
    }
}

fn is_structure(ty: &Type) -> bool {
    matches!(ty.kind, kind::STRUCT | kind::UNION)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::btf::tests::blob;

    #[test]
    fn what_was_asked_for_stays_and_the_rest_goes() {
        let whole = Btf::parse(blob()).unwrap();
        let small = cut(&whole, &[("s", "c.e")], &["tp"], &["en", "absent"]).unwrap();
        let small = Btf::parse(small).unwrap();
        assert_eq!(small.offset("s", "c.e").unwrap(), 12);
        assert_eq!(
            small.prototype("tp").unwrap(),
            whole.prototype("tp").unwrap()
        );
        assert!(matches!(
            small.offset("s", "a"),
            Err(BtfError::NoMember { .. })
        ));
        assert_eq!(small.function("fn").unwrap(), None);
        assert_eq!(
            small.enumerators("en").unwrap(),
            whole.enumerators("en").unwrap()
        );
        let none = cut(&whole, &[], &[], &[]).unwrap();
        let none = Btf::parse(none).unwrap().enumerators("en").unwrap();
        assert_eq!(none, None, "nobody asked for it");
        assert!(cut(&whole, &[("s", "nothing")], &[], &[]).is_err());
        assert!(cut(&whole, &[], &["nothing"], &[]).is_err());
    }
}
