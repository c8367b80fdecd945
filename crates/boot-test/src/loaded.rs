//! A plan after it was loaded.

use boot_core::cpu::x86_64::State;
use boot_core::{BootPlan, CpuState, Load, SliceMemory, Sources};
use zerocopy::{FromBytes, Immutable, KnownLayout};

/// What a plan writes, by address.
#[derive(Clone, Debug)]
pub struct Loaded(Vec<(u64, Vec<u8>)>);

impl Loaded {
    /// Loads `plan` from `sources` into memory of the bytes 0xee.
    ///
    /// # Panics
    ///
    /// If the plan cannot be loaded.
    #[must_use]
    pub fn new(plan: &BootPlan, sources: &Sources<'_>) -> Self {
        let empty = |load: &Load| {
            let len = usize::try_from(load.range.len()).unwrap();
            (load.range.start(), vec![0xee; len])
        };
        let mut ram: Vec<_> = plan.loads().iter().map(empty).collect();
        let mut memory = SliceMemory::new();
        for (addr, bytes) in &mut ram {
            memory.add(*addr, bytes).unwrap();
        }
        plan.load(sources, &mut memory).unwrap();
        Self(ram)
    }

    /// The bytes from `addr` to the end of its load.
    ///
    /// # Panics
    ///
    /// If no load contains `addr`.
    #[must_use]
    pub fn at(&self, addr: u64) -> &[u8] {
        let inside = |(start, bytes): &&(u64, Vec<u8>)| {
            addr.checked_sub(*start)
                .is_some_and(|offset| offset < bytes.len() as u64)
        };
        let (start, bytes) = self.0.iter().find(inside).unwrap();
        &bytes[usize::try_from(addr - start).unwrap()..]
    }

    /// The structure at `addr`.
    ///
    /// # Panics
    ///
    /// If no load contains all of it.
    #[must_use]
    pub fn read<T: FromBytes>(&self, addr: u64) -> T {
        T::read_from_prefix(self.at(addr)).ok().unwrap().0
    }

    /// The table of `count` structures at `addr`.
    ///
    /// # Panics
    ///
    /// If no load contains all of it.
    #[must_use]
    pub fn table<T: FromBytes + Immutable + KnownLayout>(&self, addr: u64, count: u32) -> &[T] {
        let count = usize::try_from(count).unwrap();
        <[T]>::ref_from_prefix_with_elems(self.at(addr), count)
            .ok()
            .unwrap()
            .0
    }
}

/// The state of the boot CPU, the only one that an x86_64 plan has.
///
/// # Panics
///
/// If there are other CPUs.
#[must_use]
pub fn x86_state(plan: &BootPlan) -> &State {
    match plan.cpus() {
        [CpuState::X86_64(state)] => state,
        other => panic!("{other:?}"),
    }
}
