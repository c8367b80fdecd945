//! Debian's Xen, a kernel of both Multiboot versions, as far as its own version line and the memory map.

use std::fs;
use std::time::Duration;

use hv_core::Outcome;

use super::board::Board;
use super::boot::boot;
use super::case::{Case, TestResult};
use super::fixtures::{Needs, path};
use super::setup::Setup;

const XEN: &str = "kernels/x86_64/xen-4.20.elf";
const DOM0: &str = "kernels/x86_64/debian-13.bzImage";

/// Xen skips the first word, as GRUB Legacy puts the file's name there. There is no BIOS to call in real mode.
const CMDLINE: &str = "xen com1=115200,8n1 console=com1 no-real-mode noreboot words=\"two words\"";

pub(crate) fn cases() -> Vec<Case> {
    if std::env::consts::ARCH != "x86_64" {
        return Vec::new();
    }
    ["multiboot", "multiboot2"]
        .into_iter()
        .map(|protocol| Case {
            name: format!("xen::{protocol}::to-its-memory-map"),
            needs: Needs {
                files: vec![XEN.into(), DOM0.into()],
                board: Board::Pc,
                hardware: true,
            },
            run: Box::new(move || to_memory_map(protocol)),
        })
        .collect()
}

/// Xen prints its version, the command line and the memory map that it was given, in this order.
fn to_memory_map(protocol: &str) -> TestResult {
    let setup = Setup {
        memory: 512 << 20,
        modules: vec![(fs::read(path(DOM0))?, "vmlinuz console=hvc0")],
        stop_at: Some("System RAM: "),
        deadline: Duration::from_mins(2),
        ..Setup::of(Board::Pc)
    };
    let run = boot(XEN, protocol, &setup, CMDLINE)?;
    let without_first_word = CMDLINE.split_once(' ').map_or("", |(_, rest)| rest);
    let expected = [
        "Xen version 4.20".to_owned(),
        format!("Command line: {without_first_word}"),
        "[0000000000000000, 000000000009ffff] (usable)".to_owned(),
        "[00000000000a0000, 00000000000fffff] (reserved)".to_owned(),
        "[0000000000100000, 000000001fffffff] (usable)".to_owned(),
    ];
    run.expect(&Outcome::Stopped, expected)
}
