//! Multiboot and Multiboot2 headers.

use arbitrary::{Result, Unstructured};
use fmt_test::Fields as _;
use fmt_test::elf::words;

use super::draft::{Draft, content};
use crate::odds::{one_in, pick};

/// Longest header.
const MAX_LEN: usize = 0x100;

/// The numbers and what makes their sum zero.
fn with_checksum(numbers: &[u32]) -> Vec<u32> {
    let sum = numbers
        .iter()
        .fold(0_u32, |sum, number| sum.wrapping_add(*number));
    [numbers, &[sum.wrapping_neg()]].concat()
}

/// A header of version 1 with these words behind its checksum.
fn version_1(flags: u32, rest: &[u32]) -> Vec<u8> {
    words(&[&with_checksum(&[0x1bad_b002, flags])[..], rest].concat())
}

/// A header of version 2 with these tags, each of a type and words.
fn version_2(u: &mut Unstructured<'_>, tags: &[(u32, Vec<u32>)]) -> Result<Vec<u8>> {
    let mut body = Vec::new();
    for (kind, rest) in tags {
        let optional = u32::from(one_in(u, 2)?) << 16;
        let len = 8 + 4 * u32::try_from(rest.len()).unwrap_or_default();
        body.extend(words(&[kind | optional, len]));
        body.extend(words(rest));
        let padded = body.len().next_multiple_of(8);
        body = body.resize(padded);
    }
    body.extend(words(&[0, 8]));
    let len = 16 + u32::try_from(body.len()).unwrap_or_default();
    Ok([words(&with_checksum(&[0xe852_50d6, 0, len])), body].concat())
}

/// Tags without addresses, in any order.
fn tags(u: &mut Unstructured<'_>) -> Result<Vec<(u32, Vec<u32>)>> {
    let mut list = Vec::new();
    for _ in 0..u.int_in_range(0..=4u8)? {
        list.push(match u.int_in_range(0..=4u8)? {
            0 => (1, vec![pick(u, &[4, 6, 8])?, 9]),
            1 => (4, vec![pick(u, &[1, 2, 3])?]),
            2 => (5, vec![1024, 768, 32]),
            3 => (6, vec![]),
            _ => {
                let align = 1 << u.int_in_range(12..=22u8)?;
                (
                    10,
                    vec![
                        0x10_0000,
                        pick(u, &[u32::MAX, 0x3ff_ffff])?,
                        align,
                        pick(u, &[0, 1, 2])?,
                    ],
                )
            }
        });
    }
    Ok(list)
}

/// A header for an ELF file whose first segment begins with it, at `start`.
pub(super) fn header(u: &mut Unstructured<'_>, start: u64) -> Result<Vec<u8>> {
    let start = u32::try_from(start).unwrap_or(0x10_0000);
    if one_in(u, 2)? {
        let mut list = tags(u)?;
        if one_in(u, 4)? {
            list.push((9, vec![start]));
        }
        version_2(u, &list)
    } else {
        Ok(version_1(pick(u, &[0, 1, 2, 3])?, &[]))
    }
}

/// A flat file with the addresses of its load.
pub(super) fn file(u: &mut Unstructured<'_>) -> Result<Draft> {
    let start = 0x10_0000 + u32::from(u.int_in_range(0..=8u8)?) * 0x1000;
    let len = 0x200 + u32::from(u.arbitrary::<u8>()?) * 4;
    let code = content(u, usize::try_from(len).unwrap_or_default())?;
    let at = u32::from(u.int_in_range(0..=8u8)?) * 8;
    let load_end = pick(u, &[0, start + len, start + 0x180])?;
    let end = if load_end == 0 { start + len } else { load_end };
    let bss_end = pick(u, &[0, end, end + 0x1000, end + 0x10_0000])?;
    let entry = start + u32::from(u.int_in_range(0..=0x7fu8)?);
    let addresses = [start + at, start, load_end, bss_end];
    let header = if one_in(u, 2)? {
        let mut list = vec![(2, addresses.to_vec()), (3, vec![entry])];
        list.extend(tags(u)?);
        version_2(u, &list)?
    } else {
        version_1(
            pick(u, &[0x1_0003, 0x1_0000, 0x1_0002])?,
            &[&addresses[..], &[entry]].concat(),
        )
    };
    let at = usize::try_from(at).unwrap_or_default();
    let fields = (at..at + header.len().min(MAX_LEN))
        .step_by(4)
        .map(|at| (at, 4))
        .collect();
    Ok(Draft {
        bytes: code.bytes(at, &header),
        fields,
        is_big_endian: false,
    })
}
