//! Device attributes: integers that `KVM_SET_DEVICE_ATTR` and `KVM_GET_DEVICE_ATTR` pass by address.
#![expect(unsafe_code, reason = "passes addresses of integers to KVM_GET_DEVICE_ATTR")]

use std::ptr;

use boot_core::arith;
use kvm_bindings::kvm_device_attr;
use kvm_ioctls::{DeviceFd, Error, VcpuFd};

/// File descriptor with attributes.
pub(super) trait HasAttributes {
    fn set(&self, attribute: &kvm_device_attr) -> Result<(), Error>;
}

impl HasAttributes for DeviceFd {
    fn set(&self, attribute: &kvm_device_attr) -> Result<(), Error> {
        self.set_device_attr(attribute)
    }
}

impl HasAttributes for VcpuFd {
    fn set(&self, attribute: &kvm_device_attr) -> Result<(), Error> {
        self.set_device_attr(attribute)
    }
}

/// Type of the value of an attribute.
pub(super) trait Number: Copy + Default {}

impl Number for i32 {}
impl Number for u32 {}
impl Number for u64 {}

/// Sets an attribute that has a value.
pub(super) fn set<T: Number>(
    of: &impl HasAttributes,
    group: u32,
    attribute: u64,
    value: T,
) -> Result<(), Error> {
    of.set(&kvm_device_attr {
        flags: 0,
        group,
        attr: attribute,
        addr: arith::to_u64(ptr::from_ref(&value).expose_provenance()),
    })
}

/// Sets an attribute without a value.
pub(super) fn request(of: &impl HasAttributes, group: u32, attribute: u32) -> Result<(), Error> {
    of.set(&kvm_device_attr {
        flags: 0,
        group,
        attr: attribute.into(),
        addr: 0,
    })
}

/// Reads an attribute of a GIC. `T` must be the type of the group in the KVM documentation.
pub(super) fn get<T: Number>(device: &DeviceFd, group: u32, attribute: u64) -> Result<T, Error> {
    // Space for the largest type, in case the kernel writes more than `T`.
    let mut values = [T::default(); 2];
    const { assert!(size_of::<[T; 2]>() >= size_of::<u64>()) };
    let mut attribute = kvm_device_attr {
        flags: 0,
        group,
        attr: attribute,
        addr: arith::to_u64(values.as_mut_ptr().expose_provenance()),
    };
    // SAFETY: every attribute of a GIC is an integer of 32 or 64 bits, so the kernel writes at most 64 bits to `values`,
    // which has at least 64 bits and lives until the call returns. All bit patterns are valid integers.
    unsafe { device.get_device_attr(&mut attribute) }?;
    let [value, _] = values;
    Ok(value)
}
