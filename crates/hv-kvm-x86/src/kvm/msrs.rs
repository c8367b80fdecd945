//! Model-specific registers, in batches of one ioctl.

use std::collections::BTreeMap;

use kvm_bindings::{KVM_MAX_MSR_ENTRIES, Msrs, kvm_msr_entry};
use kvm_ioctls::VcpuFd;

use super::request::failed_request;
use crate::{KvmError, Msr};

/// Reads those of `msrs` that the vCPU has: a subset that depends on its CPUID table; reads of the others fail.
pub(super) fn read_all(fd: &VcpuFd, msrs: &[Msr]) -> Result<BTreeMap<Msr, u64>, KvmError> {
    let mut values = BTreeMap::new();
    let mut rest = msrs;
    while !rest.is_empty() {
        let (batch, later) = rest.split_at(rest.len().min(KVM_MAX_MSR_ENTRIES));
        let read = read_batch(fd, batch)?;
        let done = read.len();
        values.extend(batch.iter().copied().zip(read));
        // KVM stops at the first MSR that it cannot read: continue after it.
        rest = if done < batch.len() {
            rest.get(done.saturating_add(1)..).unwrap_or(&[])
        } else {
            later
        };
    }
    Ok(values)
}

/// The values of `msrs`, up to the first one that KVM cannot read.
pub(super) fn read_batch(fd: &VcpuFd, msrs: &[Msr]) -> Result<Vec<u64>, KvmError> {
    let mut request = new_msrs(msrs.iter().take(KVM_MAX_MSR_ENTRIES).map(|&msr| (msr, 0)))?;
    let read = fd
        .get_msrs(&mut request)
        .map_err(failed_request("KVM_GET_MSRS"))?;
    Ok(request
        .as_slice()
        .iter()
        .take(read)
        .map(|entry| entry.data)
        .collect())
}

/// Writes `msrs`, up to the first one that KVM does not accept.
pub(super) fn write(fd: &VcpuFd, msrs: &[(Msr, u64)]) -> Result<(), KvmError> {
    for batch in msrs.chunks(KVM_MAX_MSR_ENTRIES) {
        let request = new_msrs(batch.iter().copied())?;
        let written = fd.set_msrs(&request).map_err(failed_request("KVM_SET_MSRS"))?;
        // KVM stops at the first MSR that it cannot write.
        if let Some(&(msr, value)) = batch.get(written) {
            return Err(KvmError::SetMsr { msr, value });
        }
    }
    Ok(())
}

fn new_msrs(msrs: impl Iterator<Item = (Msr, u64)>) -> Result<Msrs, KvmError> {
    let entries: Vec<kvm_msr_entry> = msrs
        .map(|(msr, data)| kvm_msr_entry {
            index: msr.0,
            data,
            ..kvm_msr_entry::default()
        })
        .collect();
    Msrs::from_entries(&entries)
        .ok()
        .ok_or(KvmError::TooManyMsrs { count: entries.len() })
}
