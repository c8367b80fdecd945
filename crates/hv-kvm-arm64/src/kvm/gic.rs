//! The interrupt controller in the kernel.

use std::collections::BTreeMap;

use boot_core::{GuestRange, machine::Arm64Cpu};
use kvm_bindings::{
    KVM_DEV_ARM_ITS_CTRL_RESET, KVM_DEV_ARM_VGIC_CTRL_INIT, KVM_DEV_ARM_VGIC_GRP_ADDR,
    KVM_DEV_ARM_VGIC_GRP_CPU_REGS, KVM_DEV_ARM_VGIC_GRP_CPU_SYSREGS, KVM_DEV_ARM_VGIC_GRP_CTRL,
    KVM_DEV_ARM_VGIC_GRP_DIST_REGS, KVM_DEV_ARM_VGIC_GRP_NR_IRQS, KVM_DEV_ARM_VGIC_GRP_REDIST_REGS,
    KVM_VGIC_ITS_ADDR_TYPE, KVM_VGIC_V2_ADDR_TYPE_CPU, KVM_VGIC_V2_ADDR_TYPE_DIST,
    KVM_VGIC_V3_ADDR_TYPE_DIST, KVM_VGIC_V3_ADDR_TYPE_REDIST_REGION, kvm_create_device, kvm_device_type,
    kvm_device_type_KVM_DEV_TYPE_ARM_VGIC_ITS, kvm_device_type_KVM_DEV_TYPE_ARM_VGIC_V2,
    kvm_device_type_KVM_DEV_TYPE_ARM_VGIC_V3,
};
use kvm_ioctls::{DeviceFd, VmFd};

use super::{attribute, request::failed_request};
use crate::{
    GicLayout, GicState, IccRegister, KvmError, LayoutError,
    gic::{
        self, BANKED_V2, CPU_INTERFACE_V2, DISTRIBUTOR_V2, DISTRIBUTOR_V3, REDISTRIBUTOR,
        REDISTRIBUTOR_CONTROL, RegisterBlock,
    },
    layout,
};

/// The interrupt controller of a machine. Created after all vCPUs.
#[derive(Debug)]
pub(super) struct GicDevice {
    device: DeviceFd,
    its: Option<DeviceFd>,
    is_v3: bool,
}

/// Creates a device.
fn create(fd: &VmFd, kind: kvm_device_type) -> Result<DeviceFd, kvm_ioctls::Error> {
    hv_kvm::retry_interrupted(|| {
        fd.create_device(&mut kvm_create_device {
            type_: kind,
            fd: 0,
            flags: 0,
        })
    })
}

/// Types of devices.
pub(super) const V2: kvm_device_type = kvm_device_type_KVM_DEV_TYPE_ARM_VGIC_V2;
pub(super) const V3: kvm_device_type = kvm_device_type_KVM_DEV_TYPE_ARM_VGIC_V3;
pub(super) const ITS: kvm_device_type = kvm_device_type_KVM_DEV_TYPE_ARM_VGIC_ITS;

impl GicDevice {
    /// Creates and initialises the interrupt controller. All vCPUs must exist, and none may have run yet.
    pub(super) fn new(fd: &VmFd, layout: &GicLayout) -> Result<Self, KvmError> {
        let (device, its) = match layout {
            GicLayout::V2 {
                distributor,
                cpu_interface,
            } => {
                let device = create(fd, V2).map_err(failed_request("KVM_CREATE_DEVICE (GICv2)"))?;
                set_address(&device, KVM_VGIC_V2_ADDR_TYPE_DIST, distributor.start())?;
                set_address(&device, KVM_VGIC_V2_ADDR_TYPE_CPU, cpu_interface.start())?;
                initialise(&device)?;
                (device, None)
            }
            GicLayout::V3 {
                distributor,
                redistributors,
                its,
            } => {
                let device = create(fd, V3).map_err(failed_request("KVM_CREATE_DEVICE (GICv3)"))?;
                set_address(&device, KVM_VGIC_V3_ADDR_TYPE_DIST, distributor.start())?;
                for (index, &range) in (0..).zip(redistributors) {
                    let region =
                        gic::redistributor_region(range.start(), layout::redistributors(range), index)
                            .ok_or(LayoutError::Redistributors { range })?;
                    set_address(&device, KVM_VGIC_V3_ADDR_TYPE_REDIST_REGION, region)?;
                }
                initialise(&device)?;
                (device, its.map(|range| new_its(fd, range)).transpose()?)
            }
        };
        Ok(Self {
            device,
            its,
            is_v3: matches!(layout, GicLayout::V3 { .. }),
        })
    }

    /// Reads the part of vCPU `index`. No vCPU may be running.
    pub(super) fn vcpu_state(&self, index: u32) -> Result<GicState, KvmError> {
        let mut state = GicState::default();
        for &(group, blocks) in self.vcpu_blocks() {
            state
                .registers
                .extend(self.read(group, blocks, self.vcpu_bits(index))?);
        }
        if self.is_v3 {
            for &register in IccRegister::STATE {
                let attribute = self.vcpu_bits(index) | u64::from(register.0);
                match attribute::get(&self.device, KVM_DEV_ARM_VGIC_GRP_CPU_SYSREGS, attribute) {
                    Ok(value) => drop(state.icc.insert(register, value)),
                    // The host has too few priority bits for this active priority register.
                    Err(error) if matches!(error.errno(), libc::EINVAL | libc::ENXIO) => {}
                    Err(error) => {
                        return Err(failed(KVM_DEV_ARM_VGIC_GRP_CPU_SYSREGS, attribute)(error));
                    }
                }
            }
        }
        Ok(state)
    }

    /// Writes the part of vCPU `index`. Registers that `state` does not contain keep their values. No vCPU may be running.
    pub(super) fn set_vcpu_state(&self, index: u32, state: &GicState) -> Result<(), KvmError> {
        let bits = self.vcpu_bits(index);
        for &(group, blocks) in self.vcpu_blocks() {
            if self.is_v3 {
                let attribute = bits | u64::from(REDISTRIBUTOR_CONTROL);
                attribute::set(&self.device, group, attribute, 0_u32).map_err(failed(group, attribute))?;
            }
            self.write(group, blocks, bits, &state.registers)?;
        }
        for register in IccRegister::STATE {
            let Some(&value) = state.icc.get(register) else {
                continue;
            };
            let attribute = bits | u64::from(register.0);
            attribute::set(&self.device, KVM_DEV_ARM_VGIC_GRP_CPU_SYSREGS, attribute, value)
                .map_err(failed(KVM_DEV_ARM_VGIC_GRP_CPU_SYSREGS, attribute))?;
        }
        Ok(())
    }

    /// Resets the ITS, if there is one. No vCPU may be running.
    pub(super) fn reset_its(&self) -> Result<(), KvmError> {
        if let Some(its) = &self.its {
            attribute::request(its, KVM_DEV_ARM_VGIC_GRP_CTRL, KVM_DEV_ARM_ITS_CTRL_RESET).map_err(
                failed(KVM_DEV_ARM_VGIC_GRP_CTRL, KVM_DEV_ARM_ITS_CTRL_RESET.into()),
            )?;
        }
        Ok(())
    }

    /// Writes the shared part. Registers that `state` does not contain keep their values. No vCPU may be running.
    pub(super) fn set_shared_state(&self, state: &BTreeMap<u32, u32>) -> Result<(), KvmError> {
        self.write(KVM_DEV_ARM_VGIC_GRP_DIST_REGS, self.shared_blocks(), 0, state)
    }

    /// Reads the shared part: the registers of the distributor by offset.
    pub(super) fn shared_state(&self) -> Result<BTreeMap<u32, u32>, KvmError> {
        self.read(KVM_DEV_ARM_VGIC_GRP_DIST_REGS, self.shared_blocks(), 0)
    }

    fn shared_blocks(&self) -> &'static [RegisterBlock] {
        if self.is_v3 {
            DISTRIBUTOR_V3
        } else {
            DISTRIBUTOR_V2
        }
    }

    /// Groups of registers that belong to one vCPU.
    fn vcpu_blocks(&self) -> &'static [(u32, &'static [RegisterBlock])] {
        if self.is_v3 {
            &[(KVM_DEV_ARM_VGIC_GRP_REDIST_REGS, REDISTRIBUTOR)]
        } else {
            &[
                (KVM_DEV_ARM_VGIC_GRP_DIST_REGS, BANKED_V2),
                (KVM_DEV_ARM_VGIC_GRP_CPU_REGS, CPU_INTERFACE_V2),
            ]
        }
    }

    /// Bits of an attribute that select the vCPU: its affinity for a GICv3, its number for a GICv2.
    fn vcpu_bits(&self, index: u32) -> u64 {
        if self.is_v3 {
            gic::attribute_mpidr(Arm64Cpu::affinity_of(index))
        } else {
            u64::from(index) << 32
        }
    }

    fn read(&self, group: u32, blocks: &[RegisterBlock], bits: u64) -> Result<BTreeMap<u32, u32>, KvmError> {
        let registers = blocks.iter().flat_map(|block| block.registers());
        registers
            .map(|(offset, _)| {
                let attribute = bits | u64::from(offset);
                let value =
                    attribute::get(&self.device, group, attribute).map_err(failed(group, attribute))?;
                Ok((offset, value))
            })
            .collect()
    }

    fn write(
        &self,
        group: u32,
        blocks: &[RegisterBlock],
        bits: u64,
        values: &BTreeMap<u32, u32>,
    ) -> Result<(), KvmError> {
        let write = |offset: u32, value: u32| {
            let attribute = bits | u64::from(offset);
            attribute::set(&self.device, group, attribute, value).map_err(failed(group, attribute))
        };
        for (offset, clear) in blocks.iter().flat_map(|block| block.registers()) {
            let Some(&value) = values.get(&offset) else {
                continue;
            };
            if let Some(clear) = clear {
                write(clear, !value)?;
            }
            write(offset, value)?;
        }
        Ok(())
    }
}

fn failed(group: u32, attribute: u64) -> impl FnOnce(kvm_ioctls::Error) -> KvmError {
    move |error| KvmError::GicAttribute {
        group,
        attribute,
        source: error.into(),
    }
}

fn set_address(device: &DeviceFd, kind: u32, address: u64) -> Result<(), KvmError> {
    attribute::set(device, KVM_DEV_ARM_VGIC_GRP_ADDR, kind.into(), address)
        .map_err(failed(KVM_DEV_ARM_VGIC_GRP_ADDR, kind.into()))
}

fn initialise(device: &DeviceFd) -> Result<(), KvmError> {
    attribute::set(device, KVM_DEV_ARM_VGIC_GRP_NR_IRQS, 0, gic::INTIDS)
        .map_err(failed(KVM_DEV_ARM_VGIC_GRP_NR_IRQS, 0))?;
    initialise_control(device)
}

fn initialise_control(device: &DeviceFd) -> Result<(), KvmError> {
    attribute::request(device, KVM_DEV_ARM_VGIC_GRP_CTRL, KVM_DEV_ARM_VGIC_CTRL_INIT).map_err(failed(
        KVM_DEV_ARM_VGIC_GRP_CTRL,
        KVM_DEV_ARM_VGIC_CTRL_INIT.into(),
    ))
}

fn new_its(fd: &VmFd, range: GuestRange) -> Result<DeviceFd, KvmError> {
    let its = create(fd, ITS).map_err(failed_request("KVM_CREATE_DEVICE (ITS)"))?;
    set_address(&its, KVM_VGIC_ITS_ADDR_TYPE, range.start())?;
    initialise_control(&its)?;
    Ok(its)
}
