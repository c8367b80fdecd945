//! The device tree compiler reads the trees without a warning, and its output equals the golden files.
//!
//! `UPDATE_GOLDEN=1 cargo test -p vmboot-proto-fdt --test dtc` rewrites the golden files.

#[path = "support/reference.rs"]
mod reference;

use std::io::Write as _;
use std::num::NonZeroU32;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use arbitrary::Unstructured;
use boot_core::machine::{
    Cache, CacheScope, Caches, DtNode, DtReference, DtValue, Interrupt, Line, Numa, NumaNode, Topology,
};
use boot_core::{Arch, GuestRange, Machine};
use boot_test::fdt;
use libtest_mimic::{Arguments, Failed, Trial};
use proto_fdt::{Chosen, create_fdt};

/// The output of `dtc` for a tree: the source and the warnings.
fn decompile(dtb: &[u8]) -> Result<String, Failed> {
    let mut dtc = Command::new("dtc")
        .args(["-I", "dtb", "-O", "dts"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut stdin = dtc.stdin.take().ok_or("no pipe to dtc")?;
    stdin.write_all(dtb)?;
    drop(stdin);
    let output = dtc.wait_with_output()?;
    let complaints = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() || !complaints.is_empty() {
        return Err(format!("dtc: {}\n{complaints}", output.status).into());
    }
    // Older versions print a list of strings as one string with `\0` in it.
    Ok(String::from_utf8(output.stdout)?.replace("\\0", "\", \""))
}

/// Compares with a golden file, or writes it.
fn golden(name: &str, found: &str) -> Result<(), Failed> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/{name}.dts"));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, found)?;
    }
    let expected = std::fs::read_to_string(&path)?;
    match expected
        .lines()
        .zip(found.lines())
        .find(|(expected, found)| expected != found)
    {
        Some((expected, found)) => Err(format!("{name}: expected `{expected}`, found `{found}`").into()),
        None if expected.lines().count() == found.lines().count() => Ok(()),
        None => Err(format!("{name}: one of the two is longer").into()),
    }
}

/// Machines made from a fixed sequence of bytes.
fn arbitrary(arch: Arch) -> Result<(), Failed> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for _ in 0..40 {
        let bytes: Vec<u8> = (0..300)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                state.to_be_bytes()[0]
            })
            .collect();
        let machine = fdt::machine(&mut Unstructured::new(&bytes), arch)?;
        decompile(&create_fdt(&machine, &Chosen::default())?)?;
    }
    Ok(())
}

/// A reference machine with two NUMA nodes.
fn numa(mut machine: Machine) -> Result<(), Failed> {
    let bank = machine.memory.ram().next().ok_or("no RAM")?;
    let middle = bank.start() + bank.len() / 2;
    let range = |start, end| GuestRange::from_bounds(start, end).ok_or("no range");
    machine.numa = Some(Numa::new(vec![
        NumaNode::new(vec![0, 1], vec![range(bank.start(), middle)?]),
        NumaNode::new(vec![2, 3], vec![range(middle, bank.end())?]),
    ]));
    let source = decompile(&create_fdt(&machine, &chosen())?)?;
    if source.matches("numa-node-id").count() != 6 {
        return Err(format!("expected the nodes of four CPUs and two banks: {source}").into());
    }
    Ok(())
}

/// A reference machine with a topology and caches.
fn topology(mut machine: Machine) -> Result<(), Failed> {
    let two = NonZeroU32::new(2).ok_or("no number")?;
    let mut caches = Caches::default();
    caches.l1d = Some(Cache::new(64 << 10, 64, 256));
    caches.l2 = Some(Cache::new(1 << 20, 64, 1024));
    caches.l3 = Some(Cache::new(8 << 20, 64, 8192).with_scope(CacheScope::Socket));
    machine.topology = Some(Topology::new(two, NonZeroU32::MIN, two).with_caches(caches));
    let source = decompile(&create_fdt(&machine, &chosen())?)?;
    for (expected, count) in [
        ("thread1 {", 2),
        ("socket", 2),
        ("l2-cache", 2),
        ("cache-unified;", 4),
    ] {
        if source.matches(expected).count() != count {
            return Err(format!("expected {count} times `{expected}`: {source}").into());
        }
    }
    Ok(())
}

/// A reference machine with nodes of the caller's own.
fn nodes(mut machine: Machine) -> Result<(), Failed> {
    let line = |number| match machine.arch {
        Arch::Riscv64 => Line::Source(number),
        _ => Line::Spi(number),
    };
    let range = |start| GuestRange::new(start, 0x1000).ok_or("no range");
    let controller = DtValue::Phandle(DtReference::InterruptController);
    let block = DtNode::new("block")
        .with_property("interrupt-parent", [controller])
        .with_property("interrupts", [DtValue::Interrupt(Interrupt::level(line(14)))])
        .with_property("secret", [DtValue::Bytes(vec![1, 2, 3].into())]);
    machine.platform.nodes = vec![
        DtNode::vmgenid(range(0x900_3000)?, Interrupt::edge(line(11))),
        DtNode::vmclock(range(0x900_4000)?, Interrupt::edge(line(12))),
        DtNode::fixed_clock("clock-rtc", 24_000_000, 0x100),
        DtNode::pl031(range(0x900_5000)?, Interrupt::level(line(13)), 0x100),
        DtNode::new("vendor,devices").with_child(block),
    ];
    let source = decompile(&create_fdt(&machine, &chosen())?)?;
    for expected in [
        "rng@9003000 {",
        "\"microsoft,vmgenid\"",
        "\"amazon,vmclock\"",
        "secret = [01 02 03];",
    ] {
        if !source.contains(expected) {
            return Err(format!("expected `{expected}`: {source}").into());
        }
    }
    Ok(())
}

/// A boot with all boot parameters.
fn chosen() -> Chosen<'static> {
    Chosen::new()
        .with_bootargs(b"console=ttyS0 root=/dev/vda\0")
        .with_initrd(GuestRange::new(0x8800_0000, 0x1234).unwrap())
        .with_rng_seed(&[1, 2, 3, 4, 5])
        .with_kaslr_seed(0x0123_4567_89ab_cdef)
}

fn main() -> ExitCode {
    let args = Arguments::from_args();
    let dtc = Command::new("dtc")
        .arg("--version")
        .stdout(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if !dtc && !args.list {
        eprintln!(
            "SKIPPED: there is no `dtc` here, so no tree was shown to it (Debian: device-tree-compiler)"
        );
    }
    let reference = reference::machines().into_iter().map(|(name, machine)| {
        Trial::test(name, move || {
            golden(name, &decompile(&create_fdt(&machine, &chosen())?)?)
        })
    });
    let arbitrary = [Arch::Aarch64, Arch::Riscv64]
        .map(|arch| Trial::test(format!("arbitrary-{arch}"), move || arbitrary(arch)));
    let numa = reference::machines()
        .into_iter()
        .map(|(name, machine)| Trial::test(format!("{name}-numa"), move || numa(machine)));
    let nodes = reference::machines()
        .into_iter()
        .map(|(name, machine)| Trial::test(format!("{name}-nodes"), move || nodes(machine)));
    let topology = reference::machines()
        .into_iter()
        .map(|(name, machine)| Trial::test(format!("{name}-topology"), move || topology(machine)));
    let trials = reference
        .chain(topology)
        .chain(arbitrary)
        .chain(numa)
        .chain(nodes)
        .map(|trial| trial.with_ignored_flag(!dtc))
        .collect();
    libtest_mimic::run(&args, trials).exit_code()
}
