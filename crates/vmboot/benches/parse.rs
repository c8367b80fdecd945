//! Time to parse and plan kernels, from files and from memory, beside other ELF parsers.
//!
//! ```text
//! VMBOOT_FIXTURES=DIR cargo bench -p vmboot --bench parse
//! ```
//!
//! `detect` finds the format, parses and validates; `plan` computes the boot of a machine with 256 MiB. The other parsers read the program headers of
//! the vmlinux and its notes, without validating that the segments can be loaded; they have the whole file in memory.

use std::env;
use std::fs::{self, File};
use std::hint::black_box;
use std::path::PathBuf;

use boot_core::{Arch, BootRequest, ByteSource, Cmdline, KernelImage, Machine, MemoryMap, detect, registry};
use criterion::Criterion;
use object::Endianness;
use object::read::elf::{ElfFile64, ProgramHeader as _};

/// The registry has plugins of crates that are linked.
use vmboot as _;

fn parse(source: &dyn ByteSource) -> KernelImage {
    detect(&registry::formats().unwrap(), source).unwrap()
}

/// The number of `PT_LOAD` headers and of notes.
type Counts = (usize, usize);

fn by_object(bytes: &[u8]) -> Counts {
    let file = ElfFile64::<Endianness>::parse(bytes).unwrap();
    let endian = file.endian();
    let (mut loads, mut notes) = (0, 0);
    for header in file.elf_program_headers() {
        loads += usize::from(header.p_type(endian) == object::elf::PT_LOAD);
        if let Some(mut found) = header.notes(endian, bytes).unwrap() {
            while found.next().unwrap().is_some() {
                notes += 1;
            }
        }
    }
    (loads, notes)
}

fn by_goblin(bytes: &[u8]) -> Counts {
    use goblin::elf::program_header::PT_LOAD;
    use goblin::elf::{Elf, ProgramHeader};
    let header = Elf::parse_header(bytes).unwrap();
    let mut elf = Elf::lazy_parse(header).unwrap();
    let context = goblin::container::Ctx::new(
        goblin::container::Container::Big,
        goblin::container::Endian::Little,
    );
    let (offset, count) = (
        usize::try_from(header.e_phoff).unwrap(),
        usize::from(header.e_phnum),
    );
    elf.program_headers = ProgramHeader::parse(bytes, offset, count, context).unwrap();
    let loads = elf
        .program_headers
        .iter()
        .filter(|header| header.p_type == PT_LOAD)
        .count();
    let notes = elf.iter_note_headers(bytes).unwrap().map(Result::unwrap).count();
    (loads, notes)
}

fn by_elf(bytes: &[u8]) -> Counts {
    use elf::abi::{PT_LOAD, PT_NOTE};
    let file = elf::ElfBytes::<elf::endian::AnyEndian>::minimal_parse(bytes).unwrap();
    let (mut loads, mut notes) = (0, 0);
    for header in file.segments().unwrap() {
        match header.p_type {
            PT_LOAD => loads += 1,
            PT_NOTE => notes += file.segment_data_as_notes(&header).unwrap().count(),
            _ => {}
        }
    }
    (loads, notes)
}

fn main() {
    let fixtures = env::var_os("VMBOOT_FIXTURES").map(PathBuf::from);
    let Some(fixtures) = fixtures else {
        println!(
            "skipped: VMBOOT_FIXTURES does not name the directory of the kernels; `cargo xtask bench parse` does"
        );
        return;
    };
    let machine = Machine::new(Arch::X86_64, MemoryMap::pc(256 << 20).unwrap());
    let cmdline: Cmdline = "console=ttyS0 panic=-1".parse().unwrap();
    let mut criterion = Criterion::default().configure_from_args();
    for (name, path, protocol) in [
        ("vmlinux", "kernels/x86_64/debian-13.vmlinux", "linux"),
        ("bzImage", "kernels/x86_64/debian-13.bzImage", "linux"),
    ] {
        let path = fixtures.join(path);
        let file = File::open(&path).unwrap();
        let bytes = fs::read(&path).unwrap();
        let formats = registry::formats().unwrap();
        let protocol = registry::protocols()
            .unwrap()
            .into_iter()
            .find(|other| other.name() == protocol)
            .unwrap();
        let mut group = criterion.benchmark_group(name);
        let sources: [(&str, &dyn ByteSource); 2] = [("file", &file), ("bytes", &bytes)];
        for (kind, source) in sources {
            group.bench_function(format!("detect/{kind}"), |bencher| {
                bencher.iter(|| detect(&formats, black_box(source)).unwrap());
            });
            group.bench_function(format!("detect+plan/{kind}"), |bencher| {
                bencher.iter(|| {
                    let image = detect(&formats, black_box(source)).unwrap();
                    protocol
                        .plan(&BootRequest::new(&image, &machine, &cmdline))
                        .unwrap()
                });
            });
        }
        let image = parse(&bytes);
        group.bench_function("plan", |bencher| {
            bencher.iter(|| {
                protocol
                    .plan(&BootRequest::new(black_box(&image), &machine, &cmdline))
                    .unwrap()
            });
        });
        if name == "vmlinux" {
            let counts = by_object(&bytes);
            assert!(counts.0 > 0 && counts.1 > 0);
            assert_eq!((by_goblin(&bytes), by_elf(&bytes)), (counts, counts));
            group.bench_function("object", |bencher| bencher.iter(|| by_object(black_box(&bytes))));
            group.bench_function("goblin", |bencher| bencher.iter(|| by_goblin(black_box(&bytes))));
            group.bench_function("elf", |bencher| bencher.iter(|| by_elf(black_box(&bytes))));
        }
        group.finish();
    }
    criterion.final_summary();
}
