//! The allocator, against a model that tries every address.

use boot_core::{Constraints, GuestRange, MemoryMap, Preference, RamAllocator, RegionKind};
use proptest::prelude::*;

/// The model's address space is small enough to try each address.
const SPACE: u64 = 256;

/// A length in bytes, and the constraints on the address.
type Request = (u64, Constraints);

#[derive(Clone, Debug)]
enum Step {
    Allocate(Request),
    Reserve(GuestRange),
    Exclude(GuestRange),
}

fn range() -> impl Strategy<Value = GuestRange> {
    (0..SPACE, 0..48u64)
        .prop_map(|(start, len)| GuestRange::from_bounds(start, (start + len).min(SPACE)).unwrap())
}

fn request() -> impl Strategy<Value = Request> {
    let window = (0..SPACE, prop_oneof![0..SPACE, Just(SPACE), Just(u64::MAX)]);
    let align = (
        prop_oneof![Just(1u64), Just(2), Just(8), Just(64), Just(0), Just(6)],
        0..70u64,
        any::<bool>(),
        prop_oneof![2 => Just(0), 1 => 0..100u64],
    );
    let preference = prop_oneof![
        Just(Preference::Lowest),
        Just(Preference::Highest),
        (0..SPACE + 8).prop_map(Preference::Address),
        any::<u64>().prop_map(Preference::Random),
    ];
    (0..40u64, align, window, any::<bool>(), preference).prop_map(
        |(len, (align, remainder, has_offset, base_offset), (min, max), has_min, preference)| {
            let constraints = Constraints::aligned(align)
                .with_align_offset(if has_offset { remainder } else { 0 })
                .with_base_offset(base_offset)
                .between(if has_min { min } else { 0 }, max);
            let constraints = match preference {
                Preference::Highest => constraints.highest(),
                Preference::Address(addr) => constraints.prefer(addr),
                Preference::Random(seed) => constraints.random(seed),
                _ => constraints,
            };
            (len, constraints)
        },
    )
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => request().prop_map(Step::Allocate),
        1 => range().prop_map(Step::Reserve),
        1 => range().prop_map(Step::Exclude),
    ]
}

/// Every address: whether it is RAM, and whether it is taken.
struct Model {
    ram: Vec<bool>,
    taken: Vec<bool>,
}

impl Model {
    fn bytes(range: GuestRange) -> impl Iterator<Item = usize> {
        (range.start()..range.end()).map(|addr| usize::try_from(addr).unwrap())
    }

    fn is_free(&self, range: GuestRange) -> bool {
        Self::bytes(range).all(|addr| !self.taken[addr])
    }

    fn is_ram(&self, range: GuestRange) -> bool {
        Self::bytes(range).all(|addr| self.ram[addr])
    }

    fn take(&mut self, range: GuestRange) {
        Self::bytes(range).for_each(|addr| self.taken[addr] = true);
    }

    /// The range that the model chooses for the request.
    fn find(&self, (len, constraints): &Request) -> Option<GuestRange> {
        let is_valid = *len > 0
            && [1, 2, 8, 64].contains(&constraints.align)
            && constraints.align_offset < constraints.align;
        let fits = |start: &u64| {
            start % constraints.align == constraints.align_offset
                && *start >= constraints.min
                && start.checked_sub(constraints.base_offset).is_some_and(|base| {
                    constraints.base_offset == 0
                        || self.ram.get(usize::try_from(base).unwrap()) == Some(&true)
                })
                && start + len <= constraints.max.min(SPACE)
                && GuestRange::new(*start, *len)
                    .is_some_and(|range| self.is_ram(range) && self.is_free(range))
        };
        let lowest = || (0..SPACE).find(fits);
        let start = match constraints.preference {
            _ if !is_valid => None,
            Preference::Address(addr) => Some(addr).filter(fits).or_else(lowest),
            Preference::Highest => (0..SPACE).rev().find(fits),
            Preference::Random(seed) => {
                let all: Vec<_> = (0..SPACE).filter(fits).collect();
                let index = (u128::from(seed) * all.len() as u128) >> 64;
                all.get(usize::try_from(index).unwrap()).copied()
            }
            _ => lowest(),
        };
        GuestRange::new(start?, *len)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn the_allocator_does_what_trying_every_address_does(
        ram in proptest::collection::vec(range(), 0..6),
        steps in proptest::collection::vec(step(), 0..12),
    ) {
        let mut map = MemoryMap::new();
        let bytes = usize::try_from(SPACE).unwrap();
        let mut model = Model { ram: vec![false; bytes], taken: vec![false; bytes] };
        for range in ram {
            if map.insert(range, RegionKind::Ram).is_ok() {
                Model::bytes(range).for_each(|addr| model.ram[addr] = true);
            }
        }
        let mut allocator = RamAllocator::new(&map);
        for step in steps {
            let (done, expected) = match step {
                Step::Allocate(request) => (allocator.allocate("allocation", request.0, &request.1).ok(), model.find(&request)),
                Step::Reserve(range) => {
                    let possible = model.is_ram(range) && model.is_free(range);
                    (allocator.reserve("reservation", range).ok().map(|()| range), possible.then_some(range))
                }
                Step::Exclude(range) => {
                    let possible = model.is_free(range);
                    (allocator.exclude("hole", range).ok().map(|()| range), possible.then_some(range))
                }
            };
            prop_assert_eq!(done, expected);
            if let Some(range) = done {
                model.take(range);
            }
        }
    }
}
