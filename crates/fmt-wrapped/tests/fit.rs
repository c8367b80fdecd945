//! FIT images: their default kernel, and what is wrong with others.

use std::error::Error;

use boot_core::Codec;
use fmt_wrapped::{Limits, WRAPPERS, find, open};
use proptest::prelude::*;
use sha2::{Digest as _, Sha256};
use vm_fdt::FdtWriter;

/// "boot", as gzip stores it.
const BOOT: &[u8] = b"\x1f\x8b\x08\0\0\0\0\0\0\x03\x01\x04\0\xfb\xffboot\xc4\xae\xed\x46\x04\0\0\0";

/// A property.
type Property<'a> = (&'a str, Vec<u8>);

/// An image: its name, its properties, and its hash nodes.
type Image<'a> = (&'a str, Vec<Property<'a>>, Vec<Vec<Property<'a>>>);

fn text<'a>(name: &'a str, value: &str) -> Property<'a> {
    (name, [value.as_bytes(), &[0]].concat())
}

fn number(name: &str, value: u32) -> Property<'_> {
    (name, value.to_be_bytes().into())
}

fn hash(algorithm: &str, value: &[u8]) -> Vec<Property<'static>> {
    vec![text("algo", algorithm), ("value", value.to_vec())]
}

/// An image with a gzip-compressed kernel.
fn kernel(name: &str) -> Image<'_> {
    let properties = vec![
        text("description", "a kernel"),
        ("data", BOOT.to_vec()),
        text("type", "kernel"),
        text("compression", "gzip"),
    ];
    (name, properties, Vec::new())
}

/// A tree with these images, and configurations with their kernels.
fn fit(images: &[Image<'_>], default: Option<&str>, configurations: &[(&str, Option<&str>)]) -> Vec<u8> {
    let mut fdt = FdtWriter::new().unwrap();
    let properties = |fdt: &mut FdtWriter, list: &[Property<'_>]| {
        for (name, value) in list {
            fdt.property(name, value).unwrap();
        }
    };
    let root = fdt.begin_node("").unwrap();
    fdt.property_string("description", "a tree").unwrap();
    let parent = fdt.begin_node("images").unwrap();
    for (name, list, hashes) in images {
        let node = fdt.begin_node(name).unwrap();
        properties(&mut fdt, list);
        for (index, hash) in hashes.iter().enumerate() {
            let node = fdt.begin_node(&format!("hash-{}", index + 1)).unwrap();
            properties(&mut fdt, hash);
            fdt.end_node(node).unwrap();
        }
        fdt.end_node(node).unwrap();
    }
    fdt.end_node(parent).unwrap();
    if default.is_some() || !configurations.is_empty() {
        let parent = fdt.begin_node("configurations").unwrap();
        if let Some(name) = default {
            fdt.property_string("default", name).unwrap();
        }
        for (name, kernel) in configurations {
            let node = fdt.begin_node(name).unwrap();
            fdt.property_string("fdt", "fdt-1").unwrap();
            if let Some(kernel) = kernel {
                fdt.property_string("kernel", kernel).unwrap();
            }
            fdt.end_node(node).unwrap();
        }
        fdt.end_node(parent).unwrap();
    }
    fdt.end_node(root).unwrap();
    fdt.finish().unwrap()
}

/// A tree with one image in its only configuration.
fn single(properties: Vec<Property<'_>>, hashes: Vec<Vec<Property<'_>>>) -> Vec<u8> {
    fit(&[("k", properties, hashes)], None, &[("c", Some("k"))])
}

/// The same with the data in the tree.
fn with(more: Vec<Property<'_>>, hashes: Vec<Vec<Property<'_>>>) -> Vec<u8> {
    let mut properties = kernel("k").1;
    properties.extend(more);
    single(properties, hashes)
}

/// Checks the names of the wrappers, the innermost content, or the texts of the error.
#[track_caller]
fn check(file: &[u8], expected: Result<(&[&str], &[u8]), &str>) {
    let found = open(&file, &WRAPPERS, &Limits { layers: 3, len: 4096 });
    let found = found.map_err(|error| {
        let mut texts = vec![error.to_string()];
        let mut source = error.source();
        while let Some(cause) = source {
            texts.push(cause.to_string());
            source = cause.source();
        }
        texts.join(": ")
    });
    let found = found.map(|layers| {
        let names: Vec<_> = layers.iter().map(|layer| layer.wrapper).collect();
        let content = layers.last().map_or(file, |layer| &layer.content);
        (names, content.to_vec())
    });
    let prefix = "layer 1 cannot be opened: the fit file is malformed: ";
    let expected = expected.map(|(names, content)| (names.to_vec(), content.to_vec()));
    assert_eq!(found, expected.map_err(|text| format!("{prefix}{text}")));
}

#[test]
fn the_kernel_of_the_default_configuration_is_opened() {
    let other = ("other", vec![("data", b"other".to_vec())], Vec::new());
    let images = [other.clone(), kernel("kernel-1")];
    let all = [("a", Some("other")), ("b", Some("kernel-1"))];
    check(&fit(&images, Some("b"), &all), Ok((&["fit"], b"boot")));
    check(&fit(&images, Some("a"), &all), Ok((&["fit"], b"other")));
    // The only one, or none: then the type decides.
    check(&fit(&images, None, &all[1..]), Ok((&["fit"], b"boot")));
    check(&fit(&images, None, &[]), Ok((&["fit"], b"boot")));
    // A kernel that is not declared as compressed is a layer of its own.
    let stored = single(vec![("data", BOOT.to_vec())], Vec::new());
    check(&stored, Ok((&["fit", "compressed"], b"boot")));
    let (name, payload) = find(&WRAPPERS, &stored).unwrap().unwrap();
    assert_eq!((name, payload.codec), ("fit", Some(Codec::Stored)));
}

#[test]
fn data_may_be_behind_the_tree() {
    let size = || number("data-size", u32::try_from(BOOT.len()).unwrap());
    let gzip = || text("compression", "gzip");
    let at = |property: &'static str, value: usize| {
        single(
            vec![gzip(), size(), number(property, u32::try_from(value).unwrap())],
            Vec::new(),
        )
    };
    let tree = at("data-offset", 4);
    let padded = tree.len().next_multiple_of(4);
    let mut file = tree;
    file.resize(padded + 4, 0xff);
    file.extend_from_slice(BOOT);
    check(&file, Ok((&["fit"], b"boot")));
    let mut file = at("data-position", 4096);
    file.resize(4096, 0xff);
    file.extend_from_slice(BOOT);
    check(&file, Ok((&["fit"], b"boot")));
    file.pop();
    check(
        &file,
        Err(
            "the data of the image \"k\" end after the file: bytes 0x1000..0x101b are past the end of the source, which has 0x101a (4122) bytes",
        ),
    );
    let no_data =
        "the image \"k\" has neither \"data\" nor \"data-size\" with \"data-offset\" or \"data-position\"";
    check(&single(vec![size()], Vec::new()), Err(no_data));
    check(&single(vec![number("data-offset", 0)], Vec::new()), Err(no_data));
    check(&single(Vec::new(), Vec::new()), Err(no_data));
}

#[test]
fn hashes_are_checked() {
    let crc = crc32fast::hash(BOOT).to_be_bytes();
    let sha256 = Sha256::digest(BOOT);
    let good = || {
        vec![
            hash("crc32", &crc),
            hash("sha256", &sha256),
            hash("sha1", b"?"),
            Vec::new(),
        ]
    };
    check(&with(Vec::new(), good()), Ok((&["fit"], b"boot")));
    for (algorithm, value) in [("crc32", &b"wrong"[..]), ("crc32", b""), ("sha256", &[0; 32])] {
        let hashes = [good(), vec![hash(algorithm, value)]].concat();
        let expected = format!("the data of the image \"k\" do not have the {algorithm} value of the image");
        check(&with(Vec::new(), hashes), Err(&expected));
    }
    let file = with(Vec::new(), vec![hash("crc32", &[0; 65])]);
    let at = file.windows(65).position(|window| *window == [0; 65]).unwrap();
    let expected = format!("the property \"value\" at {at:#x} is not the value of a hash");
    check(&file, Err(&expected));
}

#[test]
fn images_that_name_no_kernel_are_refused() {
    let images = [kernel("kernel-1")];
    let two = [("a", Some("kernel-1")), ("b", Some("kernel-1"))];
    check(
        &fit(&images, None, &two),
        Err("/configurations has no \"default\", and 2 configurations"),
    );
    let other = (
        "fdt-1",
        vec![("data", b"x".to_vec()), text("type", "flat_dt")],
        Vec::new(),
    );
    check(
        &fit(&[other], None, &[]),
        Err("/configurations has no \"default\", and 0 configurations"),
    );
    check(
        &fit(&images, Some("c"), &two),
        Err("there is no configuration \"c\", which is the default"),
    );
    check(
        &fit(&images, Some("a"), &[("a", None)]),
        Err("the configuration \"a\" has no kernel"),
    );
    check(
        &fit(&images, Some("a"), &[("a", Some("x"))]),
        Err("there is no image \"x\", which is the kernel of the configuration"),
    );
    let file = with(vec![("data-size", vec![0; 8])], Vec::new());
    let error = open(&file, &WRAPPERS, &Limits::default()).unwrap_err();
    let source = error.source().and_then(Error::source).unwrap().to_string();
    assert!(source.starts_with("the property \"data-size\" at 0x"), "{source}");
    let file = single(vec![("compression", b"gzip".to_vec())], Vec::new());
    let error = open(&file, &WRAPPERS, &Limits::default()).unwrap_err();
    let source = error.source().and_then(Error::source).unwrap().to_string();
    assert!(source.ends_with("is not a text"), "{source}");
    let unknown = single(
        vec![("data", BOOT.to_vec()), text("compression", "rot13")],
        Vec::new(),
    );
    let error = open(&unknown, &WRAPPERS, &Limits::default()).unwrap_err();
    let source = error.source().and_then(Error::source).unwrap().to_string();
    assert_eq!(
        source,
        "the image \"k\" has the compression \"rot13\", expected none, gzip, bzip2, lzma, lzo, lz4 or zstd"
    );
}

#[test]
fn device_trees_without_images_are_not_wrapped() {
    let mut fdt = FdtWriter::new().unwrap();
    let root = fdt.begin_node("").unwrap();
    fdt.property_string("compatible", "acme,one").unwrap();
    fdt.end_node(root).unwrap();
    let tree = fdt.finish().unwrap();
    check(&tree, Ok((&[], &tree)));
    // A damaged one is not known to have images.
    let mut damaged = tree;
    damaged[4] = 0xff;
    check(&damaged, Ok((&[], &damaged)));
    check(b"\xd0\x0d\xfe", Ok((&[], b"\xd0\x0d\xfe")));
}

#[test]
fn damaged_trees_with_images_are_refused() {
    let file = with(Vec::new(), Vec::new());
    // The token behind the name of `images`.
    let at = file
        .windows(8)
        .position(|window| window == b"images\0\0")
        .unwrap()
        + 8;
    let mut token = file.clone();
    token[at..at + 4].copy_from_slice(&5_u32.to_be_bytes());
    check(
        &token,
        Err(&format!(
            "the device tree has the token 0x5 at {at:#x}, expected 1, 2, 3, 4 or 9"
        )),
    );
    let mut name = file;
    name[at + 4..at + 8].fill(0xff);
    let error = open(&name, &WRAPPERS, &Limits::default()).unwrap_err();
    let source = error.source().and_then(Error::source).unwrap().to_string();
    assert_eq!(
        source,
        format!(
            "the device tree has no text of at most 255 bytes at {:#x}",
            at + 4
        )
    );
}

proptest! {
    #[test]
    fn changed_files_never_panic(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8)) {
        let crc = crc32fast::hash(BOOT).to_be_bytes();
        let mut file = with(Vec::new(), vec![hash("crc32", &crc)]);
        for (index, byte) in changes {
            let at = index.index(file.len());
            file[at] = byte;
        }
        if let Ok(layers) = open(&file, &WRAPPERS, &Limits { layers: 3, len: 4096 }) {
            prop_assert!(layers.len() <= 3);
        }
    }
}
