//! Trees that the device tree compiler makes, parsed and written by this crate, and decompiled again: nothing is lost, and nothing is added.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use libtest_mimic::{Arguments, Failed, Trial};
use proto_fdt::device_tree::DeviceTree;

/// What trees of this crate do not have: reservations, phandles, all sizes of cells, strings of any kind, empty nodes and properties, names that are the end of
/// others, and many levels.
const SOURCE: &str = r#"/dts-v1/;
/memreserve/ 0x80000000 0x1000;
/memreserve/ 0xffffffff00000000 0x20000;
/ {
    #address-cells = <2>;
    #size-cells = <0>;
    compatible = "acme,one", "acme,two", "";
    model = "quotes \" and \\ and \t tabs";
    empty;
    nothing = "";
    bytes = [00 01 fe ff];
    wide = /bits/ 64 <0x0123456789abcdef 0>;
    half = /bits/ 16 <0xffff 1 2>;
    mixed = "text", <1 2 3>, [aa bb cc];
    first: node@0 {
        reg = <0 0>;
        next = <&second>;
        path = &second;
        e { };
        ne { };
        one { one { one { one { one { one { deep = <1>; }; }; }; }; }; };
    };
    second: node@1,2-3_4.5+6 {
        reg = <0 1>;
        interrupts-extended = <&first 1>, <&second 2>;
    };
};
"#;

/// What `dtc` makes of `input`, with these options.
fn dtc(options: &[&str], input: &[u8]) -> Result<Vec<u8>, Failed> {
    let mut dtc = Command::new("dtc")
        .args(["-q", "-q"])
        .args(options)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut stdin = dtc.stdin.take().ok_or("no pipe to dtc")?;
    stdin.write_all(input)?;
    drop(stdin);
    let output = dtc.wait_with_output()?;
    if !output.status.success() {
        return Err(format!(
            "dtc: {}\n{}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        )
        .into());
    }
    Ok(output.stdout)
}

/// Compiles, parses, writes and decompiles a tree.
fn check(source: &[u8], options: &[&str]) -> Result<(), Failed> {
    let compiled = dtc(&[&["-I", "dts", "-O", "dtb"], options].concat(), source)?;
    let tree = DeviceTree::parse(&compiled)?;
    let written = tree.to_bytes().ok_or("a tree that is too large")?;
    let decompile = |bytes: &[u8]| dtc(&["-I", "dtb", "-O", "dts"], bytes);
    let (theirs, ours) = (decompile(&compiled)?, decompile(&written)?);
    if theirs != ours {
        let [theirs, ours] = [theirs, ours].map(|text| String::from_utf8_lossy(&text).into_owned());
        return Err(format!("the tree of dtc:\n{theirs}\nwritten again:\n{ours}").into());
    }
    // What this crate writes, it reads as the same.
    assert_eq!(DeviceTree::parse(&written)?.to_bytes(), Some(written));
    Ok(())
}

/// The Devicetree Specification 0.4, section 5.2, has version 17 only. `dtc` writes and reads older ones, too.
fn version_16() -> Result<(), Failed> {
    let compiled = dtc(&["-I", "dts", "-O", "dtb", "-V", "16"], SOURCE.as_bytes())?;
    let error = DeviceTree::parse(&compiled).err().ok_or("a tree of version 16")?;
    let expected = "at byte 0x14 of the device tree: version 16, compatible back to 16, is not supported; expected version 17";
    assert_eq!(error.to_string(), expected);
    Ok(())
}

fn main() -> ExitCode {
    let args = Arguments::from_args();
    let version = Command::new("dtc")
        .arg("--version")
        .stdout(Stdio::null())
        .status();
    let is_installed = version.is_ok_and(|status| status.success());
    if !is_installed && !args.list {
        eprintln!("SKIPPED: there is no `dtc` here, so it made no trees (Debian: device-tree-compiler)");
    }
    let mut trials = vec![
        Trial::test("source", || check(SOURCE.as_bytes(), &[])),
        Trial::test("source, version 16", version_16),
        Trial::test("source, boot CPU", || check(SOURCE.as_bytes(), &["-b", "3"])),
        Trial::test("source, padded", || {
            check(SOURCE.as_bytes(), &["-p", "4096", "-R", "4"])
        }),
        Trial::test("source, symbols", || check(SOURCE.as_bytes(), &["-@"])),
    ];
    for name in [
        "arm64-gicv2",
        "arm64-gicv3",
        "arm64-gicv3-its",
        "riscv64-aplic",
        "riscv64-aplic-imsic",
        "riscv64-plic",
    ] {
        trials.push(Trial::test(name, move || {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/{name}.dts"));
            check(&std::fs::read(path)?, &[])
        }));
    }
    let trials = trials
        .into_iter()
        .map(|trial| trial.with_ignored_flag(!is_installed))
        .collect();
    libtest_mimic::run(&args, trials).exit_code()
}
