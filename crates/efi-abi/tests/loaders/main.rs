//! Boot loaders of Debian, which run in this program over the services of the firmware: systemd-boot, and shim before it. What they boot is a
//! function of the test that looks at what it got.
//!
//! The loaders are fixtures, which `cargo xtask test` provides; without them, and on other CPUs, the tests count as skipped.
#![expect(unsafe_code, reason = "services are called by their pointers")]
#![expect(
    clippy::multiple_unsafe_ops_per_block,
    reason = "a call reads the function from its table in the same block"
)]

#[path = "../efi/images.rs"]
mod images;
#[expect(dead_code, reason = "the other tests use the rest")]
#[path = "../efi/machine.rs"]
mod machine;
#[path = "../efi/memory_file_system.rs"]
mod memory_file_system;

use std::ffi::c_void;
use std::path::{Path, PathBuf};
use std::ptr::null_mut;
use std::sync::Mutex;
use std::time::Duration;
use std::{env, fs, process, thread};

use disk::{BlockSize, SourceBlocks};
use efi_abi::raw::protocol::device_path::DevicePathProtocol;
use efi_abi::raw::protocol::loaded_image::LoadedImageProtocol;
use efi_abi::raw::protocol::media::LoadFile2Protocol;
use efi_abi::raw::table::system::SystemTable;
use efi_abi::raw::{Boolean, Handle, Status};
use efi_abi::{ImageSource, guids};
use efi_core::device_path::{DevicePathBuf, HardDrive, HardDriveSignature};
use efi_core::guid;
use libtest_mimic::{Arguments, Completion, Failed, Trial};

use images::application;
use machine::Machine;
use memory_file_system::MemoryFileSystem;

const INITRD: &[u8] = b"the initrd of the entry";
const ENTRY: &[u8] = b"title A\nlinux /app.efi\ninitrd /initrd\noptions quiet splash\n";

/// Time after which a loader hangs.
const LIMIT: Duration = Duration::from_mins(2);

/// What the last booted program got: its options and its initrd.
static BOOTED: Mutex<Option<(String, Vec<u8>)>> = Mutex::new(None);

/// The program that loaders boot.
unsafe extern "efiapi" fn kernel(image: Handle, system: *mut SystemTable) -> Status {
    // SAFETY: the firmware passes its system table.
    let boot = unsafe { &*(*system).boot_services };
    let mut interface = null_mut::<c_void>();
    // SAFETY: the pointers are valid.
    let status = unsafe { (boot.handle_protocol)(image, &guids::LOADED_IMAGE, &raw mut interface) };
    if status != Status::SUCCESS {
        return status;
    }
    // SAFETY: the interface of the protocol.
    let loaded = unsafe { &*interface.cast::<LoadedImageProtocol>() };
    let units = (0..loaded.load_options_size as usize / 2)
        // SAFETY: the options have this length.
        .map(|index| unsafe { loaded.load_options.cast::<u16>().add(index).read_unaligned() })
        .collect::<Vec<_>>();
    let options = String::from_utf16_lossy(&units);

    let mut path = DevicePathBuf::new();
    if path
        .push_vendor_media(guid!("5568e427-68fc-4f3d-ac74-ca555231cc68"), &[])
        .is_err()
    {
        return Status::ABORTED;
    }
    let path = path.into_bytes();
    let mut rest = path.as_ptr().cast::<DevicePathProtocol>();
    let mut handle = null_mut();
    // SAFETY: the pointers are valid.
    let status = unsafe { (boot.locate_device_path)(&guids::LOAD_FILE2, &raw mut rest, &raw mut handle) };
    let mut initrd = Vec::new();
    if status == Status::SUCCESS {
        let mut interface = null_mut::<c_void>();
        // SAFETY: the pointers are valid.
        let _ = unsafe { (boot.handle_protocol)(handle, &guids::LOAD_FILE2, &raw mut interface) };
        let interface = interface.cast::<LoadFile2Protocol>();
        let mut size = 0;
        // SAFETY: a null buffer asks for the size.
        let _ =
            unsafe { ((*interface).load_file)(interface, rest, Boolean::FALSE, &raw mut size, null_mut()) };
        initrd.resize(size, 0);
        let target = initrd.as_mut_ptr().cast();
        // SAFETY: the buffer has the size.
        let status =
            unsafe { ((*interface).load_file)(interface, rest, Boolean::FALSE, &raw mut size, target) };
        if status != Status::SUCCESS {
            initrd.clear();
        }
    }
    if let Ok(mut booted) = BOOTED.lock() {
        *booted = Some((options, initrd));
    }
    Status::ABORTED
}

fn fixture(name: &str) -> Result<PathBuf, String> {
    if !cfg!(target_arch = "x86_64") {
        return Err("the loaders are those of x86_64".to_owned());
    }
    let directory = env::var_os("VMBOOT_FIXTURES")
        .ok_or("VMBOOT_FIXTURES is not set; `cargo xtask test` provides the fixtures")?;
    let path = Path::new(&directory).join("images/x86_64").join(name);
    if path.exists() {
        Ok(path)
    } else {
        Err(format!("the fixture {name} is missing"))
    }
}

/// Boots a volume with these loaders, the first of which is started, and checks what the kernel got. The machine has the variables that
/// the loaders left.
fn boot(files: &[(&str, &[u8])]) -> Result<Vec<String>, Failed> {
    *BOOTED.lock().map_err(|error| error.to_string())? = None;
    let kernel = application(kernel);
    let mut all: Vec<(&str, &[u8])> = files.to_vec();
    all.extend([
        ("loader/loader.conf", &b"timeout 0\n"[..]),
        ("loader/entries/a.conf", ENTRY),
        ("app.efi", &kernel),
        ("initrd", INITRD),
    ]);
    let machine = Machine::new();
    let device = SourceBlocks::new(vec![0; 64 * 512], BlockSize::B512)?;
    let mut path = DevicePathBuf::new();
    path.push_pci_root(0)?;
    let signature = HardDriveSignature::Gpt(guid!("a3d1b3c4-0000-4000-8000-000000000001"));
    path.push_hard_drive(&HardDrive {
        number: 1,
        start: 0,
        size: 64,
        signature,
    })?;
    let handle = machine
        .firmware
        .add_disk(Box::leak(Box::new(device)), path.as_path(), true)?;
    let volume = Box::leak(Box::new(MemoryFileSystem::new(&all)));
    machine.firmware.add_volume(handle, volume)?;
    path.push_file_path(r"\EFI\BOOT\BOOTX64.EFI")?;
    let image = machine.firmware.load_image(ImageSource::Path(path.as_path()))?;
    let log = std::sync::Arc::clone(&machine.log);
    thread::spawn(move || {
        thread::sleep(LIMIT);
        let log = log.lock().map(|log| log.output.clone()).unwrap_or_default();
        eprintln!("the loader hangs; its console: {}", String::from_utf8_lossy(&log));
        process::exit(101);
    });
    // The kernel returns to the loader with an error, and the loader to the firmware.
    let end = machine.firmware.start_image(image)?;
    let console = machine.output();
    let booted = BOOTED.lock().map_err(|error| error.to_string())?.take();
    let Some((options, initrd)) = booted else {
        return Err(format!("nothing was booted: {end:?}\n{console}").into());
    };
    if options != "initrd=\\initrd quiet splash\0" || initrd != INITRD {
        return Err(format!("the kernel got {options:?} and {initrd:?}\n{console}").into());
    }
    let names = machine.firmware.variables(|variables| {
        let names = variables.entries().map(|entry| entry.units().collect::<Vec<_>>());
        Ok(names.map(|name| String::from_utf16_lossy(&name)).collect())
    })?;
    Ok(names)
}

/// Checks that the loader set a variable.
fn check_variable(names: &[String], wanted: &str) -> Result<Completion, Failed> {
    if names.iter().any(|name| name == wanted) {
        Ok(Completion::Completed)
    } else {
        Err(format!("{wanted} is not one of {names:?}").into())
    }
}

fn systemd_boot(loader: &Path) -> Result<Completion, Failed> {
    let names = boot(&[("EFI/BOOT/BOOTX64.EFI", &fs::read(loader)?)])?;
    check_variable(&names, "LoaderEntrySelected")
}

fn shim(shim: &Path, loader: &Path) -> Result<Completion, Failed> {
    let names = boot(&[
        ("EFI/BOOT/BOOTX64.EFI", &fs::read(shim)?),
        ("EFI/BOOT/grubx64.efi", &fs::read(loader)?),
    ])?;
    check_variable(&names, "LoaderEntrySelected")?;
    check_variable(&names, "MokListRT")
}

fn main() {
    let mut arguments = Arguments::from_args();
    // The program has one firmware, and its loaders one log.
    arguments.test_threads = Some(1);
    let trials = vec![
        Trial::ignorable_test("systemd_boot", || match fixture("systemd-bootx64.efi") {
            Ok(loader) => systemd_boot(&loader),
            Err(reason) => Ok(Completion::ignored_with(reason)),
        }),
        Trial::ignorable_test("shim_and_systemd_boot", || {
            match (fixture("shimx64.efi"), fixture("systemd-bootx64.efi")) {
                (Ok(first), Ok(second)) => shim(&first, &second),
                (Err(reason), _) | (_, Err(reason)) => Ok(Completion::ignored_with(reason)),
            }
        }),
    ];
    libtest_mimic::run(&arguments, trials).exit();
}
