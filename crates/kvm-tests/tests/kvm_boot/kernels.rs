//! Kinds of ELF kernels that are in use, each with code for the entry point of its default protocol only.

use hv_core::Outcome;

use super::board::Board;
use super::boot::boot_source;
use super::case::{Case, TestResult};
use super::fixtures::Needs;
use super::setup::Setup;
use fmt_test::elf::{EM_X86_64, Elf, Phdr, load, note, notes, words};

const BASE: u64 = 0x10_0000;
/// Distance of the expected entry point from [`BASE`].
const ENTRY: usize = 0x20;
/// Value that the code writes to the debug-exit port.
const EXIT: u32 = 0x10;

/// A kind of kernel, the letter that it prints, and the file.
type Kind = (&'static str, char, fn() -> Vec<u8>);

const KINDS: [Kind; 6] = [
    ("interpreter-and-pvh", 'P', || {
        let interpreter = Phdr {
            p_type: 3,
            ..notes(b"/red/herring\0", 1)
        };
        let mut bytes = pvh_kernel(vec![interpreter, notes(&pvh_note(), 4)]).bytes();
        bytes[7] = 9; // EI_OSABI of FreeBSD
        bytes
    }),
    ("entry-of-32-bit-code-and-pvh", 'P', || {
        pvh_kernel(vec![notes(&pvh_note(), 4)]).bytes()
    }),
    ("merged-notes", 'P', || {
        let merged = [pvh_note(), note(4, "GNU", 5, &[0; 16])].concat();
        pvh_kernel(vec![notes(&merged, 8)]).bytes()
    }),
    ("unaligned-load", 'P', || {
        let mut bytes = pvh_kernel(vec![notes(&pvh_note(), 4)]).bytes();
        let p_align = 64 + 48;
        bytes[p_align..p_align + 8].copy_from_slice(&0x1000u64.to_le_bytes());
        bytes
    }),
    ("cut-note", 'P', || {
        let mut cut = note(4, "GNU", 3, &[0xaa; 16]);
        cut[4..8].copy_from_slice(&0x100u32.to_le_bytes());
        pvh_kernel(vec![notes(&[pvh_note(), cut].concat(), 4)]).bytes()
    }),
    ("multiboot", 'M', || {
        let header = words(&[0x1bad_b002, 0, 0u32.wrapping_sub(0x1bad_b002)]);
        let code = load(BASE, &code(&header, 'M'), 0x1000);
        Elf::new(EM_X86_64, BASE + ENTRY as u64, vec![code]).bytes()
    }),
];

pub(crate) fn cases() -> Vec<Case> {
    if std::env::consts::ARCH != "x86_64" {
        return Vec::new();
    }
    KINDS
        .into_iter()
        .map(|(name, letter, kernel)| Case {
            name: format!("kernels::{name}"),
            needs: Needs {
                files: Vec::new(),
                board: Board::Pc,
                hardware: false,
            },
            run: Box::new(move || prints(letter, &kernel())),
        })
        .collect()
}

fn prints(letter: char, kernel: &[u8]) -> TestResult {
    let run = boot_source(&kernel, None, &Setup::of(Board::Pc), "")?;
    if run.console == letter.to_string() && run.outcome == Outcome::DebugExit(EXIT) {
        return Ok(());
    }
    Err(run.failure(&format!("expected `{letter}`")))
}

fn pvh_note() -> Vec<u8> {
    note(4, "Xen", 18, &words(&[0x10_0020]))
}

/// A kernel whose `e_entry` is code that is invalid in 64-bit mode.
fn pvh_kernel(more: Vec<Phdr>) -> Elf {
    const FAR_CALL: [u8; 7] = [0x9a, 0x20, 0, 0x10, 0, 8, 0];
    let mut phdrs = vec![load(BASE, &code(&FAR_CALL, 'P'), 0x1000)];
    phdrs.extend(more);
    Elf::new(EM_X86_64, BASE, phdrs)
}

/// `start`, and at [`ENTRY`] 32-bit code that prints `letter` and ends the run.
fn code(start: &[u8], letter: char) -> Vec<u8> {
    let mut code = start.to_vec();
    code.resize(ENTRY, 0x90);
    code.extend([0x66, 0xba, 0xf8, 0x03]); // mov dx, 0x3f8
    code.extend([0xb0, letter as u8, 0xee]); // mov al, letter; out dx, al
    code.extend([0xb0, 0x10, 0xe6, 0xf4]); // mov al, 0x10; out 0xf4, al
    code.extend([0xf4, 0xeb, 0xfd]); // hlt; jmp to hlt
    code
}
