//! `vmboot plan --dump`.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::Path;

use vmboot::boot_core::{GuestMemory as _, GuestRange};
use vmboot::report::{CpuReport, DumpReport};

use crate::boot::{Boot, boots, elf_of_segments, names, vmboot};
use crate::files;

/// Dumps `boot` into `dir/out`; the arguments.
fn dump(boot: &Boot, dir: &Path) -> Vec<String> {
    let out = dir.join("out").into_os_string().into_string().unwrap();
    let mut args = boot.args(dir, "kernel");
    args.extend(["--dump".to_owned(), out]);
    args
}

#[test]
fn a_dump_put_together_is_what_a_load_writes() {
    const FILL: u8 = 0xcc;
    let mut zeros = 0;
    for boot in boots() {
        let dir = tempfile::tempdir().unwrap();
        let output = vmboot(&dump(&boot, dir.path()));
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{}: {error}", boot.protocol);
        let out = dir.path().join("out");
        let index: DumpReport = serde_json::from_slice(&fs::read(out.join("index.json")).unwrap()).unwrap();
        let (plan, loaded) = boot.loaded(FILL);
        assert_eq!(index, DumpReport::from(&plan), "{}", boot.protocol);
        assert_eq!(index.schema, DumpReport::SCHEMA);
        assert_eq!(index.cpus, [CpuReport::from(plan.boot_cpu())]);

        let mut memory = loaded.filled(FILL);
        let mut access = memory.access();
        for piece in &index.pieces {
            let range = GuestRange::from_bounds(piece.load.start.0, piece.load.end.0).unwrap();
            assert_eq!(range.len(), piece.len);
            if let Some(name) = &piece.file {
                let bytes = fs::read(out.join(name)).unwrap();
                assert_eq!(bytes.len() as u64, piece.len, "{name}");
                access.write(range.start(), &bytes).unwrap();
            } else {
                zeros += 1;
                access.zero(range).unwrap();
            }
        }
        drop(access);
        assert!(
            memory == loaded,
            "{}: the dump differs from the load",
            boot.protocol
        );

        // The names sort by address, nothing else is in the directory, and the text names all of them.
        let mut expected: Vec<_> = index
            .pieces
            .iter()
            .filter_map(|piece| piece.file.clone())
            .collect();
        assert!(expected.is_sorted(), "{expected:?}");
        let text = fs::read_to_string(out.join("index.txt")).unwrap();
        assert!(expected.iter().all(|name| text.contains(name)), "{text}");
        expected.extend(["index.json".to_owned(), "index.txt".to_owned()]);
        assert_eq!(names(&out), expected);
        assert!(
            error.contains(&format!("wrote {} files", expected.len())),
            "{error}"
        );
        let has_tree = expected.iter().any(|name| name.ends_with("-device-tree.dtb"));
        assert_eq!(has_tree, boot.protocol.starts_with("fdt"), "{expected:?}");
    }
    assert!(zeros > 0, "no plan has zeros");
}

#[test]
fn a_dump_overwrites_nothing() {
    let boot = &boots()[0];
    let dir = tempfile::tempdir().unwrap();
    let args = dump(boot, dir.path());
    let refused = |words: &str| {
        let output = vmboot(&args);
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{error}");
        assert!(output.stdout.is_empty() && error.contains(words), "{error}");
    };
    let out = dir.path().join("out");
    fs::create_dir(&out).unwrap();
    let note = files::write(&out, "note", b"mine");
    refused("is not empty, and nothing is overwritten");
    assert_eq!(names(&out), ["note"]);
    // A dangling symbolic link is an entry, too.
    fs::remove_file(note).unwrap();
    symlink(dir.path().join("elsewhere"), out.join("index.json")).unwrap();
    refused("is not empty");
    assert!(!dir.path().join("elsewhere").exists());
    fs::remove_dir_all(&out).unwrap();
    files::write(dir.path(), "out", b"a file");
    refused("cannot be used as a directory for files");
    fs::remove_file(&out).unwrap();
    // An empty directory is used.
    fs::create_dir(&out).unwrap();
    assert!(vmboot(&args).status.success());
}

#[test]
fn a_hole_of_a_file_is_a_hole_of_the_dump() {
    const LEN: u64 = 48 << 20;
    let dir = tempfile::tempdir().unwrap();
    let kernel = files::write(dir.path(), "kernel", &files::kernel());
    let initrd = files::write(dir.path(), "initrd", b"start");
    fs::File::options()
        .write(true)
        .open(&initrd)
        .unwrap()
        .set_len(LEN)
        .unwrap();
    let out = dir.path().join("out");
    let [out, initrd, kernel] = [&out, &initrd, &kernel].map(|path| path.to_str().unwrap().to_owned());
    let args = ["plan", "--dump", &out, "--initrd", &initrd, &kernel].map(ToOwned::to_owned);
    assert!(vmboot(&args).status.success());
    let name = names(Path::new(&out))
        .into_iter()
        .find(|name| name.ends_with("-initrd.bin"))
        .unwrap();
    let file = fs::metadata(Path::new(&out).join(name)).unwrap();
    assert_eq!(file.len(), LEN);
    // Blocks of 512 bytes.
    assert!(file.blocks() < 1024, "{} blocks", file.blocks());
}

#[test]
fn an_image_with_too_many_segments_is_not_dumped() {
    const COUNT: u16 = 5000;
    let dir = tempfile::tempdir().unwrap();
    let kernel = files::write(dir.path(), "kernel", &elf_of_segments(COUNT));
    let out = dir.path().join("out");
    let [out, kernel] = [&out, &kernel].map(|path| path.to_str().unwrap().to_owned());
    let args = ["plan", "--protocol", "linux", "--dump", &out, &kernel].map(ToOwned::to_owned);
    let output = vmboot(&args);
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.contains("--dump writes at most 4096 files"), "{error}");
    assert!(!Path::new(&out).exists());
}
