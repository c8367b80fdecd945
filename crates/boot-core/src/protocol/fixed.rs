//! Planning around the addresses that a request fixes.

use crate::placement::KERNEL_LABEL;
use crate::{
    AdditionalLoad, AdditionalPlace, BootPlan, BootRequest, PlacementError, PlanError, RamAllocator,
};

/// Limit of the ranges that are kept.
const MAX_KEPT: usize = 64;

/// Plans a boot so that the pieces that are free to move keep clear of those whose addresses the request fixes.
///
/// `plan` is the planner of a protocol. The length of a piece can depend on where others are, so it is not known in advance:
/// where the place of a movable kernel or of an additional load turns out to be that of a fixed piece, `plan` is called again
/// with an allocator that [keeps](RamAllocator::keep) this range for the piece; at most 64 times.
///
/// # Errors
///
/// Those of `plan`. Where the kernel or the load cannot move out of the way, [`PlacementError::Taken`] with the fixed piece and
/// what is in its place; and the errors of [`RamAllocator::for_request`].
pub fn plan_around_fixed<'a>(
    request: &BootRequest<'a>,
    mut plan: impl FnMut(&RamAllocator<'a>) -> Result<BootPlan, PlanError>,
) -> Result<BootPlan, PlanError> {
    retry(request, &mut plan)
}

/// [`plan_around_fixed`], once for all planners.
fn retry<'a>(
    request: &BootRequest<'a>,
    plan: &mut dyn FnMut(&RamAllocator<'a>) -> Result<BootPlan, PlanError>,
) -> Result<BootPlan, PlanError> {
    let mut allocator = RamAllocator::for_request(request)?;
    // The latest conflict, and the label of what had to move.
    let mut conflict: Option<(PlacementError, &str)> = None;
    loop {
        match plan(&allocator) {
            Err(PlanError::Placement(error)) => match error {
                PlacementError::Taken { label, range, by, .. }
                    if allocator.fixed_address(label).is_some()
                        && is_movable(request, &allocator, by)
                        && allocator.kept().len() < MAX_KEPT
                        && !allocator
                            .kept()
                            .iter()
                            .any(|(kept, of)| *of == label && kept.contains(range)) =>
                {
                    allocator.keep(label, range);
                    conflict = Some((error, by));
                }
                // Two fixed pieces, in whose place the kernel was as well.
                PlacementError::Taken { label, .. } if allocator.fixed_address(label).is_some() => {
                    return Err(error.into());
                }
                error => {
                    // Why something cannot move tells less than what is in whose place.
                    let conflict = conflict.filter(|(_, moved)| *moved == error.label());
                    return Err(conflict.map_or(error, |(conflict, _)| conflict).into());
                }
            },
            other => return other,
        }
    }
}

/// Whether the kernel or the additional load with this label may be placed elsewhere.
fn is_movable(request: &BootRequest<'_>, allocator: &RamAllocator<'_>, label: &str) -> bool {
    let is_free = |load: &AdditionalLoad<'_>| matches!(load.place, AdditionalPlace::Within(_));
    let mut loads = request.additional_loads.iter();
    allocator.fixed_address(label).is_none()
        && (label == KERNEL_LABEL || loads.any(|load| load.label == label && is_free(load)))
}

#[cfg(test)]
mod tests {
    use std::string::{String, ToString};
    use std::vec::Vec;

    use super::*;
    use crate::cpu::x86_64;
    use crate::placement::Piece;
    use crate::{
        Arch, Cmdline, Constraints, Endian, EntryAbi, FixedAddress, GuestRange, ImageBuilder, Machine,
        MemoryMap, PlacedAdditional, PlacedKernel, Placement, PlanBuilder, RegionKind, SourceRange,
    };

    fn range(start: u64, end: u64) -> GuestRange {
        GuestRange::from_bounds(start, end).unwrap()
    }

    /// Plans a relocatable kernel of two pages that prefers 0x4000, a load "tables" of one page that prefers 0x6000, and the
    /// pieces "map" of one page and "list" of two, in RAM up to `end`. Returns the starts of the loads by their labels.
    fn plan(end: u64, fixed: &[FixedAddress<'_>]) -> Result<Vec<(String, u64)>, String> {
        let page = Constraints::aligned(0x1000);
        let image = ImageBuilder::new("test", Arch::X86_64, Endian::Little, 0x2000)
            .segment(SourceRange::whole(0x2000), range(0x10_0000, 0x10_2000))
            .entry(EntryAbi::ELF32, 0x10_0000)
            .placement(Placement::Relocatable(page.prefer(0x4000)))
            .build()
            .unwrap();
        let mut memory = MemoryMap::new();
        memory.insert(range(0x1000, end), RegionKind::Ram).unwrap();
        let (machine, cmdline) = (Machine::new(Arch::X86_64, memory), Cmdline::new());
        let bytes = [0; 0x1000];
        let loads = [AdditionalLoad::bytes("tables", &bytes).within(page.prefer(0x6000))];
        let request = BootRequest::new(&image, &machine, &cmdline)
            .with_additional_loads(&loads)
            .with_fixed_addresses(fixed);
        let plan = plan_around_fixed(&request, |allocator| {
            let mut allocator = allocator.clone();
            let kernel = PlacedKernel::place(&image, &mut allocator)?;
            let additional = PlacedAdditional::place(&mut allocator, &loads)?;
            let windows = [page, page.not_below(0x10_0000)];
            let piece = |label, len| Piece {
                label,
                len,
                windows: &windows,
            };
            let pieces = allocator.allocate_all(&[piece("map", 0x1000), piece("list", 0x2000)])?;
            let [map, list] = [0, 1].map(|i: usize| pieces[i].range);
            let state = x86_64::State::protected_mode(u32::try_from(kernel.base()).unwrap(), 8, 16);
            let plan = PlanBuilder::new("test", &request, &kernel)
                .additional(&request, &additional)
                .bytes("map", map, Vec::new(), page)
                .bytes("list", list, Vec::new(), page)
                .cpu(state);
            Ok(plan.build()?)
        });
        match plan {
            Ok(plan) => Ok(plan
                .loads()
                .iter()
                .map(|load| (load.label.to_string(), load.range.start()))
                .collect()),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn what_is_free_to_move_keeps_clear_of_what_is_fixed() {
        let check = |fixed: &[(&'static str, u64)], expected: [(&str, u64); 4]| {
            let fixed: Vec<_> = fixed
                .iter()
                .map(|(label, addr)| FixedAddress::new(label, *addr))
                .collect();
            let expected = expected.map(|(label, start)| (label.to_string(), start));
            assert_eq!(plan(0x9000, &fixed).unwrap(), expected, "{fixed:x?}");
        };
        check(
            &[],
            [
                ("map", 0x1000),
                ("list", 0x2000),
                ("kernel", 0x4000),
                ("tables", 0x6000),
            ],
        );
        check(
            &[("list", 0x4000)],
            [
                ("kernel", 0x1000),
                ("map", 0x3000),
                ("list", 0x4000),
                ("tables", 0x6000),
            ],
        );
        check(
            &[("map", 0x6000)],
            [
                ("tables", 0x1000),
                ("list", 0x2000),
                ("kernel", 0x4000),
                ("map", 0x6000),
            ],
        );
        // Kernel and load, by one piece or by two.
        check(
            &[("list", 0x5000)],
            [
                ("kernel", 0x1000),
                ("tables", 0x3000),
                ("map", 0x4000),
                ("list", 0x5000),
            ],
        );
        check(
            &[("map", 0x5000), ("list", 0x6000)],
            [
                ("kernel", 0x1000),
                ("tables", 0x3000),
                ("map", 0x5000),
                ("list", 0x6000),
            ],
        );
    }

    #[test]
    fn errors_name_the_fixed_piece_and_what_is_in_its_place() {
        let check = |end, fixed: &[(&'static str, u64)], expected: &str| {
            let fixed: Vec<_> = fixed
                .iter()
                .map(|(label, addr)| FixedAddress::new(label, *addr))
                .collect();
            assert_eq!(plan(end, &fixed).unwrap_err(), expected, "{fixed:x?}");
        };
        // No other place for the kernel, at all or by request.
        let kernel = "the map must be at 0x2000..0x3000, but the kernel is at 0x1000..0x3000";
        check(0x4000, &[("map", 0x2000)], kernel);
        check(0x9000, &[("kernel", 0x1000), ("map", 0x2000)], kernel);
        check(
            0x9000,
            &[("map", 0x4000), ("list", 0x4000)],
            "the list must be at 0x4000..0x6000, but the map is at 0x4000..0x5000",
        );
        // The reason is not the window that excludes the address.
        check(
            0x9000,
            &[("map", 0x9000)],
            "the map must be at 0x9000..0xa000, but the machine has no memory at 0x9000..0xa000",
        );
        check(
            0x3000,
            &[],
            "no free RAM for the tables: it needs 4 KiB aligned to 0x1000; no RAM is free there",
        );
    }
}
