#![doc = include_str!("../README.md")]
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]
#![expect(
    unsafe_code,
    reason = "KVM uses the guest memory by its address in this process"
)]
#![expect(
    clippy::missing_errors_doc,
    reason = "all errors are those of KVM, files and plans"
)]

pub mod command_line;

use std::error::Error;
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use boot_core::cpu::x86_64::State;
use boot_core::memory_map::pc;
use boot_core::{Arch, BootRequest, ByteSource, Cmdline, Machine, MemoryMap, Sources, detect, protocol};
use guest_ram::{GuestRam, HugePages};
use hv_kvm_regs::x86_64;
use kvm_bindings::{
    CpuId, KVM_MAX_CPUID_ENTRIES, KVM_PIT_SPEAKER_DUMMY, Msrs, kvm_pit_config, kvm_userspace_memory_region,
};
use kvm_ioctls::{Cap, Kvm, VcpuExit, VcpuFd, VmFd};
use vm_memory::{GuestAddress, GuestMemoryBackend, GuestMemoryMmap, GuestMemoryRegion};
use vm_superio::{Serial, Trigger, serial};
use vmm_sys_util::eventfd::EventFd;

/// What to boot, and with how much memory.
#[derive(Clone, Copy, Debug)]
pub struct Config<'a> {
    /// The kernel: a bzImage or an ELF file.
    pub kernel: &'a Path,
    /// The initrd.
    pub initrd: Option<&'a Path>,
    /// The kernel command line.
    pub cmdline: &'a str,
    /// Size of the guest's memory in bytes: at least 2 MiB, a multiple of 4 KiB.
    pub memory: u64,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The guest reset the machine through the keyboard controller.
    Reset,
    /// The CPU shut down after a triple fault.
    TripleFault,
}

/// Why a machine could not be built or run.
#[derive(Debug, thiserror::Error)]
pub enum VmmError {
    /// A request to the host failed.
    #[error("{0} failed")]
    Request(&'static str, #[source] kvm_ioctls::Error),
    /// KVM does not have all MSRs of the entry state.
    #[error("KVM accepts only {0} of the MSRs")]
    Msrs(usize),
    /// The output of the guest could not be written, or its interrupt not raised.
    #[error("the serial port failed")]
    Serial(#[source] serial::Error<io::Error>),
    /// The vCPU stopped for a reason that this program does not handle.
    #[error("unexpected exit of the vCPU: {0}")]
    Exit(String),
}

/// Adds the name of a request to its error.
fn failed(request: &'static str) -> impl Fn(kvm_ioctls::Error) -> VmmError {
    move |source| VmmError::Request(request, source)
}

/// Boots the kernel and runs it until the guest resets the machine. `console` gets the output of the serial port.
pub fn boot(config: &Config<'_>, console: impl Write) -> Result<Outcome, Box<dyn Error>> {
    // 1. What is the kernel? The formats are tried by priority; they read headers only.
    let kernel = File::open(config.kernel)?;
    let initrd = config.initrd.map(File::open).transpose()?;
    let image = detect(&[&fmt_bzimage::FORMAT, &fmt_elf::FORMAT], &kernel)?;

    // 2. Where does everything go? A plan is plain data: nothing is written yet. `println!("{plan}")` draws it.
    let machine = Machine::new(Arch::X86_64, MemoryMap::pc(config.memory)?);
    let cmdline = Cmdline::parse(config.cmdline)?;
    let initrd_len = initrd.as_ref().map(ByteSource::len).transpose()?;
    let request = BootRequest::new(&image, &machine, &cmdline).with_initrd(initrd_len.unwrap_or(0));
    let protocol = protocol::select(&[&proto_linux_x86::PROTOCOL, &proto_pvh::PROTOCOL], &image)?;
    let plan = protocol.plan(&request)?;

    // 3. Guest memory as any VMM with vm-memory has it, and the plan in it. The kernel goes from the file to guest memory
    //    without a buffer.
    let memory = Arc::new(guest_memory(config.memory)?);
    let mut sources = Sources::kernel(&kernel);
    sources.initrd = initrd.as_ref().map(|file| file as &dyn ByteSource);
    let mut ram = GuestRam::from_memory(Arc::clone(&memory));
    ram.advise_huge_pages(HugePages::Advise);
    plan.load(&sources, &mut ram)?;

    // 4. A virtual machine with this memory, and a vCPU with the registers of the plan.
    let kvm = Kvm::new().map_err(failed("opening /dev/kvm"))?;
    let vm = create_vm(&kvm)?;
    for (slot, region) in (0..).zip(memory.iter()) {
        let region = kvm_userspace_memory_region {
            slot,
            guest_phys_addr: region.start_addr().0,
            memory_size: region.len(),
            userspace_addr: u64::try_from(region.as_ptr().expose_provenance())?,
            flags: 0,
        };
        // SAFETY: the address is that of a mapping of this length, which `memory` owns until the end of this function, when no
        // vCPU is running any more. There are no Rust references to its bytes.
        unsafe { vm.set_user_memory_region(region) }.map_err(failed("KVM_SET_USER_MEMORY_REGION"))?;
    }
    let mut vcpu = create_vcpu(&kvm, &vm)?;
    set_registers(&vcpu, plan.boot_cpu().x86_64()?)?;

    // 5. Run it.
    Ok(run(&vm, &mut vcpu, console)?)
}

/// The memory of a PC: from address 0 to the hole for devices, and the rest above 4 GiB.
///
/// The map that the guest gets ([`MemoryMap::pc`]) reserves 0xa0000 to 0xfffff, the place of video memory and ROMs. There is
/// memory nevertheless: Linux scans these addresses for firmware tables, and each read without memory would be an exit.
fn guest_memory(len: u64) -> Result<GuestMemoryMmap, Box<dyn Error>> {
    let low = len.min(pc::DEVICE_HOLE_START);
    let mut ranges = vec![(GuestAddress(0), usize::try_from(low)?)];
    if len > low {
        ranges.push((GuestAddress(pc::ABOVE_4G), usize::try_from(len - low)?));
    }
    Ok(GuestMemoryMmap::from_ranges(&ranges)?)
}

/// A virtual machine with interrupt controllers and a timer, without memory.
pub fn create_vm(kvm: &Kvm) -> Result<VmFd, VmmError> {
    /// Three pages that KVM uses on some hosts: in the hole for devices.
    const TSS: usize = 0xfffb_d000;
    let vm = kvm.create_vm().map_err(failed("KVM_CREATE_VM"))?;
    vm.set_tss_address(TSS).map_err(failed("KVM_SET_TSS_ADDR"))?;
    vm.create_irq_chip().map_err(failed("KVM_CREATE_IRQCHIP"))?;
    // With its output at the port of the speaker, which Linux polls.
    let pit = kvm_pit_config {
        flags: KVM_PIT_SPEAKER_DUMMY,
        ..kvm_pit_config::default()
    };
    vm.create_pit2(pit).map_err(failed("KVM_CREATE_PIT2"))?;
    Ok(vm)
}

/// vCPU 0 with all features that KVM supports.
pub fn create_vcpu(kvm: &Kvm, vm: &VmFd) -> Result<VcpuFd, VmmError> {
    /// Features in `ECX` of leaf 1. The supported table does not have the second one.
    const HYPERVISOR: u32 = 1 << 31;
    const TSC_DEADLINE: u32 = 1 << 24;
    let vcpu = vm.create_vcpu(0).map_err(failed("KVM_CREATE_VCPU"))?;
    let mut cpuid: CpuId = kvm
        .get_supported_cpuid(KVM_MAX_CPUID_ENTRIES)
        .map_err(failed("KVM_GET_SUPPORTED_CPUID"))?;
    for leaf in cpuid.as_mut_slice() {
        match leaf.function {
            // The APIC id is that of the vCPU, not of the host's CPU.
            1 => {
                leaf.ebx &= 0x00ff_ffff;
                leaf.ecx |= HYPERVISOR;
                if kvm.check_extension(Cap::TscDeadlineTimer) {
                    leaf.ecx |= TSC_DEADLINE;
                }
            }
            0xb | 0x1f => leaf.edx = 0,
            _ => {}
        }
    }
    vcpu.set_cpuid2(&cpuid).map_err(failed("KVM_SET_CPUID2"))?;
    Ok(vcpu)
}

/// Sets the registers of a plan. All others have the values of a new vCPU.
pub fn set_registers(vcpu: &VcpuFd, state: &State) -> Result<(), Box<dyn Error>> {
    let mut sregs = vcpu.get_sregs().map_err(failed("KVM_GET_SREGS"))?;
    x86_64::write_sregs(state, &mut sregs);
    vcpu.set_sregs(&sregs).map_err(failed("KVM_SET_SREGS"))?;
    vcpu.set_regs(&x86_64::regs(state))
        .map_err(failed("KVM_SET_REGS"))?;
    vcpu.set_fpu(&x86_64::fpu()).map_err(failed("KVM_SET_FPU"))?;
    let msrs = Msrs::from_entries(&x86_64::msrs(state))?;
    let set = vcpu.set_msrs(&msrs).map_err(failed("KVM_SET_MSRS"))?;
    if set < msrs.as_slice().len() {
        return Err(VmmError::Msrs(set).into());
    }
    Ok(())
}

/// I/O ports and interrupt of the first serial port of a PC.
const SERIAL: u16 = 0x3f8;
const SERIAL_LAST: u16 = SERIAL + 7;
const SERIAL_IRQ: u32 = 4;
/// Data port of the real-time clock.
const RTC_DATA: u16 = 0x71;
/// Command and status port of the keyboard controller, and its command that resets a PC.
const KEYBOARD: u16 = 0x64;
const RESET: u8 = 0xfe;

/// The interrupt line of the serial port.
struct Line(EventFd);

impl Trigger for Line {
    type E = io::Error;

    fn trigger(&self) -> io::Result<()> {
        self.0.write(1)
    }
}

/// Runs the vCPU until the guest resets the machine. Each exit is an access of the guest to an address without memory: a device,
/// or nothing.
pub fn run(vm: &VmFd, vcpu: &mut VcpuFd, console: impl Write) -> Result<Outcome, VmmError> {
    let irq = EventFd::new(0).map_err(|error| failed("eventfd")(error.into()))?;
    vm.register_irqfd(&irq, SERIAL_IRQ).map_err(failed("KVM_IRQFD"))?;
    let mut serial = Serial::new(Line(irq), console);
    loop {
        match vcpu.run() {
            Ok(VcpuExit::IoOut(port @ SERIAL..=SERIAL_LAST, data)) => {
                for byte in data {
                    let offset = (port - SERIAL).to_le_bytes()[0];
                    serial.write(offset, *byte).map_err(VmmError::Serial)?;
                }
            }
            Ok(VcpuExit::IoIn(port @ SERIAL..=SERIAL_LAST, data)) => {
                data.fill_with(|| serial.read((port - SERIAL).to_le_bytes()[0]));
            }
            Ok(VcpuExit::IoOut(KEYBOARD, [RESET])) => return Ok(Outcome::Reset),
            // Linux waits neither for a keyboard whose output is never empty, nor for a clock that does not change its time now.
            Ok(VcpuExit::IoIn(KEYBOARD, data)) => data.fill(1),
            Ok(VcpuExit::IoIn(RTC_DATA, data)) => data.fill(0),
            // Nothing is there.
            Ok(VcpuExit::IoIn(_, data) | VcpuExit::MmioRead(_, data)) => data.fill(0xff),
            Ok(VcpuExit::IoOut(..) | VcpuExit::MmioWrite(..)) => {}
            Ok(VcpuExit::Shutdown) => return Ok(Outcome::TripleFault),
            Ok(exit) => return Err(VmmError::Exit(format!("{exit:?}"))),
            Err(error) if error.errno() == EINTR => {}
            Err(error) => return Err(failed("KVM_RUN")(error)),
        }
    }
}

/// A signal interrupted the request.
const EINTR: i32 = 4;
