//! Further boot images that tests read.

/// A boot image in a Debian package.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Image {
    pub(crate) package: &'static str,
    pub(crate) content: Content,
    /// Its file name in the fixtures.
    pub(crate) name: &'static str,
    /// The directory in the fixtures: the lab has `kernels` only.
    pub(crate) kind: &'static str,
}

/// Where an image is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Content {
    /// The file at this path of the package.
    File(&'static str),
    /// The file at this path of the package, compressed with gzip.
    Gzip(&'static str),
    /// The kernel of the package that this metapackage depends on.
    Kernel,
}

impl Image {
    /// The file at `path` of a package.
    pub(crate) const fn file(package: &'static str, path: &'static str, name: &'static str) -> Self {
        Self {
            package,
            content: Content::File(path),
            name,
            kind: "images",
        }
    }

    /// The gzip-compressed kernel at `path` of a package, for tests in the lab.
    pub(crate) const fn gzip(package: &'static str, path: &'static str, name: &'static str) -> Self {
        Self {
            package,
            content: Content::Gzip(path),
            name,
            kind: "kernels",
        }
    }

    /// The kernel of a metapackage.
    pub(crate) const fn kernel(package: &'static str, name: &'static str) -> Self {
        Self {
            package,
            content: Content::Kernel,
            name,
            kind: "images",
        }
    }
}
