//! A seccomp filter whose listener decides about system calls (seccomp_unotify(2)).

#![expect(
    unsafe_code,
    reason = "installs a filter, and exchanges structures with the kernel by ioctl"
)]

use std::{
    fs, io,
    mem::{offset_of, zeroed},
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
};

use libc::{seccomp_data, seccomp_notif, seccomp_notif_resp, sock_filter, sock_fprog};
use rustix::event::{PollFd, PollFlags, poll};

use super::call::{Call, KVM_TYPE};

/// Reason why this host has no listeners.
pub(in crate::faults) fn skip_reason() -> Option<String> {
    const ACTIONS: &str = "/proc/sys/kernel/seccomp/actions_avail";
    match fs::read_to_string(ACTIONS) {
        Ok(actions) if actions.split_whitespace().any(|action| action == "user_notif") => None,
        Ok(actions) => Some(format!(
            "seccomp of this kernel has no user notification: {}",
            actions.trim()
        )),
        Err(error) => Some(format!("{ACTIONS} cannot be read: {error}")),
    }
}

/// Decides about the calls of the threads with the filter.
pub(super) struct Listener(OwnedFd);

/// A call whose thread waits for the decision.
pub(super) struct Waiting {
    id: u64,
    pub(super) call: Call,
}

impl Listener {
    /// Installs the filter for this thread, and for all that it starts. The thread cannot get further rights by `exec`.
    pub(super) fn install() -> io::Result<Self> {
        let mut program = program();
        let program = sock_fprog {
            len: u16::try_from(program.len()).map_err(io::Error::other)?,
            filter: program.as_mut_ptr(),
        };
        let one: libc::c_ulong = 1;
        // SAFETY: the call has no pointers.
        let result = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, one, 0, 0, 0) };
        if result != 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel reads `program` and its instructions, which live until the end of the function, and changes no memory.
        let descriptor = unsafe {
            libc::syscall(
                libc::SYS_seccomp,
                libc::SECCOMP_SET_MODE_FILTER,
                libc::SECCOMP_FILTER_FLAG_NEW_LISTENER,
                &raw const program,
            )
        };
        let descriptor = i32::try_from(descriptor).map_err(io::Error::other)?;
        if descriptor < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the call returned a new descriptor, which nobody else has.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(descriptor) }))
    }

    /// Waits for the next call; `None` when no thread has the filter any more. Takes no memory: the thread that waits may hold the lock of the allocator.
    pub(super) fn next(&self) -> io::Result<Option<Waiting>> {
        loop {
            let mut descriptors = [PollFd::new(&self.0, PollFlags::IN)];
            match poll(&mut descriptors, None) {
                Ok(_) => {}
                Err(rustix::io::Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            }
            if !descriptors[0].revents().contains(PollFlags::IN) {
                return Ok(None);
            }
            // SAFETY: the structure has integers only. The kernel wants zeros.
            let mut notification: seccomp_notif = unsafe { zeroed() };
            match self.ioctl(libc::SECCOMP_IOCTL_NOTIF_RECV, &raw mut notification) {
                // A signal ended the call, or interrupted this thread.
                Err(error) if is_gone(&error) || error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
                Ok(()) => {
                    let id = notification.id;
                    if let Some(call) = call_of(&notification.data) {
                        return Ok(Some(Waiting { id, call }));
                    }
                    self.answer(id, None)?;
                }
            }
        }
    }

    /// Lets the call go on, or fail with the number `errno`.
    pub(super) fn decide(&self, waiting: &Waiting, errno: Option<i32>) -> io::Result<()> {
        self.answer(waiting.id, errno)
    }

    fn answer(&self, id: u64, errno: Option<i32>) -> io::Result<()> {
        let mut response = seccomp_notif_resp {
            id,
            val: 0,
            error: errno.map_or(0, |errno| -errno),
            flags: match errno {
                Some(_) => 0,
                None => u32::try_from(libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE).map_err(io::Error::other)?,
            },
        };
        match self.ioctl(libc::SECCOMP_IOCTL_NOTIF_SEND, &raw mut response) {
            // A signal ended the call.
            Err(error) if is_gone(&error) => Ok(()),
            result => result,
        }
    }

    /// An ioctl of the listener, whose structure is `T`.
    fn ioctl<T>(&self, request: libc::Ioctl, structure: *mut T) -> io::Result<()> {
        // SAFETY: both callers pass the structure of their request, which lives until the call returns.
        match unsafe { libc::ioctl(self.0.as_raw_fd(), request, structure) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

/// Whether no thread waits for this decision.
fn is_gone(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::ENOENT)
}

fn call_of(data: &seccomp_data) -> Option<Call> {
    let number = libc::c_long::from(data.nr);
    if number == libc::SYS_ioctl {
        // The request has 32 bits; C libraries extend its sign, or not.
        let [_, request, ..] = data.args;
        return u32::try_from(request & u64::from(u32::MAX)).ok().map(Call::Kvm);
    }
    let mut calls = Call::OF_HOST.iter();
    let (_, call) = calls.find(|(known, _)| *known == number)?;
    (*call != Call::Mmap || !is_small(data)).then_some(*call)
}

/// Whether a mapping has no file and is small. The standard library makes one in each new thread, for the stack of its signal handler, and aborts where it
/// cannot.
fn is_small(data: &seccomp_data) -> bool {
    const SMALL: u64 = 1 << 20;
    let [_, len, _, flags, ..] = data.args;
    let has_file = flags & u64::from(libc::MAP_ANONYMOUS.cast_unsigned()) == 0;
    !has_file && len < SMALL
}

/// The filter: ioctls of KVM, and the calls of [`Call::OF_HOST`], go to the listener, all others go on.
fn program() -> Vec<sock_filter> {
    /// Low half of the second argument, on a little-endian machine.
    const REQUEST: usize = offset_of!(seccomp_data, args) + size_of::<u64>();
    const LOAD: u32 = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
    const AND: u32 = libc::BPF_ALU | libc::BPF_AND | libc::BPF_K;
    const JUMP_IF_EQUAL: u32 = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
    const RETURN: u32 = libc::BPF_RET | libc::BPF_K;
    const {
        assert!(cfg!(target_endian = "little"));
    }
    let one = |code: u32, k: u64, jt: u8, jf: u8| sock_filter {
        code: u16::try_from(code).unwrap(),
        jt,
        jf,
        k: u32::try_from(k).unwrap(),
    };
    let offset = |offset: usize| u64::try_from(offset).unwrap();
    let number = |number: libc::c_long| u64::try_from(number).unwrap();
    let mut program = vec![
        one(LOAD, offset(offset_of!(seccomp_data, nr)), 0, 0),
        one(JUMP_IF_EQUAL, number(libc::SYS_ioctl), 0, 3),
        one(LOAD, offset(REQUEST), 0, 0),
        one(AND, 0xff00, 0, 0),
        one(JUMP_IF_EQUAL, u64::from(KVM_TYPE << 8), 5, 4),
    ];
    // Distances to the last two instructions.
    for ((call, _), distance) in Call::OF_HOST.into_iter().zip([4, 3, 2, 1]) {
        program.push(one(JUMP_IF_EQUAL, number(call), distance, 0));
    }
    program.push(one(RETURN, libc::SECCOMP_RET_ALLOW.into(), 0, 0));
    program.push(one(RETURN, libc::SECCOMP_RET_USER_NOTIF.into(), 0, 0));
    program
}
