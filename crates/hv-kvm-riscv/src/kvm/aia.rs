//! Advanced interrupt architecture (AIA) in the kernel: an APLIC, and an IMSIC for each vCPU.
//!
//! The kernel requires this order of operations: create the device before any vCPU runs; set sources, identities and the address
//! of the APLIC; create all vCPUs; set the address of each vCPU's interrupt file; initialise the device.
#![expect(unsafe_code, reason = "passes addresses of integers to KVM_GET_DEVICE_ATTR")]

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, Ordering},
};

use boot_core::{GuestRange, arith};
use hv_core::IrqError;
use hv_kvm::HarnessError;
use kvm_bindings::{
    KVM_DEV_RISCV_AIA_ADDR_APLIC, KVM_DEV_RISCV_AIA_CONFIG_HART_BITS, KVM_DEV_RISCV_AIA_CONFIG_IDS,
    KVM_DEV_RISCV_AIA_CONFIG_SRCS, KVM_DEV_RISCV_AIA_CTRL_INIT, KVM_DEV_RISCV_AIA_GRP_ADDR,
    KVM_DEV_RISCV_AIA_GRP_APLIC, KVM_DEV_RISCV_AIA_GRP_CONFIG, KVM_DEV_RISCV_AIA_GRP_CTRL,
    KVM_DEV_RISCV_AIA_GRP_IMSIC, KVM_DEV_RISCV_AIA_IMSIC_ISEL_BITS, KVM_DEV_RISCV_IMSIC_SIZE,
    kvm_create_device, kvm_device_attr, kvm_device_type_KVM_DEV_TYPE_RISCV_AIA,
};
use kvm_ioctls::{DeviceFd, VmFd};

use super::request::failed_request;
use crate::{
    ImsicRegister, KvmError,
    layout::{IrqchipLayout, hart_index_bits},
};

/// Registers of an APLIC domain that a reset writes (RISC-V AIA 1.0, section 4.5).
mod aplic {
    pub(super) const DOMAINCFG: u64 = 0x0000;
    /// `sourcecfg[1]`; the others follow.
    pub(super) const SOURCECFG: u64 = 0x0004;
    pub(super) const IN_CLRIP: u64 = 0x1d00;
    pub(super) const CLRIE: u64 = 0x1f00;
    /// `target[1]`; the others follow.
    pub(super) const TARGET: u64 = 0x3004;
}

/// Limits of the AIA in the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limits {
    /// Highest interrupt identity.
    pub(super) ids: u32,
}

#[derive(Debug)]
pub(super) struct Aia {
    device: DeviceFd,
    sources: u32,
    vcpus: u32,
    ids: u32,
    /// The interrupt files.
    imsics: GuestRange,
    /// Whether the device is initialised; before that its registers are not accessible.
    initialised: AtomicBool,
}

/// Creates the device.
fn create(vm: &VmFd) -> Result<DeviceFd, KvmError> {
    let mut device = kvm_create_device {
        type_: kvm_device_type_KVM_DEV_TYPE_RISCV_AIA,
        ..kvm_create_device::default()
    };
    hv_kvm::retry_interrupted(|| vm.create_device(&mut device))
        .map_err(failed_request("KVM_CREATE_DEVICE (KVM_DEV_TYPE_RISCV_AIA)"))
}

/// Limits of the AIA; `None` on hosts without an AIA.
pub(super) fn probe(vm: &VmFd) -> Result<Option<Limits>, KvmError> {
    match create(vm) {
        Ok(device) => Ok(Some(Limits {
            ids: get_config(&device, KVM_DEV_RISCV_AIA_CONFIG_IDS)?,
        })),
        // ENODEV: the harts of the host lack the extension, or the kernel lacks the device.
        Err(KvmError::Harness(HarnessError::Request { source, .. }))
            if source.raw_os_error() == Some(libc::ENODEV) =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

impl Aia {
    /// Creates the device of `layout`, without the configuration that needs vCPUs.
    pub(super) fn create(vm: &VmFd, layout: IrqchipLayout, vcpus: u32) -> Result<Option<Self>, KvmError> {
        let IrqchipLayout::Aia {
            aplic,
            sources,
            imsics,
            ids,
        } = layout
        else {
            return Ok(None);
        };
        let device = create(vm)?;
        let set = |attribute, value| set_config(&device, attribute, value);
        set(KVM_DEV_RISCV_AIA_CONFIG_IDS, ids)?;
        set(KVM_DEV_RISCV_AIA_CONFIG_SRCS, sources)?;
        set(KVM_DEV_RISCV_AIA_CONFIG_HART_BITS, hart_index_bits(vcpus))?;
        set_address(&device, KVM_DEV_RISCV_AIA_ADDR_APLIC.into(), aplic.start())?;
        Ok(Some(Self {
            sources: get_config(&device, KVM_DEV_RISCV_AIA_CONFIG_SRCS)?,
            ids: get_config(&device, KVM_DEV_RISCV_AIA_CONFIG_IDS)?,
            device,
            vcpus,
            imsics,
            initialised: AtomicBool::new(false),
        }))
    }

    /// Initialises the device after the creation of all vCPUs. `vcpus` has their numbers in the order of creation.
    pub(super) fn initialise(&self, vcpus: &[u32]) -> Result<(), KvmError> {
        for (attribute, index) in (1..).zip(vcpus) {
            let offset = u64::from(KVM_DEV_RISCV_IMSIC_SIZE).saturating_mul(u64::from(*index));
            // The layout has space for all vCPUs. Attribute 0 is the APLIC; from attribute 1 on, the kernel numbers vCPUs in
            // the order of creation.
            set_address(
                &self.device,
                attribute,
                self.imsics.start().saturating_add(offset),
            )?;
        }
        let attr = attribute(KVM_DEV_RISCV_AIA_GRP_CTRL, KVM_DEV_RISCV_AIA_CTRL_INIT.into(), 0);
        self.device
            .set_device_attr(&attr)
            .map_err(failed_request("KVM_DEV_RISCV_AIA_CTRL_INIT"))?;
        self.initialised.store(true, Ordering::Release);
        Ok(())
    }

    /// Whether the registers are accessible.
    pub(super) fn is_initialised(&self) -> bool {
        self.initialised.load(Ordering::Acquire)
    }

    /// Registers of an interrupt file; empty before all vCPUs exist.
    fn imsic_registers(&self) -> impl Iterator<Item = ImsicRegister> + use<> {
        let is_initialised = self.is_initialised();
        ImsicRegister::all(self.ids).filter(move |_| is_initialised)
    }

    /// Reads the interrupt file of vCPU `index`; empty before all vCPUs exist.
    pub(super) fn imsic(&self, index: u32) -> Result<BTreeMap<ImsicRegister, u64>, KvmError> {
        self.imsic_registers()
            .map(|register| {
                let value = get_u64(
                    &self.device,
                    KVM_DEV_RISCV_AIA_GRP_IMSIC,
                    selector(index, register),
                )?;
                Ok((register, value))
            })
            .collect()
    }

    /// Writes the interrupt file of vCPU `index`. Registers that `state` does not contain keep their values.
    pub(super) fn set_imsic(&self, index: u32, state: &BTreeMap<ImsicRegister, u64>) -> Result<(), KvmError> {
        for (&register, &value) in state {
            set_u64(
                &self.device,
                KVM_DEV_RISCV_AIA_GRP_IMSIC,
                selector(index, register),
                value,
            )?;
        }
        Ok(())
    }

    /// Reset state of an interrupt file: all zeros.
    fn imsic_reset_state(&self) -> BTreeMap<ImsicRegister, u64> {
        self.imsic_registers().map(|register| (register, 0)).collect()
    }

    /// Refuses a source that does not exist. The kernel would ignore it.
    pub(super) fn check_source(&self, source: u32) -> Result<(), IrqError> {
        if (1..=self.sources).contains(&source) {
            return Ok(());
        }
        Err(IrqError::new(source, "the APLIC does not have this source"))
    }

    /// Resets all registers to zero.
    pub(super) fn reset(&self) -> Result<(), KvmError> {
        let mut aplic = vec![(aplic::DOMAINCFG, 0)];
        for word in 0..=u64::from(self.sources / 32) {
            aplic.push((aplic::CLRIE + word * 4, u32::MAX));
            aplic.push((aplic::IN_CLRIP + word * 4, u32::MAX));
        }
        for source in 0..u64::from(self.sources) {
            aplic.push((aplic::TARGET + source * 4, 0));
            aplic.push((aplic::SOURCECFG + source * 4, 0));
        }
        for (register, value) in aplic {
            set_u32(&self.device, KVM_DEV_RISCV_AIA_GRP_APLIC, register, value)?;
        }
        let reset_state = self.imsic_reset_state();
        (0..self.vcpus).try_for_each(|index| self.set_imsic(index, &reset_state))
    }
}

/// Attribute of a register of vCPU `index`.
fn selector(index: u32, register: ImsicRegister) -> u64 {
    u64::from(index) << KVM_DEV_RISCV_AIA_IMSIC_ISEL_BITS | u64::from(register.0)
}

fn attribute(group: u32, attr: u64, addr: u64) -> kvm_device_attr {
    kvm_device_attr {
        flags: 0,
        group,
        attr,
        addr,
    }
}

/// Address of a value for an ioctl.
fn address_of<T>(value: &T) -> u64 {
    arith::to_u64((&raw const *value).expose_provenance())
}

fn get_config(device: &DeviceFd, config: u32) -> Result<u32, KvmError> {
    let mut value = 0_u32;
    let addr = arith::to_u64((&raw mut value).expose_provenance());
    let mut attr = attribute(KVM_DEV_RISCV_AIA_GRP_CONFIG, config.into(), addr);
    // SAFETY: the attributes of this group have 32 bits (`aia_get_attr` in the kernel's arch/riscv/kvm/aia_device.c), and
    // `addr` is the address of a `u32` that lives until the call returns.
    unsafe { device.get_device_attr(&mut attr) }
        .map_err(failed_request("KVM_GET_DEVICE_ATTR (AIA configuration)"))?;
    Ok(value)
}

fn get_u64(device: &DeviceFd, group: u32, attr: u64) -> Result<u64, KvmError> {
    let mut value = 0_u64;
    let addr = arith::to_u64((&raw mut value).expose_provenance());
    let mut attr = attribute(group, attr, addr);
    // SAFETY: the attributes of the groups of all callers have the size of `unsigned long` in the kernel, 64 bits (as above),
    // and `addr` is the address of a `u64` that lives until the call returns.
    unsafe { device.get_device_attr(&mut attr) }.map_err(failed_request("KVM_GET_DEVICE_ATTR (AIA)"))?;
    Ok(value)
}

fn set_config(device: &DeviceFd, config: u32, value: u32) -> Result<(), KvmError> {
    set_u32(device, KVM_DEV_RISCV_AIA_GRP_CONFIG, config.into(), value)
}

fn set_address(device: &DeviceFd, attr: u64, value: u64) -> Result<(), KvmError> {
    set_u64(device, KVM_DEV_RISCV_AIA_GRP_ADDR, attr, value)
}

fn set_u32(device: &DeviceFd, group: u32, attr: u64, value: u32) -> Result<(), KvmError> {
    device
        .set_device_attr(&attribute(group, attr, address_of(&value)))
        .map_err(failed_request("KVM_SET_DEVICE_ATTR (AIA)"))
}

fn set_u64(device: &DeviceFd, group: u32, attr: u64, value: u64) -> Result<(), KvmError> {
    device
        .set_device_attr(&attribute(group, attr, address_of(&value)))
        .map_err(failed_request("KVM_SET_DEVICE_ATTR (AIA)"))
}
