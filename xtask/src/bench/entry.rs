//! Instructions of a guest from the entry of Debian's x86_64 kernel to `start_kernel`, by route.
//!
//! QEMU emulates the machine with `-icount`, so that the time-stamp counter counts instructions, those of the guest only. A boot of the kernel
//! prints the address of `start_kernel`. In copies of the kernel the code there, or at the entry, prints the counter and resets the machine; the
//! difference of both is the result. Each repetition of a string instruction counts as one.

mod kernels;

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use self::kernels::Kernels;
use super::limits::{self, Limits};
use crate::arch::Arch;
use crate::cli::BenchArgs;
use crate::error::Error;
use crate::fixtures;
use crate::kernel;
use crate::process;
use crate::progress::print_status;
use crate::qemu::Emulator;
use crate::suite::Suite;
use crate::workspace::Workspace;

/// Time for one run.
const DEADLINE: Duration = Duration::from_mins(4);

/// The kernel stays at the address of its link, so that nothing relocates the code that is put there.
const CMDLINE: &str = "console=ttyS0 panic=-1 reboot=k nokaslr quiet init.addresses";

/// Measures both routes, prints the counts, and checks their ratio if `args` asks for that.
pub(super) fn run(workspace: &Workspace, args: &BenchArgs) -> Result<(), Error> {
    let row = Arch::X86_64.row();
    let emulator = row.first_lab().qemu.ensure(workspace)?;
    let bzimage = kernel::ensure(workspace, row, Suite::Trixie)?.image;
    let initrd = fixtures::linux_initrd(workspace, row)?;
    print_status("booting the kernel for the address of start_kernel");
    let mut command = machine(&emulator, &bzimage);
    command.arg("-initrd").arg(&initrd).args(["-serial", "stdio"]);
    let (console, _) = process::output_until(&mut command, DEADLINE)?;
    let start_kernel =
        address(&console).ok_or(Error::StartKernel("is not among the symbols that init reads"))?;
    let kernels = Kernels::write(workspace, &bzimage, start_kernel)?;
    print_status("counting the instructions up to start_kernel");
    let count = |entry: &Path, end: &Path| -> Result<u64, Error> {
        let counter = |kernel| -> Result<u64, Error> {
            let mut command = machine(&emulator, kernel);
            command.args(["-debugcon", "stdio"]);
            let (output, _) = process::output_until(&mut command, DEADLINE)?;
            kernels::counter(&output).ok_or(Error::StartKernel("was not reached"))
        };
        Ok(counter(end)?.saturating_sub(counter(entry)?))
    };
    let bzimage = count(&kernels.bzimage_entry, &kernels.bzimage_end)?;
    let vmlinux = count(&kernels.pvh_entry, &kernels.vmlinux_end)?;
    let limit = Limits::read().entry.ratio;
    let (text, part) = report(bzimage, vmlinux, limit);
    println!("{text}");
    let is_missed = part > limit;
    limits::check(
        args,
        is_missed
            .then(|| "vmlinux by PVH".to_owned())
            .into_iter()
            .collect(),
    )
}

/// A machine with this kernel, which ends at its reset.
fn machine(emulator: &Emulator, kernel: &Path) -> Command {
    let mut command = emulator.command();
    command
        .args(["-machine", "q35,accel=tcg", "-cpu", "max", "-m", "512"])
        .args(["-icount", "shift=0,sleep=off", "-nodefaults", "-no-reboot"])
        .args(["-display", "none", "-append", CMDLINE, "-kernel"])
        .arg(kernel);
    command
}

/// The address that init prints.
fn address(console: &str) -> Option<u64> {
    let mut lines = console.lines();
    let text = lines.find_map(|line| line.trim().strip_prefix("start_kernel: 0x"))?;
    u64::from_str_radix(text, 16).ok()
}

/// The counts in words, and the part of the bzImage's that the vmlinux takes.
fn report(bzimage: u64, vmlinux: u64, limit: f64) -> (String, f64) {
    let thousands = |count: u64| f64::from(u32::try_from(count / 1000).unwrap_or(u32::MAX));
    let [whole, part] = [bzimage, vmlinux].map(thousands);
    let ratio = part / whole;
    let text = format!(
        "entry to start_kernel: bzImage {:.1} million instructions, vmlinux by PVH {:.1} million, {:.2} % (limit {} %)",
        whole / 1e3,
        part / 1e3,
        ratio * 100.0,
        limit * 100.0
    );
    (text, ratio)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_console_has_the_address() {
        assert_eq!(
            address("a\r\nstart_kernel: 0xffffffff83abc000\r\n"),
            Some(0xffff_ffff_83ab_c000)
        );
        assert_eq!(address("start_kernel: unknown (entity not found)"), None);
    }

    #[test]
    fn the_routes_are_compared() {
        let (text, part) = report(650_000_000, 6_500_000, 0.02);
        assert!(
            text.contains("bzImage 650.0 million") && text.contains("1.00 %"),
            "{text}"
        );
        assert!((part - 0.01).abs() < 1e-9);
    }
}
