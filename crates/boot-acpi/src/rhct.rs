//! The RHCT: the capabilities of riscv64 harts (ACPI 6.6, section 5.2.37, as the RISC-V ECRs to ACPI 6.5 define it). That of `acpi_tables` takes
//! `'static` strings only.

use alloc::string::ToString as _;
use alloc::vec::Vec;

use boot_core::machine::{MmuType, RiscvCpus, RiscvHart};
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{Immutable, IntoBytes};

use crate::error::{AcpiError, field};
use crate::oem::table;

/// Revision of the table and of its nodes.
const REVISION: u8 = 1;
/// Offset of the first node.
const FIRST_NODE: u32 = 56;

/// Types of nodes.
mod node {
    pub(super) const ISA_STRING: u16 = 0;
    pub(super) const CACHE_BLOCKS: u16 = 1;
    pub(super) const MMU: u16 = 2;
    pub(super) const HART: u16 = 0xffff;
}

/// The RHCT of these harts, whose UIDs are their indices.
pub(crate) fn rhct(cpus: &RiscvCpus) -> Result<Vec<u8>, AcpiError> {
    let mut nodes = Nodes::default();
    let mut of_harts = Vec::new();
    for hart in &cpus.harts {
        let mut offsets = Vec::new();
        offsets.push(nodes.shared(isa_string(hart)?)?);
        if let Some(blocks) = cache_blocks(hart) {
            offsets.push(nodes.shared(blocks)?);
        }
        if let Some(mmu) = mmu(hart.mmu) {
            offsets.push(nodes.shared(mmu)?);
        }
        of_harts.push(offsets);
    }
    for (uid, offsets) in (0_u32..).zip(of_harts) {
        let count: u16 = field(
            "number of nodes of a hart",
            boot_core::arith::to_u64(offsets.len()),
        )?;
        let mut content = U16::new(count).as_bytes().to_vec();
        content.extend_from_slice(U32::new(uid).as_bytes());
        for offset in offsets {
            content.extend_from_slice(U32::new(offset).as_bytes());
        }
        nodes.push(&new_node(node::HART, &content)?);
    }
    let head = Head {
        flags: U32::ZERO,
        timebase_frequency: u64::from(cpus.timebase_frequency).into(),
        nodes: nodes.count.into(),
        first_node: FIRST_NODE.into(),
    };
    let mut content = head.as_bytes().to_vec();
    content.extend(nodes.bytes);
    Ok(table(*b"RHCT", REVISION, &content))
}

/// What is between the header and the nodes.
#[derive(Clone, Copy, Debug, Immutable, IntoBytes)]
#[repr(C)]
struct Head {
    flags: U32,
    timebase_frequency: U64,
    nodes: U32,
    first_node: U32,
}

const _: () = assert!(size_of::<Head>() == 20);

/// Nodes one after the other.
#[derive(Default)]
struct Nodes {
    bytes: Vec<u8>,
    count: u32,
    /// The nodes that harts refer to, with their offsets from the start of the table.
    known: Vec<(Vec<u8>, u32)>,
}

impl Nodes {
    fn push(&mut self, node: &[u8]) {
        self.bytes.extend_from_slice(node);
        self.count = self.count.saturating_add(1);
    }

    /// The offset of a node with these bytes, which is added unless it is there.
    fn shared(&mut self, node: Vec<u8>) -> Result<u32, AcpiError> {
        if let Some((_, offset)) = self.known.iter().find(|(known, _)| *known == node) {
            return Ok(*offset);
        }
        let len = boot_core::arith::to_u64(self.bytes.len());
        let offset = field(
            "offset of a node of the RHCT",
            len.saturating_add(FIRST_NODE.into()),
        )?;
        self.push(&node);
        self.known.push((node, offset));
        Ok(offset)
    }
}

/// A node of this type, with the content behind its revision.
fn new_node(kind: u16, content: &[u8]) -> Result<Vec<u8>, AcpiError> {
    const HEAD_LEN: usize = 6;
    let len = boot_core::arith::to_u64(content.len().saturating_add(HEAD_LEN));
    let len: u16 = field("length of a node of the RHCT", len)?;
    let mut node = Vec::new();
    for number in [kind, len, REVISION.into()] {
        node.extend_from_slice(U16::new(number).as_bytes());
    }
    node.extend_from_slice(content);
    Ok(node)
}

/// ISA string node: the length with the NUL, the string, and a zero if the length is odd.
fn isa_string(hart: &RiscvHart) -> Result<Vec<u8>, AcpiError> {
    let mut string = hart.isa.to_string().into_bytes();
    string.push(0);
    let len: u16 = field("length of an ISA string", boot_core::arith::to_u64(string.len()))?;
    if !string.len().is_multiple_of(2) {
        string.push(0);
    }
    let mut content = U16::new(len).as_bytes().to_vec();
    content.extend(string);
    new_node(node::ISA_STRING, &content)
}

/// CMO extension node: a reserved byte, and the sizes of the blocks of Zicbom, Zicbop and Zicboz as powers of two. `None` without such blocks.
fn cache_blocks(hart: &RiscvHart) -> Option<Vec<u8>> {
    let sizes = [hart.cbom_block_size, hart.cbop_block_size, hart.cboz_block_size];
    if sizes.iter().all(Option::is_none) {
        return None;
    }
    let exponent = |size: Option<u32>| size.map_or(0, u32::trailing_zeros).to_le_bytes();
    let [[cbom, ..], [cbop, ..], [cboz, ..]] = sizes.map(exponent);
    new_node(node::CACHE_BLOCKS, &[0, cbom, cbop, cboz]).ok()
}

/// MMU node: a reserved byte and the translation mode. `None` without translation.
fn mmu(mmu: MmuType) -> Option<Vec<u8>> {
    let mode = match mmu {
        MmuType::Sv39 => 0,
        MmuType::Sv48 => 1,
        MmuType::Sv57 => 2,
        _ => return None,
    };
    new_node(node::MMU, &[0, mode]).ok()
}
