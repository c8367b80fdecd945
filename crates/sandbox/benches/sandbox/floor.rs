//! The floor: KVM's own system calls without anything of this workspace but the mapping of memory.
#![expect(unsafe_code, reason = "KVM's memory slots are host addresses")]

use std::sync::Arc;

use guest_ram::HostMapping;
use kvm_bindings::kvm_userspace_memory_region;
use kvm_ioctls::{Kvm, VcpuExit, VcpuFd, VmFd};

use crate::arch;

/// Memory of the machine, as that of a small sandbox.
const MEMORY: usize = 64 << 20;

/// A machine with one vCPU and one memory slot, whose guest rings a doorbell in a loop.
pub(crate) struct Bare {
    /// Before `vm`: closing the vCPU first is what a sandbox does, too.
    vcpu: VcpuFd,
    #[expect(dead_code, reason = "the machine exists as long as its vCPU")]
    vm: VmFd,
    #[expect(dead_code, reason = "the machine's memory stays mapped")]
    memory: Arc<HostMapping>,
}

/// What does not depend on the machine.
pub(crate) struct Floor {
    kvm: Kvm,
    process: arch::Process,
    memory: Arc<HostMapping>,
}

impl Floor {
    pub(crate) fn new() -> Self {
        let kvm = Kvm::new().expect("/dev/kvm opens");
        let process = arch::Process::new(&kvm);
        let memory = HostMapping::anonymous(MEMORY).expect("memory is mapped");
        memory.write(0, arch::CODE).expect("the code fits");
        let memory = Arc::new(memory);
        Self { kvm, process, memory }
    }

    /// Creates a machine up to its first entry.
    pub(crate) fn create(&self) -> Bare {
        let vm = self.kvm.create_vm().expect("KVM_CREATE_VM");
        let slot = kvm_userspace_memory_region {
            slot: 0,
            flags: 0,
            guest_phys_addr: arch::BASE,
            memory_size: self.memory.len().try_into().expect("64 bits"),
            userspace_addr: self
                .memory
                .host_ptr()
                .expose_provenance()
                .try_into()
                .expect("64 bits"),
        };
        // SAFETY: the range is that of `memory`, which `Bare` keeps until the machine is dropped. Nothing else refers to its bytes.
        unsafe { vm.set_user_memory_region(slot) }.expect("KVM_SET_USER_MEMORY_REGION");
        let vcpu = vm.create_vcpu(0).expect("KVM_CREATE_VCPU");
        self.process.prepare(&vm, &vcpu);
        let memory = Arc::clone(&self.memory);
        Bare { vcpu, vm, memory }
    }
}

impl Bare {
    /// One round trip: `KVM_RUN` to the next doorbell.
    pub(crate) fn ring(&mut self) {
        match self.vcpu.run().expect("KVM_RUN") {
            exit if arch::is_doorbell(&exit) => {}
            exit => unexpected(&exit),
        }
    }
}

#[cold]
fn unexpected(exit: &VcpuExit<'_>) -> ! {
    panic!("the floor's guest left with {exit:?}")
}
