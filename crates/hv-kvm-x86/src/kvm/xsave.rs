//! XSAVE areas of run-time size.
#![expect(unsafe_code, reason = "passes XSAVE areas of run-time size to KVM")]

use kvm_bindings::{KVM_CAP_XSAVE2, Xsave as KvmXsave, kvm_xsave};
use kvm_ioctls::{VcpuFd, VmFd};

use super::request::failed_request;
use crate::{KvmError, Xsave};

/// Size of the XSAVE area beyond the first 4096 bytes, in words; `None` on kernels without `KVM_CAP_XSAVE2`. It is read after a vCPU of
/// the machine exists: from then on the state components of guests are fixed.
pub(super) fn extra_words(vm: &VmFd) -> Result<Option<usize>, KvmError> {
    let size = usize::try_from(hv_kvm::vm_capability(vm, KVM_CAP_XSAVE2)?).ok();
    Ok(size.filter(|&size| size > 0).map(|size| {
        size.saturating_sub(size_of::<kvm_xsave>())
            .div_ceil(size_of::<u32>())
    }))
}

/// Reads the area (`KVM_GET_XSAVE2`). `extra` is the result of [`extra_words`].
pub(super) fn read(fd: &VcpuFd, extra: Option<usize>) -> Result<Xsave, KvmError> {
    let Some(extra) = extra else {
        let xsave = fd.get_xsave().map_err(failed_request("KVM_GET_XSAVE"))?;
        return Ok(Xsave::from_words(xsave.region.to_vec()));
    };
    let mut xsave = new_xsave(extra)?;
    // SAFETY: the area has the size that KVM_CAP_XSAVE2 reported after this vCPU was created; from then on the kernel
    // does not allow the process to enable further state components for guests.
    unsafe { fd.get_xsave2(&mut xsave) }.map_err(failed_request("KVM_GET_XSAVE2"))?;
    let mut words = xsave.as_fam_struct_ref().xsave.region.to_vec();
    words.extend_from_slice(xsave.as_slice());
    Ok(Xsave::from_words(words))
}

/// Writes the area (`KVM_SET_XSAVE`).
pub(super) fn write(fd: &VcpuFd, extra: Option<usize>, xsave: &Xsave) -> Result<(), KvmError> {
    let extra = extra.unwrap_or(0);
    let words = xsave.words();
    if words.len() == Xsave::MIN_WORDS.saturating_add(extra) {
        // SAFETY: the structure has no fields but words, 4096 bytes of them, and the area is not shorter.
        let area = unsafe { &*words.as_ptr().cast::<kvm_xsave>() };
        // SAFETY: the kernel reads as many bytes as `words` has; see the end of this function.
        return unsafe { fd.set_xsave(area) }.map_err(failed_request("KVM_SET_XSAVE"));
    }
    let mut area = new_xsave(extra)?;
    let (first, rest) = words.split_at_checked(Xsave::MIN_WORDS).unwrap_or((words, &[]));
    area.as_mut_slice()
        .iter_mut()
        .zip(rest)
        .for_each(|(to, from)| *to = *from);
    // SAFETY: `as_mut_fam_struct` requires that the length of the flexible array does not change; only `region` is
    // written here.
    let region = unsafe { &mut area.as_mut_fam_struct().xsave.region };
    region.iter_mut().zip(first).for_each(|(to, from)| *to = *from);
    // SAFETY: the area has the size that the kernel reads: 4096 bytes on kernels without KVM_CAP_XSAVE2, otherwise the
    // size that the capability reported after this vCPU was created, which cannot grow.
    unsafe { fd.set_xsave2(&area) }.map_err(failed_request("KVM_SET_XSAVE"))
}

fn new_xsave(extra_words: usize) -> Result<KvmXsave, KvmError> {
    // The only error is a size that is too large.
    KvmXsave::new(extra_words)
        .ok()
        .ok_or(KvmError::XsaveSize { words: extra_words })
}
