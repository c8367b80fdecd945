//! Variations of a request whose plan is known: fixed addresses, room for a command line, additional loads.

use boot_core::{
    AdditionalLoad, BootPlan, BootProtocol, BootRequest, Cmdline, Constraints, FixedAddress, GuestRange,
    Placement, PlanError, RegionKind,
};

use crate::promises;

/// Checks plans of variations of `request`, whose plan is `plan`.
///
/// # Errors
///
/// A description of the first difference to what is expected.
pub fn check(protocol: &dyn BootProtocol, request: &BootRequest<'_>, plan: &BootPlan) -> Result<(), String> {
    chosen_addresses_can_be_fixed(protocol, request, plan)?;
    the_kernel_makes_way(protocol, request, plan)?;
    ranges_do_not_depend_on_the_line(protocol, request)?;
    additional_loads_are_placed(protocol, request, plan)
}

/// A request that fixes the addresses of a plan has the same plan.
fn chosen_addresses_can_be_fixed(
    protocol: &dyn BootProtocol,
    request: &BootRequest<'_>,
    plan: &BootPlan,
) -> Result<(), String> {
    let mut fixed = addresses(plan);
    fixed.push(FixedAddress::new("kernel", plan.kernel().start()));
    let again = protocol
        .plan(&request.with_fixed_addresses(&fixed))
        .map_err(|error| format!("{fixed:x?} cannot be fixed: {error:?}"))?;
    let (found, expected) = (ranges(&again), ranges(plan));
    ensure!(
        found == expected,
        "with {fixed:x?}: {found:x?}, not {expected:x?}"
    );
    ensure!(again.cpus() == plan.cpus(), "other CPU states with {fixed:x?}");
    Ok(())
}

/// The addresses of all pieces of a plan but the kernel and modules, whose addresses cannot be fixed.
fn addresses(plan: &BootPlan) -> Vec<FixedAddress<'_>> {
    let loads = plan.loads().iter().filter(|load| !load.is_kernel());
    let pieces = loads.filter(|load| !load.label.starts_with("module"));
    pieces
        .map(|load| FixedAddress::new(&load.label, load.range.start()))
        .collect()
}

/// A movable kernel keeps clear of a piece that is fixed where the kernel was, unless no other place is possible.
fn the_kernel_makes_way(
    protocol: &dyn BootProtocol,
    request: &BootRequest<'_>,
    plan: &BootPlan,
) -> Result<(), String> {
    let kernel = plan.kernel();
    for load in plan.loads().iter().filter(|load| !load.is_kernel()) {
        let start = kernel.start().next_multiple_of(load.constraints.align);
        let mut fixed = addresses(plan);
        let Some(piece) = fixed.iter_mut().find(|fixed| fixed.label == load.label) else {
            continue;
        };
        if !kernel.contains_addr(start) {
            continue;
        }
        piece.addr = start;
        match protocol.plan(&request.with_fixed_addresses(&fixed)) {
            Ok(moved) => {
                let found = moved.loads().iter().find(|other| other.label == load.label);
                let found = found.map(|load| load.range.start());
                ensure!(found == Some(start), "the {} is at {found:x?}", load.label);
                promises::loads(request, moved.loads(), moved.kernel())?;
            }
            Err(error) => {
                let ends = plan.loads().iter().map(|load| load.range.end());
                let starts = request.machine.memory.ram().map(GuestRange::start).take(8);
                let piece_end = start.saturating_add(load.range.len());
                for from in ends.chain(starts).chain([piece_end]) {
                    let base = next_base(request, from);
                    let mut fixed = fixed.clone();
                    fixed.push(FixedAddress::new("kernel", base));
                    let with_kernel = protocol.plan(&request.with_fixed_addresses(&fixed));
                    ensure!(
                        with_kernel.is_err(),
                        "the {} at {start:#x} is refused, but the kernel may be at {base:#x}: {error:?}",
                        load.label
                    );
                }
            }
        }
    }
    Ok(())
}

/// The first address from `from` on with the alignment of a movable kernel.
fn next_base(request: &BootRequest<'_>, from: u64) -> u64 {
    let Placement::Relocatable(rule) = request.image.placement() else {
        return from.next_multiple_of(0x1000);
    };
    let above = from.saturating_sub(rule.align_offset);
    above.next_multiple_of(rule.align) + rule.align_offset
}

/// With room for the longer of two command lines, both plans have the same ranges.
fn ranges_do_not_depend_on_the_line(
    protocol: &dyn BootProtocol,
    request: &BootRequest<'_>,
) -> Result<(), String> {
    let with_room = request.with_cmdline_capacity(request.cmdline.encoded_len() + 10);
    let mut without_line = with_room;
    let empty = Cmdline::new();
    without_line.cmdline = (&empty).into();
    match (protocol.plan(&with_room), protocol.plan(&without_line)) {
        (Ok(long), Ok(short)) => {
            let (long, short) = (ranges(&long), ranges(&short));
            ensure!(long == short, "the command line changes {long:x?} to {short:x?}");
            Ok(())
        }
        (Err(_), Err(_)) => Ok(()),
        (long, short) => Err(format!("{long:?}, but without a line {short:?}")),
    }
}

/// An additional load is in memory that the guest's map lists with its kind, or the request is refused.
fn additional_loads_are_placed(
    protocol: &dyn BootProtocol,
    request: &BootRequest<'_>,
    plan: &BootPlan,
) -> Result<(), String> {
    let bytes = [0x5a; 0x123];
    let tables = AdditionalLoad::bytes("tables", &bytes).in_region(RegionKind::AcpiReclaimable);
    let placed = [
        tables.within(Constraints::aligned(0x10)),
        // Where the plan has its first load, which must move then.
        tables.at(plan.loads()[0].range.start()),
    ];
    for load in placed {
        let loads = [load];
        let request = request.with_additional_loads(&loads);
        let plan = match protocol.plan(&request) {
            Ok(plan) => plan,
            // No room, or more regions than the kernel takes.
            Err(PlanError::Placement(_) | PlanError::Protocol { .. }) => continue,
            Err(error) => return Err(format!("{load:?} is refused: {error:?}")),
        };
        let found: Vec<_> = plan
            .loads()
            .iter()
            .filter(|load| load.label == "tables")
            .collect();
        ensure!(found.len() == 1, "{} additional loads", found.len());
        let range = found[0].range;
        ensure!(
            plan.memory().is_kind(range, RegionKind::AcpiReclaimable),
            "the guest's map does not list {range}"
        );
        promises::loads(&request, plan.loads(), plan.kernel())?;
    }
    Ok(())
}

/// Label and range of each load.
fn ranges(plan: &BootPlan) -> Vec<(&str, GuestRange)> {
    plan.loads()
        .iter()
        .map(|load| (&*load.label, load.range))
        .collect()
}
