//! `vmboot plan --svg`.

use std::fs;
use std::num::NonZeroU64;

use roxmltree::{Document, Node};
use vmboot::boot_core::{
    Arch, BootProtocol as _, BootRequest, Cmdline, Endian, EntryAbi, GuestRange, ImageBuilder, Machine,
    MemoryMap, SourceRange,
};
use vmboot::report::MemoryPicture;

use crate::boot::{Boot, boots, vmboot};

/// The picture of `boot`, whose kernel file has the name `kernel`.
fn picture(boot: &Boot, kernel: &str) -> String {
    let dir = tempfile::tempdir().unwrap();
    let mut args = boot.args(dir.path(), kernel);
    args.extend(["--svg".to_owned(), "-".to_owned()]);
    let output = vmboot(&args);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

fn number(node: Node<'_, '_>, name: &str) -> f64 {
    let value = node
        .attribute(name)
        .unwrap_or_else(|| panic!("no {name} in {node:?}"));
    value.parse().unwrap()
}

/// A rectangle: left, top, right, bottom.
type Bounds = [f64; 4];

fn rect(node: Node<'_, '_>) -> Bounds {
    let [x, y] = ["x", "y"].map(|name| node.attribute(name).map_or(0.0, |_| number(node, name)));
    [x, y, x + number(node, "width"), y + number(node, "height")]
}

/// The box of a text, for a font of which characters are on average 0.6 as wide as high.
fn text(node: Node<'_, '_>) -> Bounds {
    let size = number(node, "font-size");
    let width: f64 = node.text().unwrap().chars().map(|_| 0.6 * size).sum();
    let (x, y) = (number(node, "x"), number(node, "y"));
    let left = match node.attribute("text-anchor") {
        Some("start") => x,
        Some("middle") => x - width / 2.0,
        Some("end") => x - width,
        other => panic!("{other:?}"),
    };
    [left, y - 0.8 * size, left + width, y + 0.2 * size]
}

fn overlap(a: Bounds, b: Bounds) -> bool {
    a[0] < b[2] && b[0] < a[2] && a[1] < b[3] && b[1] < a[3]
}

fn contains(outer: Bounds, inner: Bounds) -> bool {
    outer[0] <= inner[0] && outer[1] <= inner[1] && inner[2] <= outer[2] && inner[3] <= outer[3]
}

fn elements<'a, 'i>(document: &'a Document<'i>, name: &str) -> Vec<Node<'a, 'i>> {
    document
        .descendants()
        .filter(|node| node.has_tag_name(("http://www.w3.org/2000/svg", name)))
        .collect()
}

/// The boxes of the loads, without the samples of the legend.
fn load_boxes(document: &Document<'_>) -> Vec<Bounds> {
    let is_load = |class| matches!(class, Some("kernel" | "file" | "bytes" | "zeros"));
    elements(document, "rect")
        .into_iter()
        .filter(|node| is_load(node.attribute("class")) && node.attribute("width") != Some("16"))
        .map(rect)
        .collect()
}

#[test]
fn pictures_are_complete_and_no_texts_overlap() {
    for boot in boots() {
        let svg = picture(&boot, "kernel.elf");
        let document = Document::parse(&svg).unwrap_or_else(|error| panic!("{error}\n{svg}"));
        let page = rect(document.root_element());
        let texts = elements(&document, "text");
        let boxes: Vec<_> = texts
            .iter()
            .map(|node| (text(*node), node.text().unwrap()))
            .collect();
        for (number, (bounds, words)) in boxes.iter().enumerate() {
            assert!(
                contains(page, *bounds),
                "{}: {words} outside the page",
                boot.protocol
            );
            for (other, other_words) in &boxes[..number] {
                assert!(
                    !overlap(*bounds, *other),
                    "{}: {words} over {other_words}",
                    boot.protocol
                );
            }
        }
        let (plan, _) = boot.loaded(0);
        let shown = |words: &str| boxes.iter().filter(|(_, text)| *text == words).count();
        for load in plan.loads() {
            // Segments of the kernel have the same label.
            let same = plan
                .loads()
                .iter()
                .filter(|other| other.label == load.label)
                .count();
            assert!(shown(&load.label) >= same, "{}: {}", boot.protocol, load.label);
            for address in [load.range.start(), load.range.end()] {
                assert_eq!(
                    shown(&format!("{address:#x}")),
                    1,
                    "{}: {address:#x}",
                    boot.protocol
                );
            }
        }
        for region in plan.memory().regions() {
            assert_eq!(
                shown(&format!("{:#x}", region.range.start())),
                1,
                "{}",
                boot.protocol
            );
        }
        // The texts of a load are inside its box.
        let loads = load_boxes(&document);
        for label in texts
            .iter()
            .filter(|node| node.attribute("class") == Some("label"))
        {
            let bounds = text(*label);
            assert_eq!(
                loads.iter().filter(|load| contains(**load, bounds)).count(),
                1,
                "{label:?}"
            );
        }
        assert!(svg.contains("the boot CPU starts here") && svg.contains("prefers-color-scheme: dark"));
        assert_eq!(
            svg,
            picture(&boot, "kernel.elf"),
            "equal plans give equal pictures"
        );
    }
}

#[test]
fn boxes_of_loads_do_not_overlap() {
    for boot in boots() {
        let svg = picture(&boot, "kernel.elf");
        let document = Document::parse(&svg).unwrap();
        let (plan, _) = boot.loaded(0);
        let loads = load_boxes(&document);
        assert_eq!(loads.len(), plan.loads().len(), "{}", boot.protocol);
        for pair in loads.windows(2) {
            assert!(pair[0][3] <= pair[1][1], "{}: {pair:?}", boot.protocol);
        }
    }
}

#[test]
fn a_hostile_file_name_is_text() {
    let boot = &boots()[0];
    let name = "]]><script>alert(1)<&amp;script>\"'\u{202e}\u{1b}[31m";
    let svg = picture(boot, name);
    let document = Document::parse(&svg).unwrap();
    assert!(elements(&document, "script").is_empty());
    let title = elements(&document, "title")[0].text().unwrap();
    assert!(
        title.contains("]]><script>alert(1)<&amp;script>\"'\u{fffd}\u{fffd}[31m"),
        "{title}"
    );

    // A long name is cut in the picture, and whole in the title of the document.
    let name = "W".repeat(200);
    let svg = picture(boot, &name);
    let document = Document::parse(&svg).unwrap();
    let page = rect(document.root_element());
    let heading = elements(&document, "text")[0];
    assert!(heading.text().unwrap().ends_with('…') && contains(page, text(heading)));
    assert!(elements(&document, "title")[0].text().unwrap().contains(&name));
}

#[test]
fn a_picture_in_a_file_leaves_the_report_as_it_is() {
    let boot = &boots()[1];
    let dir = tempfile::tempdir().unwrap();
    let mut args = boot.args(dir.path(), "kernel.elf");
    let report = vmboot(&args).stdout;
    let path = dir.path().join("memory.svg");
    args.extend(["--svg".to_owned(), path.to_str().unwrap().to_owned()]);
    let output = vmboot(&args);
    assert!(output.status.success());
    assert_eq!(output.stdout, report);
    assert_eq!(fs::read_to_string(path).unwrap(), picture(boot, "kernel.elf"));

    // Two reports on standard output would be neither.
    let mut both = args.clone();
    *both.last_mut().unwrap() = "-".to_owned();
    both.push("--json".to_owned());
    let output = vmboot(&both);
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(
        output.stdout.is_empty() && error.contains("--svg FILE"),
        "{error}"
    );

    args.pop();
    args.push(dir.path().join("missing/memory.svg").to_str().unwrap().to_owned());
    let output = vmboot(&args);
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        error.contains("cannot write") && error.contains("missing/memory.svg"),
        "{error}"
    );
}

/// The picture in the README of the workspace is that of a boot with the sizes of a stock kernel. With the environment variable
/// `UPDATE_GOLDEN`, it is written.
#[test]
fn the_picture_in_the_documentation_is_current() {
    const MIB: u64 = 1 << 20;
    let segments = [
        (16 * MIB, 27 * MIB - 0x2000),
        (44 * MIB, 7 * MIB),
        (51 * MIB, 15 * MIB),
    ];
    let mut builder = ImageBuilder::new("elf", Arch::X86_64, Endian::Little, 64 * MIB)
        .entry(EntryAbi::PVH, 16 * MIB + 0xb20);
    let mut offset = 2 * MIB;
    for (start, len) in segments {
        let file = SourceRange::new(offset, len).unwrap();
        builder = builder.segment(file, GuestRange::new(start, len).unwrap());
        offset += len;
    }
    let image = builder.build().unwrap();
    let machine = Machine::new(Arch::X86_64, MemoryMap::pc(512 * MIB).unwrap());
    let cmdline = Cmdline::parse("console=ttyS0 root=/dev/vda").unwrap();
    let mut request = BootRequest::new(&image, &machine, &cmdline);
    request.initrd_len = NonZeroU64::new(20 * MIB + 0x345);
    let plan = proto_pvh::PROTOCOL.plan(&request).unwrap();
    let picture = MemoryPicture::new(&plan, &machine.memory)
        .with_title("Memory of a boot of vmlinux")
        .to_string();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/memory-map.svg");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(path, &picture).unwrap();
    }
    let golden = fs::read_to_string(path).unwrap_or_default();
    assert!(
        picture == golden,
        "docs/memory-map.svg differs; `UPDATE_GOLDEN=1 cargo test -p vmboot --test views` writes it"
    );
}
