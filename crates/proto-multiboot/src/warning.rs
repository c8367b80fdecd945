//! Warnings about what a kernel's header asks for and does not get.

use core::fmt;

use boot_multiboot::v2::InfoTag;

/// Something that a kernel's header asks for, and that it can do without.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Warning {
    /// An information tag.
    TagLeftOut(InfoTag),
    /// A framebuffer.
    NoFramebuffer,
    /// A console.
    NoConsole,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TagLeftOut(tag) => write!(
                f,
                "the kernel asks for the {tag} tag, which the Multiboot2 information does not have"
            ),
            Self::NoFramebuffer => f.write_str(
                "the kernel asks for a framebuffer, but the Multiboot2 information describes none",
            ),
            Self::NoConsole => {
                f.write_str("the kernel asks for a console, but the Multiboot2 information describes none")
            }
        }
    }
}
