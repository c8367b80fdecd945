//! Plans and requests as JSON.

use boot_core::cpu::x86_64::State;
use boot_core::{
    Arch, BootFile, BootRequest, Cmdline, Constraints, Endian, EntryAbi, GuestRange, ImageBuilder, Machine,
    MemoryMap, Module, PlacedKernel, PlanBuilder, RamAllocator, SourceRange, Warning,
};
use serde_json::{Value, json};

fn range(start: u64, end: u64) -> GuestRange {
    GuestRange::from_bounds(start, end).unwrap()
}

#[test]
fn plans_and_requests_have_all_parts() {
    let image = ImageBuilder::new("test", Arch::X86_64, Endian::Little, 0x800)
        .segment(SourceRange::whole(0x800), range(0x10_0000, 0x10_1000))
        .entry(EntryAbi::ELF64, 0x10_0000)
        .build()
        .unwrap();
    let machine = Machine::new(Arch::X86_64, MemoryMap::pc(2 << 20).unwrap());
    let cmdline: Cmdline = "quiet root=/dev/vda".parse().unwrap();
    let modules = [Module::new(3).with_cmdline("a=b".parse().unwrap())];
    let request = BootRequest::new(&image, &machine, &cmdline)
        .with_initrd(2)
        .with_modules(&modules);
    let kernel = PlacedKernel::place(&image, &mut RamAllocator::new(&machine.memory)).unwrap();
    let plan = PlanBuilder::new("test", &request, &kernel)
        .file(
            "initrd",
            range(0x1000, 0x1002),
            BootFile::Initrd,
            Constraints::NONE,
        )
        .bytes("table", range(0x2000, 0x2004), vec![1, 2], Constraints::NONE)
        .cpu(State::protected_mode(0x10_0000, 8, 16))
        .warning(7u32)
        .build()
        .unwrap();
    assert_eq!(plan.warnings(), [Warning::new(7u32)]);

    let found = serde_json::to_value(&plan).unwrap();
    assert_eq!(found["protocol"], "test");
    assert_eq!(found["arch"], "x86_64");
    assert_eq!(found["warnings"], json!(["7"]));
    assert_eq!(found["kernel"], json!({"start": 0x10_0000, "end": 0x10_1000}));
    assert_eq!(found["cpus"][0]["x86_64"]["rip"], 0x10_0000);
    assert_eq!(found["cpus"][0]["x86_64"]["cs"]["limit"], u32::MAX);
    assert_eq!(found["memory"]["regions"][0]["kind"], "ram");
    assert_eq!(
        found["file_lens"],
        json!([["kernel", 0x800], ["initrd", 2], [{"module": 0}, 3]])
    );
    let contents: Vec<_> = found["loads"].as_array().unwrap().iter().map(content).collect();
    let expected = [
        (
            json!("initrd"),
            json!({"file": {"id": "initrd", "range": {"offset": 0, "end": 2}}}),
        ),
        (json!("table"), json!({"bytes": [1, 2, 0, 0]})),
        (
            json!("kernel"),
            json!({"file": {"id": "kernel", "range": {"offset": 0, "end": 0x800}}}),
        ),
        (json!("kernel"), json!("zeros")),
    ];
    assert_eq!(
        contents,
        expected.each_ref().map(|(label, content)| (label, content))
    );

    let found = serde_json::to_value(request).unwrap();
    assert_eq!(found["cmdline"], "quiet root=/dev/vda");
    assert_eq!(found["modules"], json!([{"len": 3, "cmdline": "a=b"}]));
    assert_eq!(found["initrd_len"], 2);
    assert_eq!(found["rng_seed"], Value::Null);
    assert_eq!(found["image"]["format"], "test");
    assert_eq!(
        found["image"]["entries"],
        json!([{"abi": "elf64", "addr": 0x10_0000}])
    );
    assert_eq!(found["machine"]["vcpus"], 1);
}

/// Label and content of a load.
fn content(load: &Value) -> (&Value, &Value) {
    (&load["label"], &load["content"])
}
