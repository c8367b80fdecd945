//! Kinds of kernels that are in use: the default protocol, its reason, and the warnings.

use boot_core::protocol::Refusal;
use boot_core::{Arch, BootRequest, Cmdline, KernelImage, Machine, MemoryMap, protocol};
use fmt_test::elf::{EM_386, EM_RISCV, EM_X86_64, ET_DYN, Elf, PF_R, PF_X, Phdr, load, note, notes, words};
use vmboot::report::InspectReport;

const BASE: u64 = 0x10_0000;
/// PVH entry point of [`pvh_note`].
const PVH_ENTRY: u64 = 0x10_0010;

fn pvh_note() -> Vec<u8> {
    note(4, "Xen", 18, &words(&[0x10_0010]))
}

fn property_note() -> Vec<u8> {
    note(4, "GNU", 5, &[0; 16])
}

fn kernel(machine: u16, more: Vec<Phdr>) -> Elf {
    let mut phdrs = vec![load(BASE, &[0x90; 0x100], 0x1000)];
    phdrs.extend(more);
    Elf::new(machine, BASE, phdrs)
}

fn detect(bytes: &[u8]) -> KernelImage {
    boot_core::detect(&vmboot::formats().unwrap(), &bytes).unwrap()
}

/// Entry address of the plan by the protocol `name`, or its error.
fn entry(image: &KernelImage, name: &str) -> Result<u64, String> {
    let machine = Machine::new(Arch::X86_64, MemoryMap::pc(64 << 20).unwrap());
    let cmdline = Cmdline::new();
    let protocols = vmboot::protocols().unwrap();
    let protocol = protocols.iter().find(|protocol| protocol.name() == name).unwrap();
    match protocol.plan(&BootRequest::new(image, &machine, &cmdline)) {
        Ok(plan) => Ok(plan.cpus()[0].entry()),
        Err(error) => Err(error.to_string()),
    }
}

/// Checks the default protocol (or none) with the address where it starts, the support by `linux`, and the start of each
/// warning.
#[track_caller]
fn check(bytes: &[u8], default: Option<(&str, u64)>, linux: &str, warnings: &[&str]) {
    let image = detect(bytes);
    let protocols = vmboot::protocols().unwrap();
    let report = InspectReport::new("kernel", &image, &protocols);
    let text = report.to_string();
    assert_eq!(
        report.default_protocol.as_deref(),
        default.map(|(name, _)| name),
        "{text}"
    );
    if let Some((name, at)) = default {
        assert_eq!(protocol::select(&protocols, &image).unwrap().name(), name);
        assert_eq!(entry(&image, name), Ok(at));
        assert!(
            text.contains(&format!("protocol     {name}: the default, ")),
            "{text}"
        );
    } else {
        let error = protocol::select(&protocols, &image).err().unwrap();
        let is_contradicted =
            |(name, reason): &(&str, Refusal)| *name == "linux" && matches!(reason, Refusal::Contradicted(_));
        assert!(error.refused.iter().any(is_contradicted), "{error}");
    }
    let support = report
        .protocols
        .iter()
        .find(|protocol| protocol.name == "linux")
        .unwrap();
    assert_eq!(support.support, linux, "{text}");
    assert_eq!(report.warnings.len(), warnings.len(), "{text}");
    for (found, expected) in report.warnings.iter().zip(warnings) {
        assert!(found.starts_with(expected), "{found}");
    }
}

#[test]
fn a_pvh_kernel_with_an_interpreter() {
    let interpreter = Phdr {
        p_type: 3,
        ..notes(b"/red/herring\0", 1)
    };
    let mut bytes = kernel(EM_X86_64, vec![interpreter, notes(&pvh_note(), 4)]).bytes();
    bytes[7] = 9;
    check(
        &bytes,
        Some(("pvh", PVH_ENTRY)),
        "contradicted",
        &["program header 1 is PT_INTERP"],
    );
}

#[test]
fn a_pvh_kernel_whose_elf_entry_is_32_bit_code() {
    let bytes = kernel(EM_X86_64, vec![notes(&pvh_note(), 4)]).bytes();
    check(&bytes, Some(("pvh", PVH_ENTRY)), "possible", &[]);
    assert_eq!(entry(&detect(&bytes), "linux"), Ok(BASE));
}

#[test]
fn a_linux_kernel_with_and_without_a_pvh_note() {
    let with = |notes_of_kernel: &[u8]| {
        let code = Phdr {
            flags: PF_R | PF_X,
            vaddr: 0xffff_ffff_8010_0000,
            ..load(BASE, &[0x90; 0x100], 0x1000)
        };
        Elf::new(EM_X86_64, BASE, vec![code, notes(notes_of_kernel, 4)]).bytes()
    };
    let linux = note(4, "Linux", 0x100, b"salt");
    check(
        &with(&[linux.clone(), pvh_note()].concat()),
        Some(("pvh", PVH_ENTRY)),
        "indicated",
        &[],
    );
    check(&with(&linux), Some(("linux", BASE)), "indicated", &[]);
    // Stripped and old kernels have only their addresses, and these may be others.
    check(&with(&[]), Some(("linux", BASE)), "indicated", &[]);
    check(
        &kernel(EM_X86_64, vec![]).bytes(),
        Some(("linux", BASE)),
        "possible",
        &[],
    );
    check(
        &kernel(EM_386, vec![]).bytes(),
        Some(("linux", BASE)),
        "possible",
        &[],
    );
}

#[test]
fn notes_of_4_bytes_in_a_segment_aligned_to_8() {
    let merged = [pvh_note(), property_note()].concat();
    check(
        &kernel(EM_X86_64, vec![notes(&merged, 8)]).bytes(),
        Some(("pvh", PVH_ENTRY)),
        "possible",
        &[],
    );
}

#[test]
fn a_good_note_before_one_that_is_cut() {
    let mut cut = property_note();
    cut[4..8].copy_from_slice(&0x100u32.to_le_bytes());
    check(
        &kernel(EM_X86_64, vec![notes(&[pvh_note(), cut].concat(), 4)]).bytes(),
        Some(("pvh", PVH_ENTRY)),
        "possible",
        &["a note is ignored: the note at byte"],
    );
}

#[test]
fn segments_that_are_not_aligned_in_the_file() {
    let mut bytes = kernel(EM_X86_64, vec![notes(&pvh_note(), 4)]).bytes();
    let p_align = 64 + 48;
    bytes[p_align..p_align + 8].copy_from_slice(&0x1000u64.to_le_bytes());
    check(
        &bytes,
        Some(("pvh", PVH_ENTRY)),
        "possible",
        &["program header 0: `p_vaddr` 0x100000 and `p_offset`"],
    );
}

#[test]
fn a_multiboot_kernel() {
    let header = |words_of_header: &[u32]| {
        let sum = words_of_header
            .iter()
            .fold(0u32, |sum, word| sum.wrapping_add(*word));
        let mut code = [words(words_of_header), words(&[0u32.wrapping_sub(sum)])].concat();
        code.resize(0x100, 0x90);
        code
    };
    let with = |code: &[u8], more: &[Phdr]| {
        let mut phdrs = vec![load(BASE, code, 0x1000)];
        phdrs.extend_from_slice(more);
        Elf::new(EM_X86_64, BASE + 0x20, phdrs).bytes()
    };
    let start = BASE + 0x20;
    let first = header(&[0x1bad_b002, 0]);
    check(
        &with(&first, &[]),
        Some(("multiboot", start)),
        "contradicted",
        &[],
    );
    let mut second = header(&[0xe852_50d6, 0, 24]);
    second[16..24].copy_from_slice(&[0, 0, 0, 0, 8, 0, 0, 0]);
    check(
        &with(&second, &[]),
        Some(("multiboot2", start)),
        "contradicted",
        &[],
    );
    // A PVH note comes first.
    for code in [&first, &second] {
        let bytes = with(code, &[notes(&pvh_note(), 4)]);
        check(&bytes, Some(("pvh", PVH_ENTRY)), "contradicted", &[]);
    }
    // An explicit choice starts it.
    assert_eq!(entry(&detect(&with(&first, &[])), "linux"), Ok(start));
}

#[test]
fn a_kernel_with_physical_addresses_in_the_upper_half() {
    let base = 0xffff_8000_0100_0000;
    let bytes = Elf::new(EM_X86_64, base, vec![load(base, &[0x90; 0x100], 0x1000)]).bytes();
    let image = detect(&bytes);
    let warning = image.warnings()[0].to_string();
    assert!(
        warning.starts_with("the lowest `p_paddr` is 0xffff800001000000, a virtual address"),
        "{warning}"
    );
    let error = entry(&image, "linux").unwrap_err();
    assert!(error.contains("0xffff800001000000"), "{error}");
}

#[test]
fn a_static_user_program() {
    let tag = notes(&note(4, "GNU", 1, &[0; 16]), 4);
    let mut program = kernel(EM_X86_64, vec![tag]);
    program.e_type = ET_DYN;
    check(&program.bytes(), None, "contradicted", &[]);
    assert!(entry(&detect(&program.bytes()), "linux").is_ok());
}

#[test]
fn machine_mode_firmware() {
    // csrr a0, mhartid
    let code = [&0xf140_2573u32.to_le_bytes()[..], &[0x13; 0x1c]].concat();
    let at = 0x8000_0000;
    let firmware = Elf::new(EM_RISCV, at, vec![load(at, &code, 0x1000)]).bytes();
    let report = InspectReport::new("firmware", &detect(&firmware), &vmboot::protocols().unwrap());
    assert_eq!(report.default_protocol, None);
    let text = report.to_string();
    assert!(
        text.contains(
            "fdt-riscv64: only with `--protocol fdt-riscv64`: its code uses machine-mode registers"
        ),
        "{text}"
    );
}
