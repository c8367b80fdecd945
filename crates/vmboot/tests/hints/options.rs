//! Options that messages advise.

use std::fs::{self, File};
use std::num::NonZeroU32;

use boot_core::{BootRequest, Cmdline, LoadContent, detect, protocol};
use hv_core::virt::{self, Gic};

use crate::command::vmboot;
use crate::files::{START, arm64_image, bzimage, elf, kernel, riscv_image, uimage, write};

const MIB: u64 = 1 << 20;

/// Asserts that `plan` fails with `words` in the message, and returns the message.
fn refused(args: &[&str], words: &str) -> String {
    let error = vmboot(&[&["plan"], args].concat()).unwrap_err();
    assert!(error.contains(words), "no `{words}` in {error}");
    error
}

/// Asserts that `plan` succeeds.
fn accepted(args: &[&str]) {
    if let Err(error) = vmboot(&[&["plan"], args].concat()) {
        panic!("{args:?}: {error}");
    }
}

/// The word after `prefix` in a message.
fn word_after<'a>(message: &'a str, prefix: &str) -> &'a str {
    let (_, rest) = message
        .split_once(prefix)
        .unwrap_or_else(|| panic!("no `{prefix}` in {message}"));
    rest.split_whitespace().next().unwrap()
}

/// More memory is advised if and only if it helps, and is then enough.
pub(crate) fn memory() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name, bytes: &[u8]| write(dir.path(), name, bytes).to_str().unwrap().to_owned();
    let high = file("high", &elf(0x3000_0000, b"Xen\0"));
    let hole = file("hole", &elf(0xe000_0000, b"Xen\0"));
    let low = file("low", &kernel());
    let arm64 = file("arm64", &arm64_image(0, 600 * MIB, 2));
    let riscv = file("riscv", &riscv_image(0, 600 * MIB));
    let initrd = dir.path().join("initrd");
    File::create(&initrd).unwrap().set_len(600 * MIB).unwrap();
    let initrd = initrd.to_str().unwrap();
    for args in [
        &[high.as_str()][..],
        &[&high, "--protocol", "pvh"],
        &[&arm64],
        &[&riscv],
        &[&low, "--initrd", initrd],
    ] {
        let message = refused(args, "with which it fits");
        let size = word_after(&message, "--memory ").trim_end_matches(',');
        accepted(&[args, &["--memory", size]].concat());
    }
    // Nothing helps: there is never RAM in the hole below 4 GiB.
    let message = refused(&[&hole], "the machine has no memory at 0xe0000000..0xe0002000");
    assert!(
        !message.contains("--memory") && !message.contains("--reserve"),
        "{message}"
    );
}

/// A reserved range in the way is named, and more memory is not advised.
pub(crate) fn reserve() {
    let dir = tempfile::tempdir().unwrap();
    let kernel = write(dir.path(), "kernel", &kernel());
    let kernel = kernel.to_str().unwrap();
    assert_eq!(START, 0x20_0000);
    let message = refused(
        &[kernel, "--reserve", "0x201000..0x300000"],
        "the range 0x201000..0x300000 of the memory map is reserved\nhelp: omit --reserve, without which it fits",
    );
    assert!(!message.contains("--memory"), "{message}");
    accepted(&[kernel]);
    let image = write(dir.path(), "image", &arm64_image(0, 400 * MIB, 2));
    let image = image.to_str().unwrap();
    let message = refused(
        &[image, "--reserve", "0x8c000000..0x94000000"],
        "omit --reserve, without which it fits",
    );
    assert!(!message.contains("--memory"), "{message}");
    accepted(&[image]);
}

/// `--raw-cmdline` passes what Linux may misread, and the other advice on command lines holds.
pub(crate) fn cmdline() {
    let dir = tempfile::tempdir().unwrap();
    let kernel = write(dir.path(), "kernel", &kernel());
    let kernel = kernel.to_str().unwrap();
    for line in ["a=\"b", "a -- b -- c", "a \"--\"", "a\tb\u{1}", "\u{e0}"] {
        refused(
            &[kernel, "--protocol", "linux", "--cmdline", line],
            "pass the line unchanged with --raw-cmdline",
        );
        accepted(&[kernel, "--protocol", "linux", "--raw-cmdline", "--cmdline", line]);
        // Other guests have rules of their own.
        accepted(&[kernel, "--protocol", "pvh", "--cmdline", line]);
    }
    accepted(&[kernel, "--protocol", "linux", "--cmdline", "a=\"b -- c\""]);
    refused(
        &[kernel, "--protocol", "linux", "--cmdline", "\u{e0}"],
        "use it in a quoted value only",
    );
    accepted(&[kernel, "--protocol", "linux", "--cmdline", "a=\"\u{e0}\""]);
    refused(
        &[kernel, "--protocol", "linux", "--cmdline", "\"--\""],
        "add arguments of init separately",
    );
    accepted(&[kernel, "--protocol", "linux", "--cmdline", "-- a"]);
    // A line that is too long stays an error.
    let long = "x".repeat(5000);
    for raw in [&[][..], &["--raw-cmdline"]] {
        let args = [&[kernel, "--protocol", "linux", "--cmdline", &long], raw].concat();
        refused(&args, "the command line has 5000 bytes");
    }
}

/// The interrupt controllers that a message names work.
pub(crate) fn irqchip() {
    let dir = tempfile::tempdir().unwrap();
    let x86 = write(dir.path(), "x86", &kernel());
    let arm64 = write(dir.path(), "arm64", &arm64_image(0, MIB, 2));
    let riscv = write(dir.path(), "riscv", &riscv_image(0, MIB));
    let [x86, arm64, riscv] = [&x86, &arm64, &riscv].map(|path| path.to_str().unwrap());
    let bzimage = write(dir.path(), "bzImage", &bzimage());
    for x86 in [x86, bzimage.to_str().unwrap()] {
        refused(&[x86, "--irqchip", "plic"], "omit --irqchip");
        accepted(&[x86]);
    }
    for (image, wrong) in [(arm64, "plic"), (riscv, "gicv2")] {
        let message = refused(&[image, "--irqchip", wrong], "help: use ");
        let (_, names) = message.trim().split_once("help: use ").unwrap();
        for name in names.split([',', ' ']).filter(|name| !["", "or"].contains(name)) {
            accepted(&[image, "--irqchip", name]);
        }
    }
}

/// The names and numbers that messages give as examples are accepted.
pub(crate) fn examples() {
    let dir = tempfile::tempdir().unwrap();
    let kernel = write(dir.path(), "kernel", &kernel());
    let kernel = kernel.to_str().unwrap();
    let message = refused(&[kernel, "--protocol", "none"], "use one of ");
    let (_, names) = message.trim().split_once("use one of ").unwrap();
    for name in names.split(", ") {
        let result = vmboot(&["plan", kernel, "--protocol", name]);
        assert!(
            !result.is_err_and(|error| error.contains("not a boot protocol")),
            "{name}"
        );
    }
    for (option, wrong, until) in [
        ("--memory", "1.5X", ""),
        ("--acpi-rsdp", "e0000", ""),
        ("--reserve", "1M-2M", ", with"),
    ] {
        let message = refused(&[kernel, option, wrong], "such as ");
        let (_, rest) = message.split_once("such as ").unwrap();
        let line = rest.lines().next().unwrap();
        let examples = line
            .split(until)
            .next()
            .filter(|_| !until.is_empty())
            .unwrap_or(line);
        let mut count = 0;
        for example in examples.replace(" or ", ", ").split(", ") {
            let example = example.split(':').next().unwrap();
            let result = vmboot(&["plan", kernel, option, example]);
            assert!(
                !result.is_err_and(|error| error.contains("such as ")),
                "{option} {example}"
            );
            count += 1;
        }
        assert!(count > 0);
    }
    let message = refused(&[kernel, "--memory", "1M"], "at least 2 MiB is needed");
    for least in [
        word_after(&message, "at least "),
        word_after(&message, "help: use --memory "),
    ] {
        let result = vmboot(&["plan", kernel, "--memory", least]);
        assert!(!result.is_err_and(|error| error.contains("is needed")));
    }
}

/// Files that belong to other options are accepted there.
pub(crate) fn roles() {
    let dir = tempfile::tempdir().unwrap();
    let kernel = write(dir.path(), "kernel", &kernel());
    let cpio = write(dir.path(), "initrd", b"070701");
    let [kernel, cpio] = [&kernel, &cpio].map(|path| path.to_str().unwrap());
    refused(
        &[cpio],
        &format!(
            "a cpio archive, the format of an initrd\nhelp: pass it to `vmboot run` as --initrd {cpio}, "
        ),
    );
    accepted(&[kernel, "--initrd", cpio]);

    let path = write(dir.path(), "image", &arm64_image(0, MIB, 2));
    let image = detect(&vmboot::formats().unwrap(), &fs::read(&path).unwrap()).unwrap();
    let machine = virt::arm64_machine(512 * MIB, NonZeroU32::MIN, Gic::V3WithIts).unwrap();
    let cmdline = Cmdline::new();
    let protocols = vmboot::protocols().unwrap();
    let plan = protocol::select(&protocols, &image)
        .unwrap()
        .plan(&BootRequest::new(&image, &machine, &cmdline))
        .unwrap();
    let tree = plan.loads().iter().find_map(|load| match &load.content {
        LoadContent::Bytes(bytes) if load.label == "device tree" => Some(bytes),
        _ => None,
    });
    let dtb = write(dir.path(), "dtb", tree.unwrap());
    let [path, dtb] = [&path, &dtb].map(|path| path.to_str().unwrap());
    refused(
        &[dtb],
        &format!("a device tree\nhelp: pass it to `vmboot run` as --dtb {dtb}, "),
    );
    accepted(&[path, "--dtb", dtb]);

    // An image of U-Boot without a kernel is not advised to be booted.
    let script = write(dir.path(), "script", &uimage(6, b"boot"));
    let message = refused(&[script.to_str().unwrap()], "without a kernel");
    assert!(!message.contains("OUTPUT"), "{message}");
}

/// A note with the mended name is found.
pub(crate) fn notes() {
    let dir = tempfile::tempdir().unwrap();
    let inspect = |name: &[u8]| {
        let path = write(dir.path(), "kernel", &elf(START, name));
        vmboot(&["inspect", path.to_str().unwrap()]).unwrap()
    };
    let defect = inspect(b"Xen");
    assert!(
        defect.contains("add the NUL, and set `n_namesz` to 4"),
        "{defect}"
    );
    assert!(defect.contains("pvh: not supported"), "{defect}");
    let mended = inspect(b"Xen\0");
    assert!(
        !mended.contains("warning") && mended.contains("(pvh)"),
        "{mended}"
    );
}

/// An arm64 `Image` is at `text_offset` from the start of RAM, as its warning tells.
pub(crate) fn text_offset() {
    let dir = tempfile::tempdir().unwrap();
    for (text_offset, flags, start) in [
        (0, 2, "0x80000000"),
        (0x8_0000, 2, "0x80080000"),
        (0x20_0000, 2, "0x80200000"),
        (0x20_0000, 10, "0x80200000"),
        (0x108_0000, 2, "0x81080000"),
        (0x108_0000, 10, "0x81080000"),
    ] {
        let path = write(dir.path(), "image", &arm64_image(text_offset, 0x1_0000, flags));
        let json = vmboot(&["plan", "--json", path.to_str().unwrap()]).unwrap();
        let plan: vmboot::report::PlanReport = serde_json::from_str(&json).unwrap();
        assert_eq!(format!("{:#x}", plan.kernel_start.0), start);
        let is_large = text_offset >= 0x20_0000;
        let has_warning = plan
            .warnings
            .iter()
            .any(|text| text.contains("2 MiB boundary in RAM"));
        assert_eq!(has_warning, is_large, "{:?}", plan.warnings);
    }
}
