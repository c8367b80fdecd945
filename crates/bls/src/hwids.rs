//! Section `.hwids` of unified kernel images: models of machines by hardware identification.
//!
//! ```text
//! 0x00  descriptor: type of the record in its upper 4 bits, length of the record in the others; zero ends the table
//! 0x04  CHID, a GUID in the byte order of UEFI
//! 0x14  offset of the name of the machine, from the start of the section
//! 0x18  offset of the value that the first string of `compatible` must have (records of type 1)
//! ```

/// Computer hardware identification: a GUID made from strings of SMBIOS, in the byte order of UEFI.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Chid(
    /// The bytes.
    pub [u8; 16],
);

/// Error in a `.hwids` section.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HwidsError {
    /// The section ends inside a record.
    #[error("the section \".hwids\" ends inside the record at {offset:#x}")]
    Truncated {
        /// Offset of the record.
        offset: usize,
    },
    /// The length of a record is less than its fields need.
    #[error(
        "the record at {offset:#x} of the section \".hwids\" has a length of {len} bytes, expected at least {MIN_LEN}"
    )]
    RecordLength {
        /// Offset of the record.
        offset: usize,
        /// Its length in bytes.
        len: usize,
    },
    /// An offset of a string does not lead to a string of UTF-8 that ends with a NUL in the section.
    #[error(
        "the record at {offset:#x} of the section \".hwids\" refers to a string at {string:#x}, where there is none"
    )]
    String {
        /// Offset of the record.
        offset: usize,
        /// Offset of the string.
        string: usize,
    },
}

/// Type of records for device trees.
const DEVICE_TREE: u32 = 1;

/// Length of a record of this type.
const MIN_LEN: usize = 28;

/// The value of `compatible` for a machine with one of these identifications; `None` if the section does not have it.
/// Records of other types are skipped.
///
/// # Errors
///
/// [`HwidsError`] for a record before the one that was found.
pub fn compatible_of<'a>(section: &'a [u8], chids: &[Chid]) -> Result<Option<&'a str>, HwidsError> {
    let mut offset = 0_usize;
    loop {
        let record = section.get(offset..).unwrap_or_default();
        let truncated = HwidsError::Truncated { offset };
        let Some(descriptor) = field(record, 0) else {
            // The end of the section ends the table, too.
            return if record.is_empty() {
                Ok(None)
            } else {
                Err(truncated)
            };
        };
        if descriptor == 0 {
            return Ok(None);
        }
        let len = usize::try_from(descriptor & 0x0fff_ffff).unwrap_or(usize::MAX);
        if len < MIN_LEN {
            return Err(HwidsError::RecordLength { offset, len });
        }
        let record = record.get(..len).ok_or(truncated)?;
        let chid = record.get(4..).and_then(|rest| rest.first_chunk::<16>());
        let is_found = chid.is_some_and(|chid| chids.contains(&Chid(*chid)));
        if descriptor >> 28 == DEVICE_TREE && is_found {
            let string = field(record, 24)
                .and_then(|at| usize::try_from(at).ok())
                .unwrap_or(usize::MAX);
            let text = string_at(section, string).ok_or(HwidsError::String { offset, string })?;
            return Ok(Some(text));
        }
        offset = offset.saturating_add(len);
    }
}

/// A little-endian field.
fn field(bytes: &[u8], offset: usize) -> Option<u32> {
    let bytes = bytes.get(offset..)?.first_chunk()?;
    Some(u32::from_le_bytes(*bytes))
}

/// The string with a NUL at its end at an offset. Offset zero stands for none.
fn string_at(section: &[u8], offset: usize) -> Option<&str> {
    let rest = section.get(offset..).filter(|_| offset > 0)?;
    let len = rest.iter().position(|byte| *byte == 0)?;
    core::str::from_utf8(rest.get(..len)?).ok()
}

#[cfg(test)]
mod tests {
    use alloc::string::{String, ToString};
    use alloc::vec::Vec;

    use super::*;

    fn record(kind: u32, len: u32, chid: u8, string: u32) -> Vec<u8> {
        let mut bytes = (kind << 28 | len).to_le_bytes().to_vec();
        bytes.extend([chid; 16]);
        bytes.extend(0_u32.to_le_bytes());
        bytes.extend(string.to_le_bytes());
        bytes.resize(len.max(28) as usize, 0);
        bytes
    }

    fn check(parts: &[Vec<u8>], chids: &[u8], expected: Result<Option<&str>, &str>) {
        let section = parts.concat();
        let chids: Vec<Chid> = chids.iter().map(|byte| Chid([*byte; 16])).collect();
        let found = compatible_of(&section, &chids).map_err(|error| error.to_string());
        assert_eq!(
            found.as_ref().map_err(String::as_str),
            expected.as_ref().map_err(|e| *e)
        );
    }

    #[test]
    fn machines_are_found() {
        let end = 0_u32.to_le_bytes().to_vec();
        let strings = b"acme,one\0acme,two\0".to_vec();
        // Records at 0, 28 and 60, the end at 88, strings at 92.
        let table = [
            record(1, 28, 1, 92),
            record(2, 32, 2, 92),
            record(1, 28, 2, 101),
            end.clone(),
            strings,
        ];
        check(&table, &[1], Ok(Some("acme,one")));
        check(&table, &[2, 9], Ok(Some("acme,two")));
        check(&table, &[9], Ok(None));
        check(&table, &[], Ok(None));
        check(&[], &[1], Ok(None));
        check(&[end], &[0], Ok(None));
        check(&[record(1, 28, 1, 4)], &[2], Ok(None));
    }

    #[test]
    fn malformed_tables() {
        let truncated = "the section \".hwids\" ends inside the record at 0x0";
        check(&[b"abc".to_vec()], &[1], Err(truncated));
        check(&[record(1, 29, 1, 0)[..28].to_vec()], &[1], Err(truncated));
        check(
            &[record(1, 27, 1, 0)],
            &[1],
            Err("the record at 0x0 of the section \".hwids\" has a length of 27 bytes, expected at least 28"),
        );
        for string in [0, 28, 1000, u32::MAX] {
            let expected = alloc::format!(
                "the record at 0x0 of the section \".hwids\" refers to a string at {string:#x}, where there is none"
            );
            check(&[record(1, 28, 1, string)], &[1], Err(&expected));
        }
        let no_end = [record(1, 28, 1, 28), b"abc".to_vec()];
        assert!(compatible_of(&no_end.concat(), &[Chid([1; 16])]).is_err());
        let no_text = [record(1, 28, 1, 28), b"\xff\0".to_vec()];
        assert!(compatible_of(&no_text.concat(), &[Chid([1; 16])]).is_err());
    }
}
