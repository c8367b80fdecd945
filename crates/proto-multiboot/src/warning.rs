//! Warnings of the Multiboot2 protocol.

use core::fmt;

use boot_multiboot::v2::InfoTag;

/// Information that the Multiboot2 header of a kernel requests without requiring it, and that the plan does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Warning {
    /// A requested information tag: the request is optional, or the machine does not have what the tag describes.
    TagLeftOut(
        /// The tag.
        InfoTag,
    ),
    /// A framebuffer: the framebuffer tag is optional.
    NoFramebuffer,
    /// A console: the console flags tag requires one but is optional.
    NoConsole,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TagLeftOut(tag) => write!(
                f,
                "the kernel requests the {tag} information tag, which the boot information does not have"
            ),
            Self::NoFramebuffer => f.write_str(
                "the kernel requests a framebuffer, but the boot information does not describe one",
            ),
            Self::NoConsole => {
                f.write_str("the kernel requests a console, but the boot information does not describe one")
            }
        }
    }
}
