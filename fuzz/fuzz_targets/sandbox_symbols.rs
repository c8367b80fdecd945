//! Arbitrary ELF files with debug information: a lookup has to end within its limits.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sandbox_debug::{SymbolLimits, Symbols};

fuzz_target!(|data: &[u8]| {
    let mut limits = SymbolLimits::default();
    (limits.operations, limits.name_len, limits.inlined) = (20_000, 64, 4);
    let addresses = [0x1000, 0x1008, 0x4000_0000, u64::MAX];
    let Ok(found) = Symbols::new(data).with_limits(limits).resolve(&addresses) else {
        return;
    };
    assert_eq!(found.len(), addresses.len());
    for frames in found {
        assert!(frames.len() <= limits.inlined);
        for frame in frames {
            let names = [&frame.function, &frame.file];
            assert!(
                names
                    .into_iter()
                    .flatten()
                    .all(|name| name.len() <= limits.name_len)
            );
            assert!(!frame.to_string().contains(char::is_control));
        }
    }
});
