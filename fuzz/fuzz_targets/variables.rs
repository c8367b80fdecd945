//! Arbitrary bytes as a file of variables, with a correct checksum, and as a load option: no panic; a file is accepted whole or
//! not at all, and written back with the same variables.

#![no_main]

use efi_core::crc::crc32;
use efi_core::device_path::DevicePath;
use efi_core::variables::{LoadOption, Variables};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(option) = LoadOption::parse(data) {
        let bytes = option.to_bytes();
        let again = LoadOption::parse(&bytes).expect("the bytes of a load option");
        assert_eq!(
            (again.path, again.optional_data),
            (option.path, option.optional_data)
        );
        assert!(DevicePath::parse(option.path.as_bytes()).is_ok());
    }
    let mut variables = Variables::<0x1000>::new();
    let mut file = data.to_vec();
    if file.len() >= 20 {
        let (header, records) = file.split_at_mut(20);
        header[16..].copy_from_slice(&crc32(records).to_le_bytes());
        let len = u32::try_from(records.len()).unwrap_or(0);
        header[..16].copy_from_slice(&[b"VMBTEFIV", &1_u32.to_le_bytes()[..], &len.to_le_bytes()].concat());
    }
    if variables.load_file(&file).is_err() {
        assert_eq!(variables.entries().count(), 0);
        return;
    }
    assert_eq!(variables.to_file(), file);
    let mut name = Vec::new();
    let mut guid = efi_core::Guid::ZERO;
    let mut count = 0;
    while let Ok(entry) = variables.next(&name, guid) {
        (name, guid) = (entry.units().collect(), entry.guid);
        count += 1;
        assert!(variables.get(&name, guid).is_ok_and(|found| found == entry));
    }
    assert_eq!(count, variables.entries().count());
    let _ = (
        variables.boot_order(),
        variables.take_boot_next(),
        variables.os_indications(),
    );
});
