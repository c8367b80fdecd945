//! Calls of boot services, device paths, and files of variables.

use efi_core::device_path::{DevicePathBuf, HardDrive, HardDriveSignature};
use efi_core::guids;
use efi_core::variables::{
    LoadOption, LoadOptionAttributes, SlotFile, Storage, Variables, name, option_name,
};

use crate::Seed;

#[path = "../../../crates/efi-core/tests/calls/seeds.rs"]
mod call_seeds;

/// Sequences of calls.
pub(crate) fn calls() -> Vec<Seed> {
    let seeds = call_seeds::seeds().into_iter();
    seeds
        .zip(["memory", "handles", "events", "mixed"])
        .map(|(bytes, name)| (name, bytes))
        .collect()
}

/// A path with a node of most types.
fn path() -> DevicePathBuf {
    let mut path = DevicePathBuf::new();
    let signature = HardDriveSignature::Gpt(guids::BLOCK_IO);
    let drive = HardDrive {
        number: 1,
        start: 0x800,
        size: 0x1000,
        signature,
    };
    let all = [
        path.push_pci_root(0),
        path.push_pci(3, 0),
        path.push_memory_mapped(11, 0xa00_0000, 0xa00_01ff),
        path.push_vendor_hardware(guids::RNG, &[1, 2]),
        path.push_vendor_media(guids::LOAD_FILE2, &[]),
        path.push_uart(115_200, 8, 1, 1),
        path.push_hard_drive(&drive),
        path.push_file_path(r"\EFI\BOOT\BOOTX64.EFI"),
    ];
    assert!(all.iter().all(Result::is_ok));
    path
}

/// Device paths of one and two instances.
pub(crate) fn device_paths() -> Vec<Seed> {
    let path = path();
    let mut two = path.clone();
    two.append_instance(path.as_path()).expect("a short path");
    vec![("nodes", path.into_bytes()), ("instances", two.into_bytes())]
}

/// A file of variables and a load option.
pub(crate) fn variables() -> Vec<Seed> {
    let path = path();
    let option = LoadOption {
        attributes: LoadOptionAttributes::ACTIVE,
        description: "debian".to_owned(),
        path: path.as_path(),
        optional_data: &[1, 2],
    };
    let option = option.to_bytes();
    let mut store = Variables::<0x1000>::new();
    let all = [
        (name("BootOrder"), vec![0, 0]),
        (option_name(0), option.clone()),
        (name("BootNext"), vec![0, 0]),
    ];
    for (name, data) in all {
        store
            .set(&name, guids::GLOBAL_VARIABLE, 7, &data)
            .expect("a small variable");
    }
    vec![("file", store.to_file()), ("option", option)]
}

/// The sectors of a file, in memory.
struct Sectors(Vec<u8>);

impl Storage for Sectors {
    type Error = std::convert::Infallible;

    fn len(&self) -> u64 {
        self.0.len() as u64
    }

    fn read(&mut self, offset: u64, buffer: &mut [u8]) -> Result<(), Self::Error> {
        let start = usize::try_from(offset).expect("a small file");
        buffer.copy_from_slice(&self.0[start..start + buffer.len()]);
        Ok(())
    }

    fn write(&mut self, offset: u64, data: &[u8]) -> Result<(), Self::Error> {
        let start = usize::try_from(offset).expect("a small file");
        self.0[start..start + data.len()].copy_from_slice(data);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Self::Error> {
        Ok(())
    }
}

/// Blank files, and files with one and two slots, after the bytes that choose what is done.
pub(crate) fn variable_files() -> Vec<Seed> {
    let mut store = Variables::<0x2000>::new();
    let mut file = SlotFile::open(Sectors(vec![0; 16 * 1024]), &mut store).expect("a blank file");
    let mut seeds = vec![("blank", vec![3, 8])];
    for (seed, text) in [("one", "BootOrder"), ("two", "BootNext")] {
        store
            .set(&name(text), guids::GLOBAL_VARIABLE, 7, &[0, 0])
            .expect("a small variable");
        file.save(&store).expect("a large file");
        let bytes = file.storage().0.iter();
        seeds.push((seed, [20, 7].iter().chain(bytes).copied().collect()));
    }
    seeds
}
