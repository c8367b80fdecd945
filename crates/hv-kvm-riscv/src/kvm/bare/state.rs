//! Capture of a vCPU's state, and the writes that bring it back.

use hv_core::RegisterImage;
use kvm_bindings::kvm_mp_state;
use kvm_ioctls::VcpuFd;

use crate::{
    BareState, KvmError, MpState, Register,
    kvm::{one_reg, request::failed_request},
    rewind::{self, RewindLayout},
};

/// `sstatus.SIE`: interrupts are enabled.
const SIE: u64 = 1 << 1;

/// Captures the state of a vCPU without pending I/O.
pub(super) fn capture(
    layout: &RewindLayout,
    fd: &VcpuFd,
    image: &mut RegisterImage,
) -> Result<BareState, KvmError> {
    image.0 = layout.empty_image();
    for (register, place) in &layout.places {
        if let Some(bytes) = image.0.get_mut(place.clone()) {
            one_reg::read_into(fd, *register, bytes)?;
        }
    }
    let others = layout
        .others
        .iter()
        .map(|&register| Ok((register, one_reg::read(fd, register)?)))
        .collect::<Result<_, KvmError>>()?;
    let mp_state = fd.get_mp_state().map_err(failed_request("KVM_GET_MP_STATE"))?;
    let mp_state = MpState(mp_state.mp_state);
    let mode = one_reg::read_number(fd, Register::MODE)?;
    Ok(BareState {
        is_loadable: is_loadable(layout, &image.0, mp_state, mode),
        mp_state,
        mode,
        others,
    })
}

/// Whether the rewind code can load the image.
pub(super) fn is_loadable(layout: &RewindLayout, image: &[u8], mp_state: MpState, mode: u64) -> bool {
    let number = |register| layout.number(image, register);
    let link = Register::x(rewind::LINK).and_then(number);
    let has_interrupts = number(Register::SSTATUS).is_none_or(|sstatus| sstatus & SIE != 0);
    mp_state == MpState::RUNNABLE
        && mode == Register::MODE_S
        && link == number(Register::PC)
        && !has_interrupts
}

/// Writes the registers of `image`.
pub(super) fn write_image(layout: &RewindLayout, fd: &VcpuFd, image: &[u8]) -> Result<(), KvmError> {
    for (register, place) in &layout.places {
        if let Some(bytes) = image.get(place.clone()) {
            one_reg::write_bytes(fd, *register, bytes)?;
        }
    }
    Ok(())
}

/// Writes what is not in the image.
pub(super) fn write_others(fd: &VcpuFd, state: &BareState) -> Result<(), KvmError> {
    for (register, value) in &state.others {
        one_reg::write(fd, *register, value)?;
    }
    Ok(())
}

/// Writes the run state.
pub(super) fn write_mp_state(fd: &VcpuFd, mp_state: MpState) -> Result<(), KvmError> {
    fd.set_mp_state(kvm_mp_state { mp_state: mp_state.0 })
        .map_err(failed_request("KVM_SET_MP_STATE"))
}
