//! The memory map of a plan as a picture.

mod scale;
mod style;
mod svg;

use std::collections::BTreeSet;
use std::fmt;

use boot_core::{BootPlan, ByteCount, CpuState, GuestRange, Load, LoadContent, MemoryMap, RegionKind};

use self::scale::{Row, Scale};
use self::svg::{Anchor, Area, Elements, Escaped, fitted};

/// The memory of a boot as a picture: the RAM of the machine, the memory map for the guest and the loads, by ascending address.
///
/// `Display` is an SVG document, in light or dark colours as the viewer prefers. Equal plans give equal pictures. The heights of
/// the ranges are not proportional to their sizes; each boundary has its address.
///
/// ```
/// use vmboot::boot_core::{Arch, BootRequest, Cmdline, Endian, EntryAbi, GuestRange, ImageBuilder, Machine, MemoryMap, SourceRange};
/// use vmboot::report::MemoryPicture;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let at = GuestRange::new(0x20_0000, 8).ok_or("out of range")?;
/// let image = ImageBuilder::new("elf", Arch::X86_64, Endian::Little, 8)
///     .segment(SourceRange::whole(8), at)
///     .entry(EntryAbi::PVH, at.start())
///     .build()?;
/// let machine = Machine::new(Arch::X86_64, MemoryMap::pc(64 << 20)?);
/// let cmdline = Cmdline::new();
/// let protocol = vmboot::boot_core::protocol::select(&vmboot::protocols()?, &image)?;
/// let plan = protocol.plan(&BootRequest::new(&image, &machine, &cmdline))?;
/// let picture = MemoryPicture::new(&plan, &machine.memory).with_title("kernel.elf");
/// assert!(picture.to_string().starts_with("<svg "));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct MemoryPicture<'a> {
    plan: &'a BootPlan,
    machine: &'a MemoryMap,
    title: &'a str,
}

/// Left edge and width of each column.
mod column {
    pub(super) const ADDRESS_END: u64 = 150;
    pub(super) const MACHINE: (u64, u64) = (160, 160);
    pub(super) const GUEST: (u64, u64) = (330, 180);
    pub(super) const LOADS: (u64, u64) = (520, 400);
    pub(super) const ENTRY: u64 = 926;
    /// Left and right edge of titles and legend.
    pub(super) const MARGIN: u64 = 24;
    pub(super) const WIDTH: u64 = 1140;
}

/// Upper edge of the drawing, below title and column heads.
const TOP: u64 = 112;
/// Distance between a box and its texts.
const PADDING: u64 = 8;
/// Height of a row of the legend.
const LEGEND_ROW: u64 = 24;

impl<'a> MemoryPicture<'a> {
    /// A picture of `plan` on a machine with this memory.
    #[must_use]
    pub fn new(plan: &'a BootPlan, machine: &'a MemoryMap) -> Self {
        Self {
            plan,
            machine,
            title: "Memory map of a boot",
        }
    }

    /// The same with this title, such as the file name of the kernel.
    #[must_use]
    pub fn with_title(self, title: &'a str) -> Self {
        Self { title, ..self }
    }

    /// Protocol, architecture, RAM and entry point.
    fn subtitle(&self) -> String {
        format!(
            "boot protocol {} on {}, {} of RAM, entry point {:#x}",
            self.plan.protocol(),
            self.plan.arch(),
            ByteCount(self.machine.ram_len()),
            self.plan.boot_cpu().entry()
        )
    }

    fn heads(&self, out: &mut Elements) {
        let width = column::WIDTH - 2 * column::MARGIN;
        let title = fitted(self.title, style::TITLE, width);
        out.text(style::TITLE, Anchor::Start, column::MARGIN, 36, &title);
        out.text(
            style::SUBTITLE,
            Anchor::Start,
            column::MARGIN,
            60,
            &self.subtitle(),
        );
        let mut head = |anchor, x, text| out.text(style::HEAD, anchor, x, 92, text);
        head(Anchor::End, column::ADDRESS_END, "address");
        for ((x, width), text) in [
            (column::MACHINE, "machine"),
            (column::GUEST, "memory map for the guest"),
            (column::LOADS, "loaded into memory"),
        ] {
            head(Anchor::Middle, x + width / 2, text);
        }
    }

    /// The boxes of a memory map, each with its kind and size.
    fn map(out: &mut Elements, scale: &Scale, (x, width): (u64, u64), regions: &[(GuestRange, RegionKind)]) {
        for &(range, kind) in regions {
            let (class, name) = style::region(kind);
            let (y, height) = scale.extent(range);
            let text = format!("{name}, {}", ByteCount(range.len()));
            out.rect(class, Area { x, y, width, height }, &format!("{text}: {range}"));
            let shown = fitted(&text, style::PLAIN, width - 2 * PADDING);
            out.text(
                style::PLAIN,
                Anchor::Middle,
                x + width / 2,
                y + height / 2 + 4,
                &shown,
            );
        }
    }

    /// The box of a load, with its label, the origin of its bytes and its size.
    fn load(out: &mut Elements, scale: &Scale, load: &Load) {
        let (left, width) = column::LOADS;
        let (x, width) = (left + PADDING, width - 2 * PADDING);
        let (y, height) = scale.extent(load.range);
        let (class, _) = style::load(load);
        let origin = origin(load);
        let size = ByteCount(load.range.len()).to_string();
        let tooltip = format!("{}: {size} at {}, {origin}", load.label, load.range);
        out.rect(class, Area { x, y, width, height }, &tooltip);
        let baseline = y + height / 2 + 4;
        let label = fitted(&load.label, style::LABEL, 140);
        out.text(style::LABEL, Anchor::Start, x + PADDING, baseline, &label);
        let origin = fitted(&origin, style::ORIGIN, 150);
        out.text(style::ORIGIN, Anchor::Start, x + PADDING + 150, baseline, &origin);
        out.text(style::PLAIN, Anchor::End, x + width - PADDING, baseline, &size);
    }

    /// The text of a row without a load.
    fn rest(&self, out: &mut Elements, row: Row) {
        let kernel = self.plan.kernel().contains(row.range);
        let ram = self
            .machine
            .regions()
            .iter()
            .any(|region| region.range.contains(row.range));
        let guest = self
            .plan
            .memory()
            .regions()
            .iter()
            .find(|region| region.range.contains(row.range));
        let (x, width) = column::LOADS;
        let middle = row.y + row.height / 2;
        if !ram && guest.is_none() {
            for (x, width) in [column::MACHINE, column::GUEST, column::LOADS] {
                wave(out, x, width, middle);
            }
        }
        if row.height < scale::TEXT_ROW {
            return;
        }
        let what = match guest {
            _ if kernel => "used by the kernel when it runs",
            Some(region) if region.kind == RegionKind::Ram => "free",
            // The box of the region has its kind and size.
            Some(_) => return,
            None => "no memory",
        };
        let text = format!("{what}, {}", ByteCount(row.range.len()));
        let baseline = if guest.is_some() { middle + 4 } else { middle - 8 };
        out.text(style::QUIET, Anchor::Middle, x + width / 2, baseline, &text);
    }

    /// An arrow at each entry point. The first CPU is the boot CPU; others start where it does, or wait for it.
    fn entries(&self, out: &mut Elements, scale: &Scale) {
        let boot_cpu = self.plan.cpus().first().map(CpuState::entry);
        let addresses: BTreeSet<u64> = self.plan.cpus().iter().map(CpuState::entry).collect();
        for address in addresses {
            let label = if boot_cpu == Some(address) {
                "the boot CPU starts here"
            } else {
                "other CPUs start here"
            };
            let (x, y) = (column::ENTRY, scale.y(address));
            out.path("arrow", format_args!("M{x} {y}l12 -6v12z"));
            out.text(style::ENTRY, Anchor::Start, x + 18, y + 4, label);
        }
    }

    /// The colours in use and their meanings.
    fn legend(&self, out: &mut Elements, top: u64) -> u64 {
        const COLUMNS: u64 = 4;
        let mut entries: Vec<(&str, &str)> = Vec::new();
        let regions = self.machine.regions().iter().chain(self.plan.memory().regions());
        let kinds: BTreeSet<RegionKind> = regions.map(|region| region.kind).collect();
        entries.extend(kinds.into_iter().map(style::region));
        entries.push(style::EXTENT);
        for load in self.plan.loads() {
            let entry = style::load(load);
            if !entries.contains(&entry) {
                entries.push(entry);
            }
        }
        let width = (column::WIDTH - 2 * column::MARGIN) / COLUMNS;
        let mut y = top;
        for (number, (class, name)) in (0..).zip(entries) {
            let x = column::MARGIN + number % COLUMNS * width;
            y = top + number / COLUMNS * LEGEND_ROW;
            let area = Area {
                x,
                y,
                width: 16,
                height: 14,
            };
            out.rect(class, area, name);
            out.text(style::PLAIN, Anchor::Start, x + 24, y + 11, name);
        }
        y += LEGEND_ROW + 14;
        let note = "Heights are not proportional to sizes. Addresses are those of the boundaries, low addresses at the top.";
        out.text(style::QUIET, Anchor::Start, column::MARGIN, y, note);
        y + 20
    }
}

/// The addresses of a map's regions; adjacent RAM is one region.
fn regions(map: &MemoryMap) -> Vec<(GuestRange, RegionKind)> {
    map.regions()
        .iter()
        .map(|region| (region.range, region.kind))
        .collect()
}

/// A wavy line across a column: a part of the address space is left out.
fn wave(out: &mut Elements, x: u64, width: u64, y: u64) {
    let count = width / 20;
    let mut data = format!("M{} {y}", x + (width - 20 * count) / 2);
    for _ in 0..count {
        data.push_str("q5 -6 10 0t10 0");
    }
    out.path("break", format_args!("{data}"));
}

/// Where the bytes of a load come from.
fn origin(load: &Load) -> String {
    match &load.content {
        LoadContent::File { id, range } => format!("{id} file at {:#x}", range.offset()),
        LoadContent::Bytes(_) => "from the boot protocol".to_owned(),
        LoadContent::Zeros => "zeroed".to_owned(),
        LoadContent::Present => "not written".to_owned(),
        _ => String::new(),
    }
}

impl fmt::Display for MemoryPicture<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { plan, machine, .. } = self;
        let maps = [machine, plan.memory()];
        let ranges = maps
            .iter()
            .flat_map(|map| map.regions())
            .map(|region| region.range);
        let loads = plan.loads().iter().map(|load| load.range);
        let entries = plan.cpus().iter().map(CpuState::entry);
        let scale = Scale::new(TOP, ranges.chain([plan.kernel()]), loads, entries);
        let mut out = Elements::default();
        self.heads(&mut out);
        for (address, y) in scale.boundaries() {
            let end = column::LOADS.0 + column::LOADS.1;
            out.path("rule", format_args!("M{} {y}H{end}", column::ADDRESS_END + 4));
            out.text(
                style::ADDRESS,
                Anchor::End,
                column::ADDRESS_END,
                y + 4,
                &format!("{address:#x}"),
            );
        }
        Self::map(&mut out, &scale, column::MACHINE, &regions(machine));
        Self::map(&mut out, &scale, column::GUEST, &regions(plan.memory()));
        let (x, width) = column::LOADS;
        let (y, height) = scale.extent(plan.kernel());
        let tooltip = format!("{}: {}", style::EXTENT.1, plan.kernel());
        out.rect(style::EXTENT.0, Area { x, y, width, height }, &tooltip);
        for load in plan.loads() {
            Self::load(&mut out, &scale, load);
        }
        for row in scale.rows().filter(|row| !row.is_load) {
            self.rest(&mut out, row);
        }
        self.entries(&mut out, &scale);
        let height = self.legend(&mut out, scale.end() + 30);
        let width = column::WIDTH;
        writeln!(
            f,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" role=\"img\">"
        )?;
        writeln!(f, "<title>{}</title>", Escaped(self.title))?;
        writeln!(f, "<desc>Memory map: {}</desc>", Escaped(&self.subtitle()))?;
        writeln!(f, "<style>\n{}</style>", style::SHEET)?;
        writeln!(f, "<rect class=\"page\" width=\"{width}\" height=\"{height}\"/>")?;
        writeln!(f, "{out}</svg>")
    }
}
