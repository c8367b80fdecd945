//! The allocator, against a model that tries every address.

use boot_core::place::{Direction, Request};
use boot_core::{GuestRange, MemoryMap, Placer, RegionKind};
use proptest::prelude::*;

/// The model's address space is small enough to try each address.
const SPACE: u64 = 256;

#[derive(Clone, Debug)]
enum Step {
    Allocate(Request),
    Reserve(GuestRange),
    Avoid(GuestRange),
}

fn range() -> impl Strategy<Value = GuestRange> {
    (0..SPACE, 0..48u64)
        .prop_map(|(start, len)| GuestRange::from_bounds(start, (start + len).min(SPACE)).unwrap())
}

fn request() -> impl Strategy<Value = Request> {
    let limits = (0..SPACE, prop_oneof![0..SPACE, Just(SPACE), Just(u64::MAX)]);
    let align = (
        prop_oneof![Just(1u64), Just(2), Just(8), Just(64), Just(0), Just(6)],
        0..70u64,
        any::<bool>(),
    );
    (0..40u64, align, limits, any::<bool>()).prop_map(|(len, (align, remainder, zero), (min, max), low)| {
        Request {
            label: "allocation",
            len,
            align,
            align_offset: if zero { 0 } else { remainder },
            min: if low { 0 } else { min },
            max,
            direction: if low {
                Direction::Lowest
            } else {
                Direction::Highest
            },
        }
    })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => request().prop_map(Step::Allocate),
        1 => range().prop_map(Step::Reserve),
        1 => range().prop_map(Step::Avoid),
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

    /// Where the request has to go.
    fn find(&self, request: &Request) -> Option<GuestRange> {
        let sensible =
            request.len > 0 && [1, 2, 8, 64].contains(&request.align) && request.align_offset < request.align;
        let fits = |start: &u64| {
            start % request.align == request.align_offset
                && *start >= request.min
                && start + request.len <= request.max.min(SPACE)
                && GuestRange::new(*start, request.len)
                    .is_some_and(|range| self.is_ram(range) && self.is_free(range))
        };
        let start = match request.direction {
            _ if !sensible => None,
            Direction::Lowest => (0..SPACE).find(fits),
            Direction::Highest => (0..SPACE).rev().find(fits),
        };
        GuestRange::new(start?, request.len)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn the_placer_does_what_trying_every_address_does(
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
        let mut placer = Placer::new(&map);
        for step in steps {
            let (done, expected) = match step {
                Step::Allocate(request) => (placer.allocate(&request).ok(), model.find(&request)),
                Step::Reserve(range) => {
                    let possible = model.is_ram(range) && model.is_free(range);
                    (placer.reserve("reservation", range).ok().map(|()| range), possible.then_some(range))
                }
                Step::Avoid(range) => {
                    let possible = model.is_free(range);
                    (placer.avoid("hole", range).ok().map(|()| range), possible.then_some(range))
                }
            };
            prop_assert_eq!(done, expected);
            if let Some(range) = done {
                model.take(range);
            }
        }
    }
}
