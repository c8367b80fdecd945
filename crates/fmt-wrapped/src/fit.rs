//! The flat image tree of U-Boot (FIT): a device tree blob with images and configurations, which name one image of each kind ("Flattened
//! Image Tree Specification": `doc/usage/fit/source_file_format.rst` of U-Boot).
//!
//! Images are in the tree, as values of `data`, or behind it.

mod tree;

use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use boot_core::{ByteSource, Codec, FormatErrorKind, Payload, ReadError, SizedSource, SourceRange};
use sha2::{Digest as _, Sha256};

pub use tree::FitTreeError;
use tree::{Token, Tokens, first_text};

/// Number of images and of configurations that are read.
const MAX_NODES: usize = 4096;

/// Length that a hash value has at most, in bytes.
const MAX_HASH: usize = 64;

/// Error of a FIT image.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FitError {
    /// The file cannot be read.
    #[error("cannot read it")]
    Read(#[from] ReadError),
    /// The device tree is malformed.
    #[error(transparent)]
    Tree(#[from] FitTreeError),
    /// There is no default configuration, and not exactly one configuration.
    #[error("/configurations has no \"default\", and {count} configurations")]
    NoDefault {
        /// Number of configurations.
        count: usize,
    },
    /// There is no such configuration.
    #[error("there is no configuration {name:?}, which is the default")]
    NoConfiguration {
        /// Its name.
        name: String,
    },
    /// The configuration has no kernel.
    #[error("the configuration {configuration:?} has no kernel")]
    NoKernel {
        /// Name of the configuration.
        configuration: String,
    },
    /// There is no such image.
    #[error("there is no image {name:?}, which is the kernel of the configuration")]
    NoImage {
        /// Its name.
        name: String,
    },
    /// The image has no data, or data of a length that is not declared.
    #[error(
        "the image {name:?} has neither \"data\" nor \"data-size\" with \"data-offset\" or \"data-position\""
    )]
    NoData {
        /// Name of the image.
        name: String,
    },
    /// The data of the image end after the file.
    #[error("the data of the image {name:?} end after the file")]
    DataTruncated {
        /// Name of the image.
        name: String,
        /// Where they should be.
        source: ReadError,
    },
    /// A property does not have the value that it should have.
    #[error("the property {property:?} at {offset:#x} is not {expected}")]
    Property {
        /// Its name.
        property: String,
        /// Offset of its value in the file.
        offset: u64,
        /// What it should be.
        expected: &'static str,
    },
    /// The name of the compression is unknown.
    #[error(
        "the image {name:?} has the compression {found:?}, expected none, gzip, bzip2, lzma, lzo, lz4 or zstd"
    )]
    Compression {
        /// Name of the image.
        name: String,
        /// The compression.
        found: String,
    },
    /// The data do not have the value of a hash node.
    #[error("the data of the image {name:?} do not have the {algorithm} value of the image")]
    Hash {
        /// Name of the image.
        name: String,
        /// Name of the algorithm.
        algorithm: &'static str,
    },
    /// There are more images or configurations than the limit.
    #[error("there are more than {MAX_NODES} images or configurations")]
    TooManyNodes,
}

impl FitError {
    /// Category of the error.
    #[must_use]
    pub fn kind(&self) -> FormatErrorKind {
        match self {
            Self::Read(_) | Self::Tree(FitTreeError::Read(_)) => FormatErrorKind::Read,
            Self::Compression { .. } => FormatErrorKind::Unsupported,
            _ => FormatErrorKind::Malformed,
        }
    }
}

/// What the tree has.
#[derive(Debug, Default)]
struct Fit {
    /// Whether there is a node `/images`.
    has_images: bool,
    images: Vec<Image>,
    configurations: Vec<Configuration>,
    default: Option<String>,
}

/// An image.
#[derive(Debug, Default)]
struct Image {
    name: String,
    kind: Option<String>,
    compression: Option<String>,
    data: Option<SourceRange>,
    size: Option<u32>,
    /// From the end of the tree, at the next multiple of four bytes.
    offset: Option<u32>,
    /// From the start of the file.
    position: Option<u32>,
    hashes: Vec<Hash>,
}

/// A node `hash-1`, and so on.
#[derive(Debug, Default)]
struct Hash {
    algorithm: Option<String>,
    value: Option<SourceRange>,
}

#[derive(Debug, Default)]
struct Configuration {
    name: String,
    kernel: Option<String>,
}

/// The kernel of the default configuration; `None` for a file that is no device tree, and for a device tree without `/images`.
///
/// Hash nodes with CRC-32 and SHA-256 are checked. Signatures and other hashes are not.
pub(crate) fn payload(source: &dyn ByteSource) -> Result<Option<Payload>, FitError> {
    let source = SizedSource::new(source)?;
    let mut tokens = match Tokens::new(source) {
        Ok(Some(tokens)) => tokens,
        Err(FitTreeError::Read(error)) => return Err(error.into()),
        // A damaged device tree is no damaged FIT image, as far as is known.
        Ok(None) | Err(_) => return Ok(None),
    };
    let mut fit = Fit::default();
    match fit.read(&source, &mut tokens) {
        Ok(()) if !fit.has_images => return Ok(None),
        Ok(()) => {}
        Err(error) if fit.has_images || error.kind() == FormatErrorKind::Read => return Err(error),
        Err(_) => return Ok(None),
    }
    let image = fit.kernel()?;
    let data = image.data(&source, tokens.end())?;
    image.check_hashes(&source, data)?;
    let codec = image.codec()?;
    Ok(Some(Payload::new(data).with_codec(Some(codec))))
}

impl Fit {
    /// Reads the nodes of images and configurations.
    fn read(&mut self, source: &SizedSource<'_>, tokens: &mut Tokens<'_>) -> Result<(), FitError> {
        // The names of the nodes that are open, of which the first is the root.
        let mut path: Vec<String> = vec![];
        while let Some(token) = tokens.next()? {
            match token {
                Token::Begin(name) => {
                    self.begin(&path, &name)?;
                    path.push(name);
                }
                Token::End => {
                    path.pop();
                }
                Token::Property(name, value) => self.property(source, &path, &name, value)?,
            }
        }
        Ok(())
    }

    fn begin(&mut self, path: &[String], name: &str) -> Result<(), FitError> {
        let name = String::from(name);
        match path {
            [_] => self.has_images |= name == "images",
            [_, parent] if parent == "images" => self.images.push(Image {
                name,
                ..Image::default()
            }),
            [_, parent] if parent == "configurations" => self.configurations.push(Configuration {
                name,
                ..Configuration::default()
            }),
            [_, parent, _] if parent == "images" && name.starts_with("hash") => {
                if let Some(image) = self.images.last_mut() {
                    image.hashes.push(Hash::default());
                }
            }
            _ => {}
        }
        match self.images.len().max(self.configurations.len()) {
            ..=MAX_NODES => Ok(()),
            _ => Err(FitError::TooManyNodes),
        }
    }

    fn property(
        &mut self,
        source: &SizedSource<'_>,
        path: &[String],
        name: &str,
        value: SourceRange,
    ) -> Result<(), FitError> {
        let text = || text(source, name, value).map(Some);
        let number = || number(source, name, value).map(Some);
        match path {
            [_, parent] if parent == "configurations" && name == "default" => self.default = text()?,
            [_, parent, _] if parent == "configurations" && name == "kernel" => {
                if let Some(last) = self.configurations.last_mut() {
                    last.kernel = text()?;
                }
            }
            [_, parent, _] if parent == "images" => {
                let Some(image) = self.images.last_mut() else {
                    return Ok(());
                };
                match name {
                    "type" => image.kind = text()?,
                    "compression" => image.compression = text()?,
                    "data" => image.data = Some(value),
                    "data-size" => image.size = number()?,
                    "data-offset" => image.offset = number()?,
                    "data-position" => image.position = number()?,
                    _ => {}
                }
            }
            [_, parent, _, node] if parent == "images" && node.starts_with("hash") => {
                let hash = self.images.last_mut().and_then(|image| image.hashes.last_mut());
                match (hash, name) {
                    (Some(hash), "algo") => hash.algorithm = text()?,
                    (Some(hash), "value") => hash.value = Some(value),
                    _ => {}
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// The kernel of the default configuration. Without configurations, the first image of the type of kernels.
    fn kernel(&self) -> Result<&Image, FitError> {
        let configuration = match (&self.default, self.configurations.as_slice()) {
            (Some(name), list) => list
                .iter()
                .find(|configuration| configuration.name == *name)
                .ok_or_else(|| FitError::NoConfiguration { name: name.clone() })?,
            (None, [one]) => one,
            (None, []) => {
                let is_kernel = |image: &&Image| {
                    let kind = image.kind.as_deref();
                    matches!(kind, Some("kernel" | "kernel_noload"))
                };
                let count = 0;
                return self
                    .images
                    .iter()
                    .find(is_kernel)
                    .ok_or(FitError::NoDefault { count });
            }
            (None, list) => return Err(FitError::NoDefault { count: list.len() }),
        };
        let name = configuration.kernel.as_ref().ok_or_else(|| FitError::NoKernel {
            configuration: configuration.name.clone(),
        })?;
        let image = self.images.iter().find(|image| image.name == *name);
        image.ok_or_else(|| FitError::NoImage { name: name.clone() })
    }
}

impl Image {
    /// The data, which are in the tree or behind its end.
    fn data(&self, source: &SizedSource<'_>, end: u64) -> Result<SourceRange, FitError> {
        let behind = end.checked_next_multiple_of(4).unwrap_or(end);
        let offset = match (self.data, self.position, self.offset) {
            (Some(data), _, _) => return Ok(data),
            (None, Some(position), _) => u64::from(position),
            (None, None, Some(offset)) => behind.saturating_add(offset.into()),
            (None, None, None) => return Err(self.no_data()),
        };
        let size = self.size.ok_or_else(|| self.no_data())?;
        let range = source.range(offset, size.into());
        range.map_err(|source| FitError::DataTruncated {
            name: self.name.clone(),
            source,
        })
    }

    fn no_data(&self) -> FitError {
        let name = self.name.clone();
        FitError::NoData { name }
    }

    fn codec(&self) -> Result<Codec, FitError> {
        Ok(match self.compression.as_deref() {
            None | Some("none") => Codec::Stored,
            Some("gzip") => Codec::Gzip,
            Some("bzip2") => Codec::Bzip2,
            Some("lzma") => Codec::Lzma,
            Some("lzo") => Codec::Lzo,
            Some("lz4") => Codec::Lz4Frame,
            Some("zstd") => Codec::Zstd,
            Some(found) => {
                return Err(FitError::Compression {
                    name: self.name.clone(),
                    found: String::from(found),
                });
            }
        })
    }

    /// Compares the data with the hash nodes of known algorithms.
    fn check_hashes(&self, source: &SizedSource<'_>, data: SourceRange) -> Result<(), FitError> {
        let mut values = Vec::new();
        for hash in &self.hashes {
            let Some(value) = hash.value else { continue };
            let digest = match hash.algorithm.as_deref() {
                Some("crc32") => Digest::Crc32(crc32fast::Hasher::new()),
                Some("sha256") => Digest::Sha256(Sha256::new()),
                _ => continue,
            };
            let len = usize::try_from(value.len()).unwrap_or(usize::MAX);
            if len > MAX_HASH {
                return Err(FitError::Property {
                    property: String::from("value"),
                    offset: value.offset(),
                    expected: "the value of a hash",
                });
            }
            values.push((digest, source.read_vec(value.offset(), len)?));
        }
        if values.is_empty() {
            return Ok(());
        }
        for_each_piece(source, data, |piece| {
            for (digest, _) in &mut values {
                digest.update(piece);
            }
        })?;
        for (digest, value) in values {
            let algorithm = digest.algorithm();
            if digest.finish() != value {
                let name = self.name.clone();
                return Err(FitError::Hash { name, algorithm });
            }
        }
        Ok(())
    }
}

/// A hash of data that are read in pieces.
enum Digest {
    Crc32(crc32fast::Hasher),
    Sha256(Sha256),
}

impl Digest {
    const fn algorithm(&self) -> &'static str {
        match self {
            Self::Crc32(_) => "crc32",
            Self::Sha256(_) => "sha256",
        }
    }

    fn update(&mut self, piece: &[u8]) {
        match self {
            Self::Crc32(crc) => crc.update(piece),
            Self::Sha256(sha256) => sha256.update(piece),
        }
    }

    /// The value as in a hash node: numbers are big-endian.
    fn finish(self) -> Vec<u8> {
        match self {
            Self::Crc32(crc) => crc.finalize().to_be_bytes().to_vec(),
            Self::Sha256(sha256) => sha256.finalize().to_vec(),
        }
    }
}

/// Reads a range in pieces.
fn for_each_piece(
    source: &SizedSource<'_>,
    data: SourceRange,
    mut f: impl FnMut(&[u8]),
) -> Result<(), ReadError> {
    let mut piece = vec![0; 64 << 10];
    let mut at = data.offset();
    while at < data.end() {
        let left = usize::try_from(data.end().saturating_sub(at)).unwrap_or(usize::MAX);
        let len = left.min(piece.len());
        let piece = piece.get_mut(..len).unwrap_or_default();
        source.read_exact_at(at, piece)?;
        f(piece);
        at = at.saturating_add(boot_core::arith::to_u64(len));
    }
    Ok(())
}

/// The first text of a property.
fn text(source: &SizedSource<'_>, name: &str, value: SourceRange) -> Result<String, FitError> {
    let len = usize::try_from(value.len()).unwrap_or(usize::MAX);
    let len = len.min(tree::MAX_TEXT.saturating_add(1));
    let bytes = source.read_vec(value.offset(), len)?;
    first_text(&bytes).ok_or_else(|| FitError::Property {
        property: String::from(name),
        offset: value.offset(),
        expected: "a text",
    })
}

/// A property of one cell.
fn number(source: &SizedSource<'_>, name: &str, value: SourceRange) -> Result<u32, FitError> {
    if value.len() != 4 {
        return Err(FitError::Property {
            property: String::from(name),
            offset: value.offset(),
            expected: "a number of 32 bits",
        });
    }
    Ok(u32::from_be_bytes(source.read(value.offset())?))
}
