//! Files that contain a kernel: those that `vmboot` opens, and the commands that messages advise for the others.

use std::fs;
use std::path::{Path, PathBuf};

use libtest_mimic::{Completion, Failed, Trial};

use crate::command::{missing_tool, quoted, shell, vmboot};
use crate::files::{kernel, uimage, uki, write, zboot};

/// A file that contains a kernel.
struct Container {
    name: &'static str,
    /// Shell command that makes the file `FILE` from the kernel `KERNEL`; empty if `bytes` makes it.
    make: &'static str,
    /// Makes the file from the kernel without a tool.
    bytes: fn(&[u8]) -> Vec<u8>,
    /// Where the advice leaves the kernel: `OUTPUT`, or a path below `DIR`. Empty if `vmboot` opens the file.
    kernel: &'static str,
}

const fn made(name: &'static str, make: &'static str, kernel: &'static str) -> Container {
    Container {
        name,
        make,
        bytes: |_| Vec::new(),
        kernel,
    }
}

const fn built(name: &'static str, bytes: fn(&[u8]) -> Vec<u8>, kernel: &'static str) -> Container {
    Container {
        name,
        make: "",
        bytes,
        kernel,
    }
}

/// A zboot image with what `make` makes as `FILE` as its payload.
const ZBOOT: [(&str, &str, &[u8]); 3] = [
    ("zboot-gzip", "gzip -nc KERNEL > FILE", b"gzip\0"),
    ("zboot-xz", "xz --check=crc32 -c KERNEL > FILE", b"xzkern\0"),
    ("zboot-zstd", "zstd -qc KERNEL > FILE", b"zstd22\0"),
];

const CONTAINERS: [Container; 17] = [
    made("gzip", "gzip -nc KERNEL > FILE", ""),
    made("xz", "xz -c KERNEL > FILE", ""),
    made("lzma", "xz --format=lzma -c KERNEL > FILE", ""),
    made("bzip2", "bzip2 -c KERNEL > FILE", ""),
    made("zstd", "zstd -qc KERNEL > FILE", ""),
    made("lz4", "lz4 -qc KERNEL > FILE", ""),
    made("lz4-legacy", "lz4 -qlc KERNEL > FILE", ""),
    made("lzop", "lzop -c KERNEL > FILE", ""),
    made("tar", "tar -cf FILE KERNEL", "DIR/KERNEL"),
    made("zip", "zip -q FILE.zip KERNEL && mv FILE.zip FILE", "DIR/KERNEL"),
    made(
        "deb",
        "mkdir -p pkg/DEBIAN pkg/boot && cp KERNEL pkg/boot/vmlinuz && \
         printf 'Package: k\\nVersion: 1\\nArchitecture: all\\nMaintainer: k\\nDescription: k\\n' > pkg/DEBIAN/control && \
         dpkg-deb --root-owner-group -b pkg FILE",
        "DIR/boot/vmlinuz",
    ),
    made(
        "squashfs",
        "mkdir -p root && cp KERNEL root/vmlinuz && mksquashfs root FILE -quiet",
        "DIR/vmlinuz",
    ),
    made(
        "iso",
        "mkdir -p root && cp KERNEL root/VMLINUZ && xorriso -as mkisofs -o FILE root",
        "DIR/VMLINUZ",
    ),
    made(
        "fit",
        "mkimage -f auto -A x86_64 -O linux -T kernel -C none -a 0x200000 -e 0x200000 -d KERNEL FILE",
        "OUTPUT",
    ),
    made("android", "mkbootimg --kernel KERNEL --output FILE", "DIR/kernel"),
    built("uki", uki, ""),
    built("uimage", |kernel| uimage(2, kernel), ""),
];

/// One trial for each container.
pub(crate) fn trials() -> Vec<Trial> {
    let containers = CONTAINERS.into_iter().map(|container| {
        Trial::ignorable_test(format!("container {}", container.name), move || {
            check(&container, |dir| {
                if container.make.is_empty() {
                    return write(dir, "file", &(container.bytes)(&kernel()));
                }
                make(dir, container.make)
            })
        })
    });
    let zboots = ZBOOT.into_iter().map(|(name, command, codec)| {
        let container = made(name, command, "");
        Trial::ignorable_test(format!("container {name}"), move || {
            check(&container, |dir| {
                let payload = fs::read(make(dir, container.make)).unwrap();
                write(
                    dir,
                    "file",
                    &zboot(codec, &payload, u32::try_from(kernel().len()).unwrap()),
                )
            })
        })
    });
    containers.chain(zboots).collect()
}

/// Makes a file with a shell command.
fn make(dir: &Path, command: &str) -> PathBuf {
    write(dir, "KERNEL", &kernel());
    shell(dir, &command.replace("FILE", "file"));
    dir.join("file")
}

/// Carries out the advice of the message about the file: the result is the kernel, and the file is unchanged.
fn check(container: &Container, make: impl FnOnce(&Path) -> PathBuf) -> Result<Completion, Failed> {
    if let Some(tool) = missing_tool(container.make) {
        return Ok(Completion::ignored_with(format!("{tool} is not installed")));
    }
    let dir = tempfile::tempdir()?;
    let file = make(dir.path());
    let before = fs::read(&file)?;
    let path = file.to_str().unwrap();
    if container.kernel.is_empty() {
        check_opened(dir.path(), path)?;
        return Ok(Completion::Completed);
    }
    for command in ["inspect", "plan"] {
        let message = vmboot(&[command, path]).unwrap_err();
        let commands = quoted(&message);
        assert!(!commands.is_empty(), "no command in: {message}");
        for advice in &commands {
            if let Some(tool) = missing_tool(advice) {
                return Ok(Completion::ignored_with(format!("{tool} is not installed")));
            }
            let advice = advice
                .replace("FILE", path)
                .replace("OUTPUT", "out")
                .replace("DIR", command);
            shell(dir.path(), &advice);
        }
        assert!(fs::read(&file)? == before, "{} changes the file", container.name);
        let result = container.kernel.replace("OUTPUT", "out").replace("DIR", command);
        let result = dir.path().join(result);
        // A section of a PE file is padded.
        assert!(
            fs::read(&result)?.starts_with(&kernel()),
            "{}: not the kernel",
            container.name
        );
        vmboot(&[command, result.to_str().unwrap()])?;
    }
    Ok(Completion::Completed)
}

/// The file is planned as the kernel inside, which `extract` writes.
fn check_opened(dir: &Path, path: &str) -> Result<(), Failed> {
    let bare = write(dir, "KERNEL", &kernel());
    let plan = |path: &str| vmboot(&["plan", path]);
    assert_eq!(plan(path)?, plan(bare.to_str().unwrap())?);
    assert!(vmboot(&["inspect", path])?.contains("\ninside       elf, x86_64: 8 KiB, from "));
    let message = vmboot(&["plan", "--unpack", "never", path]).unwrap_err();
    assert!(message.contains("error: "), "{message}");
    let out = dir.join("out");
    let report = vmboot(&["extract", path, out.to_str().unwrap()])?;
    assert!(report.starts_with("1-elf: 8 KiB, from "), "{report}");
    assert!(fs::read(out.join("1-elf"))? == kernel());
    Ok(())
}
