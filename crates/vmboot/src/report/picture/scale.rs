//! Addresses as vertical positions.

use std::collections::BTreeSet;

use boot_core::GuestRange;

/// Smallest height of a row that has a text.
pub(super) const TEXT_ROW: u64 = 24;
/// Height of the other rows: enough for the addresses of both boundaries.
const THIN_ROW: u64 = 16;
/// Height of a row outside all ranges.
const GAP_ROW: u64 = 40;
/// Largest height of a row.
const MAX_ROW: u64 = 72;
/// Ranges shorter than this have no text unless they are loads.
const PAGE: u64 = 4096;

/// The part of the address space between two boundaries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) range: GuestRange,
    /// Upper edge.
    pub(super) y: u64,
    pub(super) height: u64,
    /// Whether a load covers it.
    pub(super) is_load: bool,
}

/// The rows, by ascending address.
#[derive(Clone, Debug)]
pub(super) struct Scale(Vec<Row>);

impl Scale {
    /// Divides the addresses of `ranges` and `loads` at their bounds and at `points`, and gives each part a height, from `top`
    /// on. Loads are sorted and do not overlap.
    pub(super) fn new(
        top: u64,
        ranges: impl Iterator<Item = GuestRange>,
        loads: impl Iterator<Item = GuestRange>,
        points: impl Iterator<Item = u64>,
    ) -> Self {
        let ranges: Vec<_> = ranges.collect();
        let loads: Vec<_> = loads.collect();
        let bounds = ranges
            .iter()
            .chain(&loads)
            .flat_map(|range| [range.start(), range.end()]);
        let bounds: Vec<u64> = bounds
            .chain(points)
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect();
        let mut y = top;
        let rows = bounds.windows(2).filter_map(|pair| {
            let range = GuestRange::from_bounds(*pair.first()?, *pair.last()?)?;
            let next = loads.partition_point(|load| load.end() <= range.start());
            let is_load = loads.get(next).is_some_and(|load| load.contains(range));
            let height = if is_load || ranges.iter().any(|other| other.contains(range)) {
                height(range.len(), is_load)
            } else {
                GAP_ROW
            };
            let row = Row {
                range,
                y,
                height,
                is_load,
            };
            y += height;
            Some(row)
        });
        Self(rows.collect())
    }

    pub(super) fn rows(&self) -> impl Iterator<Item = Row> {
        self.0.iter().copied()
    }

    /// The boundaries with their positions.
    pub(super) fn boundaries(&self) -> impl Iterator<Item = (u64, u64)> {
        let last = self.0.last().map(|row| (row.range.end(), self.end()));
        self.rows().map(|row| (row.range.start(), row.y)).chain(last)
    }

    /// The position of a boundary.
    pub(super) fn y(&self, address: u64) -> u64 {
        let next = self.0.partition_point(|row| row.range.start() < address);
        self.0.get(next).map_or(self.end(), |row| row.y)
    }

    /// Upper edge and height of a range between boundaries.
    pub(super) fn extent(&self, range: GuestRange) -> (u64, u64) {
        let y = self.y(range.start());
        (y, self.y(range.end()).saturating_sub(y))
    }

    /// The lower edge.
    pub(super) fn end(&self) -> u64 {
        self.0.last().map_or(0, |row| row.y + row.height)
    }
}

/// Height of a part: two pixels for each doubling of its size above a page.
fn height(len: u64, is_load: bool) -> u64 {
    let doublings = u64::from((len / PAGE).checked_ilog2().unwrap_or(0));
    match len {
        ..PAGE if !is_load => THIN_ROW,
        _ => (TEXT_ROW + 2 * doublings).min(MAX_ROW),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(start: u64, end: u64) -> GuestRange {
        GuestRange::from_bounds(start, end).unwrap()
    }

    #[test]
    fn parts_are_divided_at_all_boundaries() {
        let ranges = [range(0, 0x10_0000), range(0x20_0000, 0x40_0000)];
        let loads = [range(0x1000, 0x1080), range(0x20_0000, 0x20_8000)];
        let scale = Scale::new(
            100,
            ranges.into_iter(),
            loads.into_iter(),
            [0x20_4000].into_iter(),
        );
        let rows: Vec<_> = scale
            .rows()
            .map(|row| (row.range.start(), row.y, row.height, row.is_load))
            .collect();
        assert_eq!(
            rows,
            [
                (0, 100, 24, false),
                (0x1000, 124, 24, true),
                (0x1080, 148, 38, false),
                (0x10_0000, 186, GAP_ROW, false),
                (0x20_0000, 226, 28, true),
                (0x20_4000, 254, 28, true),
                (0x20_8000, 282, 40, false),
            ]
        );
        assert_eq!(scale.boundaries().last(), Some((0x40_0000, 322)));
        assert_eq!(scale.end(), 322);
        assert_eq!(scale.extent(loads[1]), (226, 56));
        assert_eq!(scale.extent(ranges[1]), (226, 96));
    }

    #[test]
    fn parts_between_pages_are_thin() {
        assert_eq!([height(1, false), height(4095, false)], [THIN_ROW; 2]);
        assert_eq!(
            [height(1, true), height(4096, false), height(4096, true)],
            [TEXT_ROW; 3]
        );
        assert_eq!(height(1 << 63, false), MAX_ROW);
    }
}
