//! Styles of the picture: colours for light and dark backgrounds.

use boot_core::{Load, LoadContent, RegionKind};

use super::svg::TextStyle;

/// Style sheet. Renderers without media queries show the light colours.
pub(super) const SHEET: &str = "\
text { font-family: system-ui, 'DejaVu Sans', Arial, sans-serif; fill: #1f2328; }
.address { font-family: ui-monospace, 'DejaVu Sans Mono', Menlo, monospace; }
.title, .label, .head { font-weight: 600; }
.quiet { fill: #59636e; }
.page { fill: #ffffff; }
.rule { stroke: #d1d9e0; fill: none; }
.break { stroke: #59636e; fill: none; }
.arrow { fill: #cf222e; }
text.entry { fill: #cf222e; font-weight: 600; }
rect { stroke: #59636e; }
rect.page { stroke: none; }
.ram { fill: #eef4fb; }
.reserved { fill: #d8dde3; }
.acpi { fill: #fff3c4; }
.unusable { fill: #ffd7d5; }
.persistent { fill: #ece3ff; }
.extent { fill: #dbeafe; stroke-dasharray: 4 3; }
.kernel { fill: #9cc7f7; }
.file { fill: #ffd0a1; }
.bytes { fill: #b4e6b9; }
.zeros { fill: #ffffff; }
@media (prefers-color-scheme: dark) {
text { fill: #f0f6fc; }
.quiet { fill: #9ea7b3; }
.page { fill: #0d1117; }
.rule { stroke: #30363d; }
.break { stroke: #9ea7b3; }
.arrow, text.entry { fill: #ff7b72; }
rect { stroke: #9ea7b3; }
.ram { fill: #17222f; }
.reserved { fill: #3a424b; }
.acpi { fill: #4d3f0a; }
.unusable { fill: #5d1a18; }
.persistent { fill: #3b2a63; }
.extent { fill: #12294a; }
.kernel { fill: #1d4f8c; }
.file { fill: #7a4410; }
.bytes { fill: #1c5a2a; }
.zeros { fill: #0d1117; }
}
";

pub(super) const TITLE: TextStyle = TextStyle {
    class: "title",
    size: 18,
};
pub(super) const SUBTITLE: TextStyle = TextStyle {
    class: "quiet",
    size: 13,
};
pub(super) const HEAD: TextStyle = TextStyle {
    class: "head",
    size: 12,
};
pub(super) const ADDRESS: TextStyle = TextStyle {
    class: "address",
    size: 11,
};
pub(super) const LABEL: TextStyle = TextStyle {
    class: "label",
    size: 12,
};
pub(super) const PLAIN: TextStyle = TextStyle {
    class: "plain",
    size: 12,
};
pub(super) const QUIET: TextStyle = TextStyle {
    class: "quiet",
    size: 11,
};
pub(super) const ENTRY: TextStyle = TextStyle {
    class: "entry",
    size: 12,
};

/// Not quiet: it is on coloured boxes.
pub(super) const ORIGIN: TextStyle = TextStyle {
    class: "plain",
    size: 11,
};

/// Class of a region, and its name in the legend.
pub(super) fn region(kind: RegionKind) -> (&'static str, &'static str) {
    match kind {
        RegionKind::Ram => ("ram", "RAM"),
        RegionKind::AcpiReclaimable => ("acpi", "ACPI tables"),
        RegionKind::AcpiNvs => ("acpi", "ACPI NVS"),
        RegionKind::Unusable => ("unusable", "unusable"),
        RegionKind::Persistent => ("persistent", "persistent memory"),
        _ => ("reserved", "reserved"),
    }
}

/// Class of a load, and its name in the legend.
pub(super) fn load(load: &Load) -> (&'static str, &'static str) {
    match &load.content {
        LoadContent::Zeros => ("zeros", "zeroed"),
        LoadContent::Present => ("reserved", "not written"),
        _ if load.is_kernel() => ("kernel", "kernel image"),
        LoadContent::File { .. } => ("file", "initrd and other files"),
        _ => ("bytes", "written by the boot protocol"),
    }
}

/// Class of the kernel's extent, and its name in the legend.
pub(super) const EXTENT: (&str, &str) = ("extent", "memory that the kernel uses");
