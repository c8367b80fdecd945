//! Boot images that tests read, beside the kernels that virtual machines boot.

/// A further boot image that Debian packages.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Image {
    pub(crate) package: &'static str,
    pub(crate) content: Content,
    /// Its name among the fixtures.
    pub(crate) name: &'static str,
}

/// Where an image is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Content {
    /// At this path of the package.
    File(&'static str),
    /// The package is a metapackage, and the image the kernel it stands for.
    Kernel,
}

impl Image {
    /// The file at `path` of a package.
    pub(crate) const fn file(package: &'static str, path: &'static str, name: &'static str) -> Self {
        Self {
            package,
            content: Content::File(path),
            name,
        }
    }

    /// The kernel behind a metapackage.
    pub(crate) const fn kernel(package: &'static str, name: &'static str) -> Self {
        Self {
            package,
            content: Content::Kernel,
            name,
        }
    }
}
