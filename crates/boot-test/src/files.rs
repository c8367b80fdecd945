//! Generated kernel files: consistent ones of each format, and a few changes of them.

mod bzimage;
mod draft;
mod elf;
mod image;
mod multiboot;
mod pe;

use arbitrary::{Result, Unstructured};

use crate::odds::{one_in, pick};
use draft::{Draft, change};

/// A generated file.
#[derive(Clone, Debug)]
pub struct KernelFile {
    /// Name of its format.
    pub format: &'static str,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Number of changes after it was made. A file without changes is consistent.
    pub changes: u8,
}

type Make = fn(&mut Unstructured<'_>) -> Result<Draft>;

/// All formats.
const FORMATS: [(&str, Make); 6] = [
    ("elf", elf::file),
    ("bzimage", bzimage::file),
    ("arm64-image", image::arm64),
    ("riscv-image", image::riscv),
    ("multiboot", multiboot::file),
    ("unified kernel image", pe::file),
];

/// A file of any format. One in two has changes: fields at their edges or near other values, and truncations.
///
/// # Errors
///
/// Those of [`Unstructured`].
pub fn kernel_file(u: &mut Unstructured<'_>) -> Result<KernelFile> {
    let (format, make) = pick(u, &FORMATS)?;
    let mut draft = make(u)?;
    let changes = if one_in(u, 2)? { u.int_in_range(1..=4)? } else { 0 };
    for _ in 0..changes {
        change(u, &mut draft)?;
    }
    Ok(KernelFile {
        format,
        bytes: draft.bytes,
        changes,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_format_is_made_with_and_without_changes() {
        let mut found = std::collections::BTreeSet::new();
        for seed in 0..2000_u32 {
            let bytes = fmt_test::pseudo_random(seed.into(), 300);
            let file = kernel_file(&mut Unstructured::new(&bytes)).unwrap();
            assert!(file.bytes.len() < 0x2_0000, "{}", file.bytes.len());
            found.insert((file.format, file.changes > 0));
        }
        assert_eq!(found.len(), 2 * FORMATS.len(), "{found:?}");
        // The shortest input is a file, too.
        assert_eq!(kernel_file(&mut Unstructured::new(&[])).unwrap().changes, 0);
    }
}
