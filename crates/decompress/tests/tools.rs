//! Data that the usual tools compress. A tool that is not installed is reported; its cases do not count.

use std::io::Write as _;
use std::process::{Command, Stdio};

use boot_core::Codec;
use decompress::{Problem, decompress};

/// A command that compresses its standard input, and the codec of its output.
const TOOLS: [(&[&str], Codec); 18] = [
    (&["gzip", "-n", "-9"], Codec::Gzip),
    (&["gzip", "-1"], Codec::Gzip),
    (&["zstd", "-19", "-c"], Codec::Zstd),
    (&["zstd", "-22", "--ultra", "-c"], Codec::Zstd),
    (&["zstd", "-1", "--no-check", "-c"], Codec::Zstd),
    (&["xz", "--check=crc32", "--lzma2=dict=32MiB"], Codec::Xz),
    (&["xz", "--check=crc32", "--x86", "--lzma2=preset=6"], Codec::Xz),
    (&["xz", "--check=crc64", "--arm64", "--lzma2=preset=6"], Codec::Xz),
    (&["xz", "--format=lzma", "-6"], Codec::Lzma),
    (&["lz4", "-l", "-9", "-c"], Codec::Lz4Legacy),
    (&["lz4", "-c"], Codec::Lz4Frame),
    (
        &["lz4", "-BD", "-B4", "-BX", "--content-size", "-c"],
        Codec::Lz4Frame,
    ),
    (&["lz4", "-9", "--no-frame-crc", "-c"], Codec::Lz4Frame),
    (&["lzop", "-9", "-c"], Codec::Lzo),
    (&["lzop", "-1", "-c", "--crc32"], Codec::Lzo),
    (&["lzop", "-3", "-c", "--no-checksum"], Codec::Lzo),
    (&["bzip2", "-9", "-c"], Codec::Bzip2),
    (&["bzip2", "-1", "-c"], Codec::Bzip2),
];

/// More than one block of each codec: those of LZ4 have up to 8 and 4 MiB.
fn several_blocks(codec: Codec) -> usize {
    match codec {
        Codec::Lz4Legacy => MAX_LEN,
        Codec::Lz4Frame => 5 << 20,
        _ => 3 << 20,
    }
}

const MAX_LEN: usize = 9 << 20;

/// Text and code, with parts that do not compress.
fn data(len: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let mut bytes = Vec::new();
    while bytes.len() < len {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        match state >> 30 {
            0 => bytes.extend_from_slice(&state.to_le_bytes()),
            1 => bytes.extend_from_slice(b"the kernel is loaded at "),
            2 => bytes.extend_from_slice(format!("{:#x}\n", state >> 20).as_bytes()),
            _ => bytes.extend_from_slice(&[0xe8, 0, 0, 0, 0, 0x90]),
        }
    }
    bytes.truncate(len);
    bytes
}

/// Whether the codec is part of this build.
fn is_built_in(codec: Codec) -> bool {
    codec != Codec::Bzip2 || cfg!(feature = "bzip2")
}

/// What the tool makes of the data; `None` if it is not installed, or does not know an option.
fn compress(tool: &[&str], data: &[u8]) -> Option<Vec<u8>> {
    let mut command = Command::new(tool[0]);
    command
        .args(&tool[1..])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let Ok(mut child) = command.spawn() else {
        eprintln!("SKIPPED: {} is not installed", tool[0]);
        return None;
    };
    let mut input = child.stdin.take().unwrap();
    let data = data.to_vec();
    let writer = std::thread::spawn(move || input.write_all(&data));
    let output = child.wait_with_output().unwrap();
    let written = writer.join().unwrap();
    if !output.status.success() {
        eprintln!("SKIPPED: {tool:?} failed");
        return None;
    }
    written.unwrap();
    Some(output.stdout)
}

/// Called with a tool, its codec, what it makes of some data, and the data.
type Check<'a> = &'a dyn Fn(&[&str], Codec, &[u8], &[u8]);

/// Calls `check` with what each tool makes of `len` bytes.
fn for_each_tool(len: usize, check: Check<'_>) {
    let data = data(len);
    for (tool, codec) in tools() {
        check_tool(tool, codec, &data, check);
    }
}

fn tools() -> impl Iterator<Item = (&'static [&'static str], Codec)> {
    TOOLS.into_iter().filter(|(_, codec)| is_built_in(*codec))
}

fn check_tool(tool: &[&str], codec: Codec, data: &[u8], check: Check<'_>) {
    if let Some(packed) = compress(tool, data) {
        check(tool, codec, &packed, data);
    }
}

#[test]
fn the_data_is_what_it_was() {
    let check: Check<'_> = &|tool, codec, packed, data| {
        assert_eq!(Codec::detect(packed), Some(codec), "{tool:?}");
        let unpacked =
            decompress(codec, packed, data.len()).unwrap_or_else(|error| panic!("{tool:?}: {error}"));
        assert!(
            unpacked.bytes == data,
            "{tool:?}: the data of {} bytes differs",
            data.len()
        );
        assert_eq!(unpacked.consumed, packed.len(), "{tool:?}");
    };
    for len in [0, 1, 1000] {
        for_each_tool(len, check);
    }
    let data = data(MAX_LEN);
    for (tool, codec) in tools() {
        check_tool(tool, codec, &data[..several_blocks(codec)], check);
    }
}

#[test]
fn the_length_that_a_kernel_build_appends_is_not_part_of_the_data() {
    for_each_tool(100_000, &|tool, codec, packed, data| {
        let with_length = [packed, &100_000_u32.to_le_bytes()].concat();
        let unpacked =
            decompress(codec, &with_length, data.len()).unwrap_or_else(|error| panic!("{tool:?}: {error}"));
        assert!(unpacked.bytes == data, "{tool:?}");
        assert_eq!(unpacked.consumed, packed.len(), "{tool:?}");
    });
}

#[test]
fn concatenated_data_is_one() {
    for_each_tool(100_000, &|tool, codec, packed, data| {
        // The kernel reads one stream of LZMA.
        if codec != Codec::Lzma {
            let twice = [packed, packed].concat();
            let unpacked =
                decompress(codec, &twice, 200_000).unwrap_or_else(|error| panic!("{tool:?}: {error}"));
            assert!(unpacked.bytes == [data, data].concat(), "{tool:?}");
        }
    });
}

#[test]
fn a_bomb_costs_the_limit() {
    let zeros = vec![0; 32 << 20];
    for (tool, codec) in tools() {
        let Some(packed) = compress(tool, &zeros) else {
            continue;
        };
        for limit in [0, 1, 1 << 20, (32 << 20) - 1] {
            let error = decompress(codec, &packed, limit).unwrap_err();
            assert_eq!(error.problem, Problem::TooLong { limit }, "{tool:?} {limit}");
        }
        assert!(
            decompress(codec, &packed, 32 << 20).unwrap().bytes == zeros,
            "{tool:?}"
        );
    }
}

#[test]
fn data_that_ends_too_early_is_an_error_at_every_length() {
    for_each_tool(3000, &|tool, codec, packed, data| {
        for len in 0..packed.len() {
            let result = decompress(codec, &packed[..len], data.len());
            // A legacy frame has no end: without its last block, it is shorter.
            let is_shorter = codec == Codec::Lz4Legacy && len <= 8;
            match result {
                Ok(unpacked) => assert!(is_shorter && unpacked.bytes.is_empty(), "{tool:?} {len}"),
                Err(error) => assert!(error.position <= len, "{tool:?} {len}: {error}"),
            }
        }
    });
}

#[test]
fn changed_data_is_an_error_or_the_same_where_a_checksum_covers_it() {
    for_each_tool(3000, &|tool, codec, packed, data| {
        let has_checksum = match codec {
            Codec::Bzip2 | Codec::Gzip | Codec::Xz => true,
            Codec::Lzo => !tool.contains(&"--no-checksum"),
            Codec::Zstd => !tool.contains(&"--no-check"),
            Codec::Lz4Frame => !tool.contains(&"--no-frame-crc"),
            _ => false,
        };
        for at in 0..packed.len() {
            let mut changed = packed.to_vec();
            changed[at] ^= 0x10;
            let result = decompress(codec, &changed, 1 << 20);
            if let (true, Ok(unpacked)) = (has_checksum, &result) {
                // Names, times and lengths of containers, and what is not read any more.
                let is_part = unpacked.bytes == data || unpacked.bytes.is_empty();
                assert!(is_part, "{tool:?}: byte {at}");
            }
        }
    });
}
