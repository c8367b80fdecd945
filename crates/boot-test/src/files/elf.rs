//! ELF files, and Multiboot headers in them.

use arbitrary::{Result, Unstructured};
use fmt_test::elf::{
    EM_386, EM_AARCH64, EM_RISCV, EM_X86_64, ET_DYN, Elf, PF_R, PF_W, PF_X, Phdr, load, note, notes, words,
};

use super::draft::{Draft, content};
use super::multiboot;
use crate::odds::{number, one_in, pick};

/// Distance of virtual and physical addresses of Linux on x86_64.
const LINUX_BASE: u64 = 0xffff_ffff_8000_0000;

/// A kernel with up to five segments and up to four notes.
pub(super) fn file(u: &mut Unstructured<'_>) -> Result<Draft> {
    let machine = pick(u, &[EM_X86_64, EM_X86_64, EM_386, EM_AARCH64, EM_RISCV])?;
    let is_x86 = matches!(machine, EM_X86_64 | EM_386);
    let start = if is_x86 { 0x10_0000 } else { 0x8020_0000 };
    let start = start + u64::from(u.int_in_range(0..=8u8)?) * 0x1000;
    let up = if machine == EM_386 {
        0
    } else {
        pick(u, &[0, 0, LINUX_BASE])?
    };
    let mut parts = segments(u, start, up)?;
    if is_x86 && one_in(u, 3)? {
        let header = multiboot::header(u, start)?;
        let code = &mut parts[0].data;
        code.splice(..header.len().min(code.len()), header);
        parts[0].memsz = parts[0].memsz.max(parts[0].data.len() as u64);
    }
    let entry = parts[0].vaddr + u64::from(u.int_in_range(0..=0x3fu8)?);
    let of_kernel = kernel_notes(u, start)?;
    if !of_kernel.is_empty() {
        let at = u.int_in_range(0..=parts.len())?;
        parts.insert(at, notes(&of_kernel.concat(), 4));
    }
    let mut elf = Elf::new(machine, entry, parts);
    elf.big_endian = machine == EM_AARCH64 && one_in(u, 4)?;
    if one_in(u, 4)? {
        elf.e_type = ET_DYN;
    }
    elf.xnum = one_in(u, 16)?;
    Ok(draft(&elf))
}

/// Segments at ascending addresses. The first begins with at least 0x180 bytes of code.
fn segments(u: &mut Unstructured<'_>, start: u64, up: u64) -> Result<Vec<Phdr>> {
    let mut parts = Vec::new();
    let mut at = start;
    for index in 0..=u.int_in_range(0..=4u8)? {
        let len = usize::from(u.arbitrary::<u8>()?) * 4 + if index == 0 { 0x180 } else { 0 };
        let data = content(u, len)?;
        let memsz = len as u64 + u64::from(one_in(u, 2)?) * number(u, 20)?;
        let flags = if index == 0 {
            PF_R | PF_W | PF_X
        } else {
            pick(u, &[PF_R, PF_R | PF_W, PF_R | PF_X])?
        };
        parts.push(Phdr {
            flags,
            vaddr: at.wrapping_add(up),
            align: pick(u, &[16, 4, 1, 0x1000])?,
            ..load(at, &data, memsz)
        });
        // Neighbours may touch.
        at += memsz + u64::from(one_in(u, 2)?) * number(u, 16)?;
        at = at.next_multiple_of(pick(u, &[0x1000, 16, 1])?);
    }
    Ok(parts)
}

fn kernel_notes(u: &mut Unstructured<'_>, start: u64) -> Result<Vec<Vec<u8>>> {
    let start = u32::try_from(start).unwrap_or(0x10_0000);
    let mut list = Vec::new();
    for _ in 0..u.int_in_range(0..=4u8)? {
        list.push(match u.int_in_range(0..=3u8)? {
            0 => note(
                4,
                "Xen",
                18,
                &words(&[start + u32::from(u.int_in_range(0..=0x3fu8)?)]),
            ),
            1 => {
                let align = 1 << u.int_in_range(12..=22u8)?;
                note(
                    4,
                    "Xen",
                    19,
                    &words(&[align, pick(u, &[0, 0x10_0000])?, u32::MAX]),
                )
            }
            2 => note(4, "Linux", 0x100, b"salt"),
            _ => note(4, "GNU", 5, &[0; 16]),
        });
    }
    Ok(list)
}

/// The fields of the headers.
fn draft(elf: &Elf) -> Draft {
    let (bytes, offsets) = elf.write();
    let (word, header, entry) = if elf.bits64 { (8, 64, 56) } else { (4, 52, 32) };
    let mut fields: Vec<_> = (4..9).map(|at| (at, 1)).collect();
    fields.extend([(16, 2), (18, 2), (20, 4)]);
    fields.extend((0..3).map(|index| (24 + index * word, word)));
    fields.extend(
        (0..7)
            .map(|index| (header - 16 + 2 * index, 2))
            .filter(|(at, _)| at + 2 <= header),
    );
    for (index, (phdr, offset)) in elf.phdrs.iter().zip(&offsets).enumerate() {
        let at = header + index * entry;
        fields.push((at, 4));
        fields.extend(
            (4..entry)
                .step_by(word)
                .map(|field| (at + field, word))
                .filter(|(field, _)| field + word <= at + entry),
        );
        if phdr.p_type == fmt_test::elf::PT_NOTE {
            let start = usize::try_from(*offset).unwrap_or_default();
            fields.extend((start..start + phdr.data.len()).step_by(4).map(|at| (at, 4)));
        }
    }
    Draft {
        bytes,
        fields,
        is_big_endian: elf.big_endian,
    }
}
