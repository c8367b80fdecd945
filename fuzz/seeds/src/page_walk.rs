//! Page tables of each scheme with pages of every size, and tables that refer to themselves.

use boot_paging::{Access, Attributes, Mapping, PageSize, PageTables, Scheme};

use crate::Seed;

const NAMES: [&str; 4] = ["x86_64", "arm64", "sv39", "sv48"];

/// The scheme's number, an address to translate, and memory from address 0.
fn seed(number: u8, virt: u64, memory: &[u8]) -> Vec<u8> {
    [&[number], &virt.to_le_bytes()[..], memory].concat()
}

/// Tables at address 0 that map 4 KiB, 2 MiB, 1 GiB and a device.
fn tables(scheme: Scheme) -> Vec<u8> {
    let user = Attributes::normal(Access::USER | Access::EXECUTE);
    let data = Attributes::normal(Access::WRITE);
    let tables = PageTables::new(scheme, 0, 8).expect("tables at 0");
    let mut tables = tables.with_max_page_size(PageSize::Size1G);
    for (addr, len, attributes) in [
        (0x1000, 0x1000, user),
        (0x20_0000, 0x40_0000, data),
        (1 << 30, 1 << 30, data),
        (3 << 30, 0x1000, Attributes::DEVICE),
    ] {
        tables
            .map(&Mapping::identity(addr, len, attributes))
            .expect("8 tables suffice");
    }
    tables.to_bytes()
}

pub(crate) fn seeds() -> Vec<Seed> {
    let mut seeds: Vec<Seed> = Scheme::ALL
        .into_iter()
        .zip(NAMES)
        .zip(0..)
        .map(|((scheme, name), number)| (name, seed(number, 0x1000, &tables(scheme))))
        .collect();
    // An entry of each architecture for the table at 0, which is the root itself.
    seeds.push(("x86_64-loop", seed(0, 0, &0x27_u64.to_le_bytes())));
    seeds.push(("arm64-loop", seed(1, 0, &0x3_u64.to_le_bytes())));
    seeds.push(("riscv64-loop", seed(3, 0, &0x1_u64.to_le_bytes())));
    seeds
}
