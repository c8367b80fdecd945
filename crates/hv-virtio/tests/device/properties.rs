//! Properties of all drivers.

use boot_core::GuestMemory as _;
use proptest::prelude::*;

use crate::driver::{DATA, Driver, IN, IOERR, OK, OUT};
use crate::requests::{content, copied};
use crate::script;

const SECTORS: u64 = 40;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// Reads and writes in any pieces agree with a vector.
    #[test]
    fn a_copied_disk_is_a_vector(
        requests in prop::collection::vec(
            (any::<bool>(), 0..SECTORS, 1..9_u64, any::<u8>(), prop::collection::vec(1..700_u32, 0..6)),
            1..20,
        ),
    ) {
        let mut model = content(usize::try_from(SECTORS * 512).unwrap());
        let mut driver = Driver::started(copied(model.len(), 1 << 20));
        for (writes, sector, count, fill, pieces) in requests {
            let len = u32::try_from(count * 512).unwrap();
            // The pieces, cut to the length, and the rest.
            let mut buffers = Vec::new();
            let (mut addr, mut rest) = (DATA, len);
            for piece in pieces.into_iter().chain([len]) {
                let piece = piece.min(rest);
                buffers.push((addr, piece, !writes));
                // Not adjacent in memory.
                addr += u64::from(piece) + 3;
                rest -= piece;
            }
            let range = usize::try_from(sector * 512).unwrap()..usize::try_from((sector + count) * 512).unwrap();
            let is_inside = sector + count <= SECTORS;
            let mut at = 0_u8;
            for (addr, len, _) in &buffers {
                let data: Vec<u8> = (0..*len).map(|_| { at = at.wrapping_add(1); at ^ fill }).collect();
                driver.ram.write(*addr, &data).unwrap();
            }
            let gathered = |driver: &Driver| -> Vec<u8> {
                buffers.iter().flat_map(|(addr, len, _)| driver.bytes(*addr, *len as usize)).collect()
            };
            let data = gathered(&driver);
            let answer = driver.request(if writes { OUT } else { IN }, sector, &buffers);
            match (is_inside, writes) {
                (false, _) => prop_assert_eq!(answer, Some((IOERR, 1))),
                (true, true) => {
                    prop_assert_eq!(answer, Some((OK, 1)));
                    model[range].copy_from_slice(&data);
                }
                (true, false) => {
                    prop_assert_eq!(answer, Some((OK, len + 1)));
                    prop_assert!(gathered(&driver) == model[range]);
                }
            }
        }
    }

    #[test]
    fn no_driver_harms_the_device(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        script::run(&bytes);
    }
}
