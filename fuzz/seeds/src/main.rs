//! Writes the seed corpus of every fuzz target to `fuzz/corpus/<target>/seed-<name>`.
//!
//! Other files in those directories, such as inputs that a fuzzer found, stay as they are.
#![forbid(unsafe_code)]

mod acpi;
mod acpi_create;
mod bls;
mod bzimage_parse;
mod cmdline_parse;
mod decompress;
mod efi;
mod elf_parse;
mod ext4;
mod fat;
mod fdt;
mod gpt;
mod image_parse;
mod kernel_files;
mod measure;
mod multiboot_parse;
mod open_nested;
mod page_walk;
mod pe_load;
mod pe_parse;
mod plan_x86;
mod prepared_file;
mod sandbox;
mod sandbox_copies;
mod sandbox_elf;
mod sandbox_snapshot_file;
mod sandbox_window;
mod seed;
mod virtio_block;

use std::path::Path;
use std::{fs, io};

use seed::Seed;

/// A fuzz target and the function that makes its seeds.
type Target = (&'static str, fn() -> Vec<Seed>);

/// Every fuzz target.
const TARGETS: [Target; 35] = [
    ("acpi_create", acpi_create::seeds),
    ("acpi_tables", acpi::seeds),
    ("bls", bls::texts),
    ("bzimage_parse", bzimage_parse::seeds),
    ("cmdline_parse", cmdline_parse::seeds),
    ("decompress", decompress::seeds),
    ("device_path", efi::device_paths),
    ("efi_calls", efi::calls),
    ("elf_parse", elf_parse::seeds),
    ("ext4", ext4::seeds),
    ("fat", fat::seeds),
    ("fdt_update", fdt::trees),
    ("gpt", gpt::seeds),
    ("image_parse", image_parse::seeds),
    ("kernel_files", kernel_files::seeds),
    ("measure", measure::seeds),
    ("multiboot_parse", multiboot_parse::seeds),
    ("open_nested", open_nested::seeds),
    ("page_walk", page_walk::seeds),
    ("pe_load", pe_load::seeds),
    ("pe_parse", pe_parse::seeds),
    ("plan_arm64", fdt::boots),
    ("plan_riscv64", fdt::boots),
    ("plan_x86", plan_x86::seeds),
    ("prepared_file", prepared_file::seeds),
    ("sandbox_copies", sandbox_copies::seeds),
    ("sandbox_elf", sandbox_elf::seeds),
    ("sandbox_snapshot_file", sandbox_snapshot_file::seeds),
    ("sandbox_symbols", sandbox::symbols),
    ("sandbox_walk", sandbox::walks),
    ("sandbox_window", sandbox_window::seeds),
    ("uki", bls::images),
    ("variable_file", efi::variable_files),
    ("variables", efi::variables),
    ("virtio_block", virtio_block::seeds),
];

fn main() -> io::Result<()> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../corpus");
    for (target, seeds) in TARGETS {
        let directory = corpus.join(target);
        fs::create_dir_all(&directory)?;
        let seeds = seeds();
        for (name, bytes) in &seeds {
            fs::write(directory.join(format!("seed-{name}")), bytes)?;
        }
        println!("{target}: {} seeds", seeds.len());
    }
    Ok(())
}
