//! Device attributes: numbers that `KVM_SET_DEVICE_ATTR` and `KVM_GET_DEVICE_ATTR` pass by address.
#![expect(unsafe_code, reason = "lets the kernel write to a number")]

use std::ptr;

use boot_core::arith;
use kvm_bindings::kvm_device_attr;
use kvm_ioctls::{DeviceFd, Error, VcpuFd};

/// Something that has attributes.
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

/// A number that an attribute can have.
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

/// Sets an attribute that is a request and has no value.
pub(super) fn request(of: &impl HasAttributes, group: u32, attribute: u32) -> Result<(), Error> {
    of.set(&kvm_device_attr {
        flags: 0,
        group,
        attr: attribute.into(),
        addr: 0,
    })
}

/// Reads an attribute of a GIC. `T` must be the type that the kernel's document gives for the group.
pub(super) fn get<T: Number>(device: &DeviceFd, group: u32, attribute: u64) -> Result<T, Error> {
    // Room for the largest of the types, in case the kernel's is larger than `T`.
    let mut values = [T::default(); 2];
    const { assert!(size_of::<[T; 2]>() >= size_of::<u64>()) };
    let mut attribute = kvm_device_attr {
        flags: 0,
        group,
        attr: attribute,
        addr: arith::to_u64(values.as_mut_ptr().expose_provenance()),
    };
    // SAFETY: every attribute of a GIC is a number of 32 or 64 bits, and the kernel writes no more than that to `values`,
    // which has at least 64 bits and lives until the call is over. Any bits are a valid number.
    unsafe { device.get_device_attr(&mut attribute) }?;
    let [value, _] = values;
    Ok(value)
}
