//! The requests of KVM that the harnesses make, and what follows when one fails.

use super::supervised::Call;

/// What follows when a request fails.
pub(super) struct Request {
    pub(super) name: &'static str,
    /// The error has one of these texts.
    pub(super) texts: &'static [&'static str],
    /// The harness makes an interrupted request (`EINTR`) again.
    pub(super) is_repeated: bool,
}

const fn named(name: &'static str) -> Request {
    Request {
        name,
        texts: &[],
        is_repeated: false,
    }
}

const fn repeated(name: &'static str) -> Request {
    Request {
        is_repeated: true,
        ..named(name)
    }
}

/// The number of `KVM_RUN`, which differs from other requests in its errors.
const RUN: u32 = 0x80;

/// The number of `KVM_SET_USER_MEMORY_REGION`.
const SET_USER_MEMORY_REGION: u32 = 0x46;

/// Requests by number, bits 0 to 7 (Linux `include/uapi/linux/kvm.h`). Requests with the same number differ in the size of their structure.
const REQUESTS: &[(u32, Request)] = &[
    (0x00, named("KVM_GET_API_VERSION")),
    (0x01, repeated("KVM_CREATE_VM")),
    (0x02, named("KVM_GET_MSR_INDEX_LIST")),
    (0x03, named("KVM_CHECK_EXTENSION")),
    // Part of the creation of a machine.
    (0x04, repeated("KVM_CREATE_VM")),
    (0x05, named("KVM_GET_SUPPORTED_CPUID")),
    (0x41, repeated("KVM_CREATE_VCPU")),
    (0x42, named("KVM_GET_DIRTY_LOG")),
    (SET_USER_MEMORY_REGION, repeated("KVM_SET_USER_MEMORY_REGION")),
    (0x47, named("KVM_SET_TSS_ADDR")),
    (0x48, named("KVM_SET_IDENTITY_MAP_ADDR")),
    (0x60, repeated("KVM_CREATE_IRQCHIP")),
    (0x61, named("KVM_IRQ_LINE")),
    (0x62, named("KVM_GET_IRQCHIP")),
    (0x77, repeated("KVM_CREATE_PIT2")),
    (RUN, named("KVM_RUN")),
    (0x81, named("KVM_GET_REGS")),
    (0x82, named("KVM_SET_REGS")),
    (0x83, named("KVM_GET_SREGS")),
    (0x84, named("KVM_SET_SREGS")),
    (0x86, named("KVM_INTERRUPT")),
    (0x88, named("KVM_GET_MSRS")),
    (0x89, named("KVM_SET_MSRS")),
    (0x8c, named("KVM_GET_FPU")),
    (0x8d, named("KVM_SET_FPU")),
    (0x8e, named("KVM_GET_LAPIC")),
    (0x8f, named("KVM_SET_LAPIC")),
    (0x90, named("KVM_SET_CPUID2")),
    (0x98, named("KVM_GET_MP_STATE")),
    (0x99, named("KVM_SET_MP_STATE")),
    (
        0x9f,
        Request {
            texts: &["KVM_GET_VCPU_EVENTS"],
            ..named("KVM_GET_PIT2")
        },
    ),
    (
        0xa0,
        Request {
            texts: &["KVM_SET_VCPU_EVENTS"],
            ..named("KVM_SET_PIT2")
        },
    ),
    (0xa1, named("KVM_GET_DEBUGREGS")),
    (0xa2, named("KVM_SET_DEBUGREGS")),
    (0xa3, named("KVM_ENABLE_CAP")),
    (0xa4, named("KVM_GET_XSAVE")),
    (0xa5, named("KVM_SET_XSAVE")),
    (0xa6, named("KVM_GET_XCRS")),
    (0xa7, named("KVM_SET_XCRS")),
    (
        0xab,
        Request {
            texts: &["KVM cannot read"],
            ..named("KVM_GET_ONE_REG")
        },
    ),
    (
        0xac,
        Request {
            texts: &["KVM does not accept"],
            ..named("KVM_SET_ONE_REG")
        },
    ),
    (0xae, named("KVM_ARM_VCPU_INIT")),
    (0xaf, named("KVM_ARM_PREFERRED_TARGET")),
    (0xb0, named("KVM_GET_REG_LIST")),
    (0xc0, named("KVM_CLEAR_DIRTY_LOG")),
    (0xc2, named("KVM_ARM_VCPU_FINALIZE")),
    (0xc6, named("KVM_X86_SET_MSR_FILTER")),
    (0xcf, named("KVM_GET_XSAVE2")),
    (0xe0, repeated("KVM_CREATE_DEVICE")),
    (
        0xe1,
        Request {
            texts: &[
                "access to attribute",
                "KVM_SET_DEVICE_ATTR",
                "KVM_DEV_RISCV_AIA_CTRL_INIT",
            ],
            ..named("KVM_SET_DEVICE_ATTR")
        },
    ),
    (
        0xe2,
        Request {
            texts: &["access to attribute", "KVM_GET_DEVICE_ATTR"],
            ..named("KVM_GET_DEVICE_ATTR")
        },
    ),
    (0xe3, named("KVM_HAS_DEVICE_ATTR")),
];

fn number(request: u32) -> u32 {
    request & 0xff
}

fn request(call: Call) -> Option<u32> {
    match call {
        Call::Kvm(request) => Some(request),
        Call::Mmap | Call::MemfdCreate | Call::Ftruncate | Call::Openat => None,
    }
}

/// What is known of a call.
pub(super) fn known(call: Call) -> Option<&'static Request> {
    let number = number(request(call)?);
    let mut requests = REQUESTS.iter();
    requests
        .find(|(known, _)| *known == number)
        .map(|(_, request)| request)
}

pub(super) fn is_run(call: Call) -> bool {
    request(call).is_some_and(|request| number(request) == RUN)
}

/// Whether the harness enters the guest again after this error of `KVM_RUN`. On arm64, KVM may have failed to read an instruction for a moment.
pub(super) fn is_entry_repeated(call: Call, errno: i32) -> bool {
    is_run(call)
        && match errno {
            libc::EINTR | libc::EAGAIN => true,
            libc::EFAULT => std::env::consts::ARCH == "aarch64",
            _ => false,
        }
}

/// What the guest did, by the error of `KVM_RUN`: KVM of riscv64 has no exit for it.
pub(super) fn fault_of_guest(call: Call, errno: i32) -> Option<&'static str> {
    if std::env::consts::ARCH != "riscv64" || !is_run(call) {
        return None;
    }
    match errno {
        libc::EIO => Some("the guest made a misaligned access to a device"),
        libc::EFAULT => Some("the guest raised a trap that KVM does not forward, or the host could not map"),
        _ => None,
    }
}

pub(super) fn is_slot(call: Call) -> bool {
    request(call).is_some_and(|request| number(request) == SET_USER_MEMORY_REGION)
}
