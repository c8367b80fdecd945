//! Errors of the caller's own nodes.

use alloc::borrow::Cow;

use boot_core::machine::{DtReference, Line};

/// A node of [`Platform::nodes`](boot_core::machine::Platform::nodes) cannot be written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NodeError {
    /// The name is not one that nodes can have (Devicetree Specification v0.4, section 2.2.1).
    #[error(
        "its name must be 1 to 31 letters, digits, or characters of `,._+-`, beginning with a letter; a unit address \
         of such characters may follow behind `@`, with at most 255 characters in all"
    )]
    Name,
    /// The name of a property is not one that properties can have (Devicetree Specification v0.4, section 2.2.4.1).
    #[error(
        "the name of its property `{property}` must be 1 to 31 letters, digits, or characters of `,._+?#-`"
    )]
    PropertyName {
        /// The name.
        property: Cow<'static, str>,
    },
    /// Two properties have the same name.
    #[error("it has two properties `{property}`")]
    DuplicateProperty {
        /// The name.
        property: Cow<'static, str>,
    },
    /// A string has a NUL, which ends strings in a device tree.
    #[error("a string of its property `{property}` has a NUL, which `create_fdt` appends itself")]
    Nul {
        /// Name of the property.
        property: Cow<'static, str>,
    },
    /// The phandle is not one cell with a number that the caller can use.
    #[error(
        "its `phandle` must be one `DtValue::U32` from {min:#x} to {max:#x}: other numbers are those of nodes that \
         `create_fdt` makes"
    )]
    Phandle {
        /// Smallest phandle of the caller's nodes.
        min: u32,
        /// Largest phandle of the caller's nodes.
        max: u32,
    },
    /// The property is an old name of `phandle`.
    #[error("its property `{property}` is an old name of `phandle`: use that")]
    OldPhandle {
        /// Name of the property.
        property: Cow<'static, str>,
    },
    /// Another node of the caller has the same phandle.
    #[error("another node has its phandle {phandle:#x}, too")]
    DuplicatePhandle {
        /// The phandle.
        phandle: u32,
    },
    /// The interrupt controller does not have an interrupt line.
    #[error("its property `{property}` has {line}, which the interrupt controller does not have")]
    NoSuchLine {
        /// Name of the property.
        property: Cow<'static, str>,
        /// The interrupt line.
        line: Line,
    },
    /// The GICv2m frame uses an interrupt line for MSIs.
    #[error("its property `{property}` has {line}, which the GICv2m frame uses for MSIs")]
    MsiLine {
        /// Name of the property.
        property: Cow<'static, str>,
        /// The interrupt line.
        line: Line,
    },
    /// The machine does not have the node that a property refers to.
    #[error("its property `{property}` refers to the {}, which the machine does not have", name_of(*.reference))]
    NoReference {
        /// Name of the property.
        property: Cow<'static, str>,
        /// The node that it refers to.
        reference: DtReference,
    },
    /// A part of a value is of a kind that this version does not know.
    #[error("a part of its property `{property}` is of an unknown kind")]
    UnknownValue {
        /// Name of the property.
        property: Cow<'static, str>,
    },
    /// The nodes are nested too deeply.
    #[error("the nodes are nested more than {max} deep, the root node included")]
    TooDeep {
        /// The largest depth.
        max: usize,
    },
    /// The nodes have too many bytes.
    #[error("the nodes up to this one have more than {max} bytes")]
    TooLarge {
        /// Largest size of all nodes of the caller in bytes.
        max: usize,
    },
}

const fn name_of(reference: DtReference) -> &'static str {
    match reference {
        DtReference::InterruptController => "interrupt controller",
        DtReference::MsiController => "MSI controller",
        _ => "node",
    }
}
