//! Boots from generated disks: what is loaded, which entry is chosen, and what is reported.

#[cfg(feature = "ext4")]
mod ext4;

use std::io::{Cursor, Write};
use std::sync::Mutex;

use boot_core::{
    AdditionalLoad, Arch, BootPlan, BootProtocol, BootRequest, CpuState, IncompatibleImage, KernelFormat,
    KernelImage, Machine, MemoryMap, PlanError, RequestPart, SliceMemory, Support,
};
use disk::{BlockDevice, BlockError, BlockErrorKind, BlockSize, SourceBlocks};
use fmt_test::elf::{EM_X86_64, Elf, load};
use fw_boot::{BootConfig, boot};

const RAM: u64 = 64 << 20;
const KERNEL: u64 = 0x20_0000;

fn kernel() -> Vec<u8> {
    let code: Vec<u8> = (0..=255).collect();
    Elf::new(EM_X86_64, KERNEL + 0x10, vec![load(KERNEL, &code, 0x1000)]).bytes()
}

/// A disk with one FAT file system, without a partition table.
fn disk(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut image = Cursor::new(vec![0; 4 << 20]);
    fatfs::format_volume(&mut image, fatfs::FormatVolumeOptions::new()).unwrap();
    {
        let volume = fatfs::FileSystem::new(&mut image, fatfs::FsOptions::new()).unwrap();
        for (path, bytes) in files {
            let mut directory = volume.root_dir();
            let (parents, name) = path.rsplit_once('/').unwrap_or(("", path));
            for parent in parents.split('/').filter(|parent| !parent.is_empty()) {
                directory = directory.create_dir(parent).unwrap();
            }
            directory.create_file(name).unwrap().write_all(bytes).unwrap();
        }
    }
    image.into_inner()
}

/// What a boot gave: the registers, the reports, and the memory.
struct Booted {
    state: Option<CpuState>,
    log: Vec<String>,
    ram: Vec<u8>,
}

fn boot_devices(disks: &[&dyn BlockDevice], own: &[AdditionalLoad<'_>], options: &[&str]) -> Booted {
    let formats: [&dyn KernelFormat; 1] = [&fmt_elf::FORMAT];
    let protocols: [&dyn BootProtocol; 1] = [&proto_linux_x86::PROTOCOL];
    let machine = Machine::new(Arch::X86_64, MemoryMap::pc(RAM).unwrap());
    let mut ram = vec![0xaa; usize::try_from(RAM).unwrap()];
    let mut memory = SliceMemory::new();
    memory.add(0, &mut ram).unwrap();
    let config = BootConfig::new(&machine, &formats, &protocols)
        .with_own(own)
        .with_options(options);
    let mut log = Vec::new();
    let state = boot(disks, &config, &mut memory, &mut |event| {
        log.push(event.to_string());
    });
    drop(memory);
    Booted { state, log, ram }
}

fn boot_image(image: &[u8], own: &[AdditionalLoad<'_>]) -> Booted {
    let device = SourceBlocks::new(image, BlockSize::B512).unwrap();
    boot_devices(&[&device], own, &["virtio_mmio.device=512@0xfeb00000:5"])
}

impl Booted {
    /// The bytes to which the field of the zero page at `offset` points.
    fn pointed(&self, offset: usize) -> &[u8] {
        let state = self.state.as_ref().unwrap().x86_64().unwrap();
        let at = usize::try_from(state.rsi).unwrap() + offset;
        let addr = u32::from_le_bytes(self.ram[at..at + 4].try_into().unwrap());
        &self.ram[usize::try_from(addr).unwrap()..]
    }
}

#[test]
fn disks_without_entries_are_reported() {
    let image = disk(&[("KERNEL", &kernel()), ("LOADER/README", b"")]);
    let booted = boot_image(&image, &[]);
    assert_eq!(booted.state, None);
    assert_eq!(booted.log, ["disk 0 has no boot entries"]);
    let booted = boot_devices(&[], &[], &[]);
    assert_eq!((booted.state, booted.log.len()), (None, 0));
}

/// A unified kernel image with this kernel.
fn uki(kernel: &[u8], cmdline: &str) -> Vec<u8> {
    fmt_test::pe::Pe::new(0x8664)
        .section(".osrel", "ID=test\nPRETTY_NAME=\"Test OS\"\nVERSION_ID=2\n")
        .section(".cmdline", cmdline)
        .section(".ucode", "first")
        .section(".initrd", "second")
        .section(".linux", kernel)
        .build()
}

#[test]
fn a_unified_kernel_image_is_loaded() {
    let image = disk(&[("EFI/LINUX/A.EFI", &uki(&kernel(), "quiet"))]);
    let booted = boot_image(&image, &[]);
    assert_eq!(booted.log, ["loading Test OS (A.EFI)"]);
    let state = booted.state.as_ref().unwrap().x86_64().unwrap();
    assert_eq!(state.rip, KERNEL + 0x10);
    let start = usize::try_from(KERNEL).unwrap();
    let code: Vec<u8> = (0..=255).collect();
    assert_eq!(booted.ram[start..start + 256], code);
    // `cmd_line_ptr` and `ramdisk_image` of the setup header.
    assert!(
        booted
            .pointed(0x228)
            .starts_with(b"quiet virtio_mmio.device=512@0xfeb00000:5\0")
    );
    assert!(booted.pointed(0x218).starts_with(b"first\0\0\0second"));
}

#[test]
fn an_entry_of_type_1_is_loaded() {
    let entry = b"title Test OS\nlinux /vmlinux\ninitrd /initrd\noptions root=/dev/vda2 ro\n";
    let image = disk(&[
        ("loader/entries/test.conf", entry),
        ("vmlinux", &kernel()),
        ("initrd", b"archive"),
    ]);
    let booted = boot_image(&image, &[]);
    assert_eq!(booted.log, ["loading Test OS (test.conf)"]);
    assert!(
        booted
            .pointed(0x228)
            .starts_with(b"root=/dev/vda2 ro virtio_mmio.device=512@0xfeb00000:5\0")
    );
    assert!(booted.pointed(0x218).starts_with(b"archive"));
}

#[test]
fn an_entry_that_fails_is_reported_and_the_next_one_is_loaded() {
    let image = disk(&[
        // The version decides the order: the highest first.
        ("EFI/LINUX/B-3.EFI", &uki(b"not a kernel", "")),
        ("EFI/LINUX/B-1.EFI", &uki(&kernel(), "")),
    ]);
    let booted = boot_image(&image, &[]);
    assert!(booted.state.is_some());
    assert_eq!(booted.log.len(), 3, "{:?}", booted.log);
    assert_eq!(booted.log[0], "loading Test OS (B-3.EFI)");
    assert!(
        booted.log[1].starts_with(
            "B-3.EFI cannot be booted: the kernel .linux of /EFI/Linux/B-3.EFI cannot be used: "
        ),
        "{}",
        booted.log[1]
    );
    assert_eq!(booted.log[2], "loading Test OS (B-1.EFI)");
}

#[test]
fn nothing_is_loaded_to_memory_of_the_loader() {
    let image = disk(&[("EFI/LINUX/A.EFI", &uki(&kernel(), ""))]);
    let own = [AdditionalLoad::present("firmware", KERNEL, 0x1000)];
    let booted = boot_image(&image, &own);
    assert_eq!(booted.state, None);
    assert!(
        booted.log[1].contains("the boot cannot be planned"),
        "{:?}",
        booted.log
    );
    let own = [AdditionalLoad::present("firmware", 0x1000, 0x9_0000)];
    let booted = boot_image(&image, &own);
    assert!(booted.state.is_some(), "{:?}", booted.log);
    assert!(booted.ram[0x1000..0x9_1000].iter().all(|byte| *byte == 0xaa));
}

/// A disk on which one block cannot be read.
struct Broken<'a> {
    inner: SourceBlocks<&'a [u8]>,
    block: u64,
}

impl BlockDevice for Broken<'_> {
    fn block_size(&self) -> BlockSize {
        self.inner.block_size()
    }

    fn block_count(&self) -> u64 {
        self.inner.block_count()
    }

    fn read_blocks(&self, first: u64, buf: &mut [u8]) -> Result<(), BlockError> {
        let count = self.block_size().blocks_in(buf.len() as u64);
        if (first..first + count).contains(&self.block) {
            let error = std::io::Error::other("medium error");
            return Err(BlockError::new(
                self.block,
                1,
                BlockErrorKind::Device(Box::new(error)),
            ));
        }
        self.inner.read_blocks(first, buf)
    }
}

#[test]
fn a_block_that_cannot_be_read_is_named_and_the_next_disk_is_tried() {
    let files: [(&str, &[u8]); 1] = [("EFI/LINUX/A.EFI", &uki(&kernel(), ""))];
    let image = disk(&files);
    let code: Vec<u8> = (0..=255).collect();
    let at = image.windows(256).position(|bytes| bytes == code).unwrap();
    let block = u64::try_from(at / 512).unwrap();
    let broken = Broken {
        inner: SourceBlocks::new(&image[..], BlockSize::B512).unwrap(),
        block,
    };
    let whole = SourceBlocks::new(&image[..], BlockSize::B512).unwrap();
    let booted = boot_devices(&[&broken, &whole], &[], &[]);
    assert!(booted.state.is_some(), "{:?}", booted.log);
    let failure = booted
        .log
        .iter()
        .find(|line| line.contains("cannot be booted"))
        .unwrap();
    assert!(failure.contains(&format!("block {block}: ")), "{failure}");
    assert!(failure.ends_with("medium error"), "{failure}");
}

/// The random bytes and the random number of a request.
type Seeds = (Option<Vec<u8>>, Option<u64>);

/// A protocol that cannot plan any boot, and the seeds of the requests that it was asked to plan.
struct Unable {
    accepts: &'static [RequestPart],
    seeds: Mutex<Vec<Seeds>>,
}

impl BootProtocol for Unable {
    fn name(&self) -> &'static str {
        "unable"
    }

    fn accepts(&self) -> &'static [RequestPart] {
        self.accepts
    }

    fn supports(&self, image: &KernelImage) -> Result<Support, IncompatibleImage> {
        proto_linux_x86::PROTOCOL.supports(image)
    }

    fn plan(&self, request: &BootRequest<'_>) -> Result<BootPlan, PlanError> {
        let seed = request.rng_seed.map(<[u8]>::to_vec);
        self.seeds.lock().unwrap().push((seed, request.kaslr_seed));
        Err(PlanError::RsdpInRam { addr: 0x1000 })
    }
}

#[test]
fn a_boot_is_planned_once_with_the_seeds_that_the_protocol_hands_over() {
    let image = disk(&[("EFI/LINUX/A.EFI", &uki(&kernel(), ""))]);
    let device = SourceBlocks::new(&image, BlockSize::B512).unwrap();
    let formats: [&dyn KernelFormat; 1] = [&fmt_elf::FORMAT];
    let machine = Machine::new(Arch::X86_64, MemoryMap::pc(RAM).unwrap());
    let check = |accepts, expected: Seeds| {
        let protocol = Unable {
            accepts,
            seeds: Mutex::default(),
        };
        let protocols: [&dyn BootProtocol; 1] = [&protocol];
        let config = BootConfig::new(&machine, &formats, &protocols)
            .with_rng_seed(b"random")
            .with_kaslr_seed(5);
        let mut log = Vec::new();
        let state = boot(&[&device], &config, &mut SliceMemory::new(), &mut |event| {
            log.push(event.to_string());
        });
        assert_eq!(state, None);
        assert!(
            log[1].starts_with("A.EFI cannot be booted: the boot cannot be planned"),
            "{log:?}"
        );
        assert_eq!(*protocol.seeds.lock().unwrap(), [expected]);
    };
    let random = || Some(b"random".to_vec());
    check(&[], (None, None));
    check(&[RequestPart::RngSeed], (random(), None));
    check(&[RequestPart::KaslrSeed], (None, Some(5)));
    check(
        &[RequestPart::KaslrSeed, RequestPart::RngSeed],
        (random(), Some(5)),
    );
}
