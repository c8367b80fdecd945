//! Cases in processes of their own, each under a filter.
#![expect(
    unsafe_code,
    reason = "the filtered process ends without the system calls of an ordinary exit"
)]

use std::os::fd::{FromRawFd as _, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::ptr::NonNull;

use guest_ram::{
    AccessOptions, FileMapping, GuestRam, HostRam, HostRegion, HugePages, MappableFile, RamOptions,
    SystemCalls,
};
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch};

use crate::boot::Boot;

/// The variable with the name of the case for the process of a case.
pub(crate) const CASE: &str = "VMBOOT_SYSTEM_CALL_CASE";

type Call = (&'static str, libc::c_long);

/// The calls of one row of the README's table.
struct Mode {
    name: &'static str,
    memories: &'static [(Memory, &'static str)],
    options: fn() -> AccessOptions,
    /// Calls that loading makes, each of them.
    made: &'static [Call],
    /// Calls that it may make in addition: how threads start and end depends on the C library.
    allowed: &'static [&'static [Call]],
}

const READ: Call = ("pread64", libc::SYS_pread64);
const LEN: Call = ("statx", libc::SYS_statx);
const RESIDENT: Call = ("mincore", libc::SYS_mincore);
const ADVISE: Call = ("madvise", libc::SYS_madvise);
const MAP: Call = ("mmap", libc::SYS_mmap);
const UNMAP: Call = ("munmap", libc::SYS_munmap);
const FAULTS: Call = ("userfaultfd", libc::SYS_userfaultfd);
const REQUEST: Call = ("ioctl", libc::SYS_ioctl);
const CLOSE: Call = ("close", libc::SYS_close);

/// Which of the two is called depends on the C library.
const STATUS: &[Call] = &[("fstat", libc::SYS_fstat), ("newfstatat", libc::SYS_newfstatat)];

const THREADS: &[Call] = &[
    ("clone", libc::SYS_clone),
    ("clone3", libc::SYS_clone3),
    ("exit", libc::SYS_exit),
    ("futex", libc::SYS_futex),
    ("gettid", libc::SYS_gettid),
    ("mmap", libc::SYS_mmap),
    ("mprotect", libc::SYS_mprotect),
    ("munmap", libc::SYS_munmap),
    ("prctl", libc::SYS_prctl),
    ("rseq", libc::SYS_rseq),
    ("rt_sigaction", libc::SYS_rt_sigaction),
    ("rt_sigprocmask", libc::SYS_rt_sigprocmask),
    ("sched_getaffinity", libc::SYS_sched_getaffinity),
    ("set_robust_list", libc::SYS_set_robust_list),
    ("sigaltstack", libc::SYS_sigaltstack),
];

/// The number of CPUs also depends on files of the control group. The standard library checks descriptors before it closes them, in builds with
/// debug assertions.
const CPUS: &[Call] = &[
    ("close", libc::SYS_close),
    ("fcntl", libc::SYS_fcntl),
    ("lseek", libc::SYS_lseek),
    ("openat", libc::SYS_openat),
    ("read", libc::SYS_read),
];

/// The standard library checks descriptors before it closes them, in builds with debug assertions.
const CLOSED: &[Call] = &[("fcntl", libc::SYS_fcntl)];

const MODES: &[Mode] = &[
    Mode {
        name: "read-only",
        memories: COPIED,
        options: || AccessOptions::new().system_calls(SystemCalls::PreadOnly),
        made: &[READ, LEN],
        allowed: &[],
    },
    Mode {
        name: "read-only, whatever the number of threads",
        memories: COPIED,
        options: || {
            AccessOptions::new()
                .copy_threads(4)
                .system_calls(SystemCalls::PreadOnly)
        },
        made: &[READ, LEN],
        allowed: &[],
    },
    Mode {
        name: "one thread",
        memories: COPIED,
        options: || AccessOptions::new().copy_threads(1),
        made: &[READ, LEN, RESIDENT, ADVISE],
        allowed: &[],
    },
    Mode {
        name: "two threads",
        memories: COPIED,
        options: || AccessOptions::new().copy_threads(2),
        made: &[READ, LEN, RESIDENT, ADVISE],
        allowed: &[THREADS],
    },
    Mode {
        name: "default",
        memories: COPIED,
        options: AccessOptions::new,
        made: &[READ, LEN, RESIDENT, ADVISE],
        allowed: &[THREADS, CPUS],
    },
    Mode {
        name: "userfaultfd, one thread",
        memories: &[(Memory::Small, "own mappings with small pages")],
        options: || AccessOptions::new().copy_threads(1).userfaultfd(true),
        made: &[LEN, READ, RESIDENT, ADVISE, MAP, UNMAP, FAULTS, REQUEST, CLOSE],
        allowed: &[STATUS, CLOSED],
    },
    Mode {
        name: "map_files",
        memories: &[(Memory::Mapped, "own mappings")],
        options: AccessOptions::new,
        made: &[MAP, LEN, RESIDENT, ADVISE],
        allowed: &[STATUS],
    },
    Mode {
        name: "map_files with examined files",
        memories: &[(Memory::Examined, "own mappings")],
        options: AccessOptions::new,
        made: &[MAP, LEN, RESIDENT, ADVISE],
        allowed: &[],
    },
];

/// The memory of a case.
#[derive(Clone, Copy)]
enum Memory {
    /// Mappings of guest-ram.
    Own,
    /// The same with small pages.
    Small,
    /// Mappings of guest-ram at host addresses.
    Host,
    /// Mappings of guest-ram, over which the file is mapped.
    Mapped,
    /// The same, and the file was examined before.
    Examined,
}

const COPIED: &[(Memory, &str)] = &[(Memory::Own, "own mappings"), (Memory::Host, "host addresses")];

/// A case: a mode, its memory, and the name of a call that the filter forbids.
struct Case {
    name: String,
    mode: &'static Mode,
    memory: Memory,
    forbidden: Option<&'static str>,
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for mode in MODES {
        for &(memory, memory_name) in mode.memories {
            let all = format!("{}: {memory_name}", mode.name);
            for &(call, _) in mode.made {
                cases.push(Case {
                    name: format!("{all}: not without {call}"),
                    mode,
                    memory,
                    forbidden: Some(call),
                });
            }
            cases.push(Case {
                name: all,
                mode,
                memory,
                forbidden: None,
            });
        }
    }
    cases
}

/// Runs every case in a process of its own.
pub(crate) fn run_all() {
    let trials = cases().into_iter().map(|case| {
        Trial::ignorable_test(case.name.clone(), move || match skip_reason(&case) {
            Some(reason) => Ok(Completion::ignored_with(reason)),
            None => check(&case).map(|()| Completion::Completed),
        })
    });
    libtest_mimic::run(&Arguments::from_args(), trials.collect()).exit();
}

/// Reason why this host cannot run a case.
fn skip_reason(case: &Case) -> Option<&'static str> {
    /// `UFFD_USER_MODE_ONLY`.
    const USER_MODE_ONLY: libc::c_int = 1;
    if !case.mode.made.contains(&FAULTS) {
        return None;
    }
    // SAFETY: the call takes flags and returns a new descriptor.
    let descriptor = unsafe { libc::syscall(libc::SYS_userfaultfd, libc::O_CLOEXEC | USER_MODE_ONLY) };
    if descriptor < 0 {
        return Some("the host has no userfaultfd for processes without privileges");
    }
    // SAFETY: the descriptor is new, and nothing else owns it.
    drop(unsafe { OwnedFd::from_raw_fd(descriptor.try_into().unwrap()) });
    None
}

fn check(case: &Case) -> Result<(), Failed> {
    let status = Command::new(std::env::current_exe()?)
        .env(CASE, &case.name)
        .status()?;
    let is_right = match case.forbidden {
        None => status.success(),
        Some(_) => status.signal() == Some(libc::SIGSYS),
    };
    if is_right {
        Ok(())
    } else {
        Err(format!("the process ended with {status}").into())
    }
}

/// Runs one case and ends the process: with 0 if the plan is loaded, or with SIGSYS.
pub(crate) fn child(name: &str) -> ! {
    let cases = cases();
    let case = cases.iter().find(|case| case.name == name).unwrap();
    let boot = Boot::new();
    let options = (case.mode.options)();
    let huge_pages = match case.memory {
        Memory::Small => HugePages::Avoid,
        _ => HugePages::default(),
    };
    let mut own: GuestRam = RamOptions::new()
        .access(options)
        .huge_pages(huge_pages)
        .build(&boot.machine.memory)
        .unwrap();
    let regions = own.regions().map(|region| HostRegion {
        range: region.range(),
        host: NonNull::new(region.host_ptr()).unwrap(),
    });
    // SAFETY: `own` is neither dropped nor, in cases with host addresses, accessed.
    let host = unsafe { HostRam::new(regions) };
    let mut host = host.unwrap().with_access(options);
    let kernel = MappableFile::new(boot.kernel()).unwrap();
    seccompiler::apply_filter(&program(case)).unwrap();
    let is_loaded = match case.memory {
        Memory::Own | Memory::Small => boot.load(&mut own) && Boot::is_loaded(&own),
        Memory::Host => boot.load(&mut host) && Boot::is_loaded(&host),
        Memory::Mapped => boot.load(&mut own.map_files(FileMapping::Trusted)) && Boot::is_loaded(&own),
        Memory::Examined => {
            let mapper = own.map_files(FileMapping::Trusted);
            boot.load(&mut mapper.examined(&[kernel])) && Boot::is_loaded(&own)
        }
    };
    // SAFETY: `_exit` has no preconditions.
    unsafe { libc::_exit(i32::from(!is_loaded)) }
}

/// The filter of a case: kills the process at any call that the mode does not have.
fn program(case: &Case) -> BpfProgram {
    let calls = case.mode.allowed.iter().copied().flatten();
    let calls = case.mode.made.iter().chain(calls);
    let calls = calls.filter(|(name, _)| case.forbidden != Some(*name));
    let rules = calls.map(|&(_, number)| number).chain([libc::SYS_exit_group]);
    let filter = SeccompFilter::new(
        rules.map(|number| (number, Vec::new())).collect(),
        SeccompAction::KillProcess,
        SeccompAction::Allow,
        TargetArch::try_from(std::env::consts::ARCH).unwrap(),
    );
    filter.unwrap().try_into().unwrap()
}
