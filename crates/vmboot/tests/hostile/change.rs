//! Changes that make valid files hostile.

use std::fmt::Write as _;

use fmt_test::edges;

/// Gets the name and the bytes of each image.
pub(crate) type Sink<'a> = dyn FnMut(&str, Vec<u8>) + 'a;

/// A field: its name, its offset and its length in bytes, 1 to 8.
pub(crate) type Field = (&'static str, usize, usize);

/// A valid file whose fields are changed.
pub(crate) struct Base<'a> {
    pub(crate) name: &'a str,
    pub(crate) file: &'a [u8],
    pub(crate) is_big_endian: bool,
    /// Mends the checksums after a change.
    pub(crate) seal: fn(&mut [u8]),
}

impl<'a> Base<'a> {
    /// A little-endian file without checksums.
    pub(crate) fn new(name: &'a str, file: &'a [u8]) -> Self {
        Self {
            name,
            file,
            is_big_endian: false,
            seal: |_| (),
        }
    }

    /// The value of a field.
    fn get(&self, (_, at, len): Field) -> u64 {
        let bytes = self.file[at..at + len].iter();
        let add = |value: u64, byte: &u8| value << 8 | u64::from(*byte);
        if self.is_big_endian {
            bytes.fold(0, add)
        } else {
            bytes.rev().fold(0, add)
        }
    }

    /// The edges of a field that are not its value.
    fn edges(&self, field: Field) -> Vec<u64> {
        let value = self.get(field);
        let mut edges = edges(value, field.2).to_vec();
        edges.sort_unstable();
        edges.dedup();
        edges.retain(|edge| *edge != value);
        edges
    }

    fn put(&self, file: &mut [u8], (_, at, len): Field, value: u64) {
        let target = &mut file[at..at + len];
        if self.is_big_endian {
            target.copy_from_slice(&value.to_be_bytes()[8 - len..]);
        } else {
            target.copy_from_slice(&value.to_le_bytes()[..len]);
        }
    }

    /// The file with other values in these fields, and its name.
    pub(crate) fn with(&self, fields: &[(Field, u64)]) -> (String, Vec<u8>) {
        let mut file = self.file.to_vec();
        let mut name = self.name.to_owned();
        for &(field, value) in fields {
            self.put(&mut file, field, value);
            write!(name, " {}={value:#x}", field.0).unwrap();
        }
        (self.seal)(&mut file);
        (name, file)
    }

    /// Each field at each edge.
    pub(crate) fn edges_of(&self, fields: &[Field], sink: &mut Sink<'_>) {
        for &field in fields {
            for value in self.edges(field) {
                let (name, file) = self.with(&[(field, value)]);
                sink(&name, file);
            }
        }
    }

    /// Both fields of each pair at each of their edges: ranges that wrap, overlap, or end outside of the file.
    pub(crate) fn pairs_of(&self, pairs: &[[Field; 2]], sink: &mut Sink<'_>) {
        for &[first, second] in pairs {
            for value in self.edges(first) {
                for other in self.edges(second) {
                    let (name, file) = self.with(&[(first, value), (second, other)]);
                    sink(&name, file);
                }
            }
        }
    }

    /// The file truncated at each of the first `len` bytes.
    pub(crate) fn truncations(&self, len: usize, sink: &mut Sink<'_>) {
        for len in 0..len.min(self.file.len()) {
            let mut file = self.file[..len].to_vec();
            (self.seal)(&mut file);
            sink(&format!("{} with {len} bytes", self.name), file);
        }
    }
}

/// The same fields, each moved by `by` bytes.
pub(crate) fn moved(fields: &[Field], by: usize) -> Vec<Field> {
    fields
        .iter()
        .map(|&(name, at, len)| (name, at + by, len))
        .collect()
}

/// One field for each byte of `start..end`.
pub(crate) fn bytes(start: usize, end: usize) -> Vec<Field> {
    (start..end).map(|at| ("byte", at, 1)).collect()
}
