//! The values of an enumeration.

use super::{Btf, BtfError, kind};

impl Btf {
    /// The names and values of an enumeration of 32 bits, `None` where there is no such one.
    ///
    /// # Errors
    /// [`BtfError::Damaged`].
    pub fn enumerators(&self, name: &str) -> Result<Option<Vec<(String, u32)>>, BtfError> {
        for id in 1..=self.types.len() as u32 {
            let ty = self.get(id)?;
            if ty.kind != kind::ENUM || ty.count == 0 || self.string(ty.name)? != name.as_bytes() {
                continue;
            }
            let enumerator = |index: usize| {
                let at = ty.at + 12 + 8 * index;
                Ok((self.text(self.word(at)?)?, self.word(at + 4)?))
            };
            return (0..ty.count as usize)
                .map(enumerator)
                .collect::<Result<_, _>>()
                .map(Some);
        }
        Ok(None)
    }
}
