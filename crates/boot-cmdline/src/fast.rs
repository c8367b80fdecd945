//! Arguments that shorten the start of Linux.

use alloc::vec::Vec;

use crate::RawCmdline;
use crate::scan;

/// An argument that shortens the start of a Linux guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct FastArg {
    /// The argument as it is on the command line.
    pub text: &'static str,
    /// Keys of arguments that decide about the same: where the command line has one of them, the caller has decided.
    pub keys: &'static [&'static str],
}

/// Arguments that shorten the start of a Linux guest, without a change of what its user can rely on: no mitigation, no
/// randomization of addresses, no check of permissions and no device of the machine is turned off.
///
/// - `cryptomgr.notests`: the kernel does not compare its implementations of cryptographic algorithms with test vectors before it
///   uses them. Many kernels are built without these tests; Debian's has them. With `fips=1` the kernel runs them in any case.
/// - `quiet`: the console shows errors only. Each character on a serial port costs two exits. The log of the kernel (`dmesg`) is
///   complete. Programs in userspace, such as systemd, read this argument, too, and print less.
/// - `pci=off`, only for a PC without a PCI host ([`without_pci`](Self::without_pci)): the kernel does not look for one at the
///   configuration ports.
///
/// An argument of the caller wins: [`add_to`](Self::add_to) adds what the line leaves open.
///
/// ```
/// use boot_cmdline::{FastStart, RawCmdline};
///
/// let fast = FastStart::new();
/// let line: RawCmdline = "console=ttyS0 loglevel=7".parse()?;
/// let line = fast.add_to(&line, 2047);
/// // `loglevel` decides about the console.
/// assert_eq!(line.as_bytes(), b"cryptomgr.notests console=ttyS0 loglevel=7");
/// assert_eq!(fast.add_to(&line, 2047), line);
/// # Ok::<(), boot_cmdline::CmdlineError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct FastStart {
    without_pci: bool,
}

/// For each machine, the one that saves most first.
const EVERYWHERE: [FastArg; 2] = [
    FastArg {
        text: "cryptomgr.notests",
        keys: &["cryptomgr.notests", "cryptomgr.panic_on_fail", "fips"],
    },
    FastArg {
        text: "quiet",
        keys: &["quiet", "loglevel", "debug", "ignore_loglevel"],
    },
];

const WITHOUT_PCI: FastArg = FastArg {
    text: "pci=off",
    keys: &["pci"],
};

impl FastStart {
    /// The arguments for every machine.
    #[must_use]
    pub const fn new() -> Self {
        Self { without_pci: false }
    }

    /// Adds those for a PC (x86_64) without a PCI host.
    #[must_use]
    pub const fn without_pci(self) -> Self {
        Self { without_pci: true }
    }

    /// The arguments, the one that saves most first.
    pub fn args(self) -> impl Iterator<Item = FastArg> {
        EVERYWHERE
            .into_iter()
            .chain(self.without_pci.then_some(WITHOUT_PCI))
    }

    /// `line` with those arguments before it that it leaves open: it has none of their [keys](FastArg::keys) before a `--`.
    ///
    /// Linux takes the last of several arguments with one key, so those of `line` win also where its spelling hides them, as in
    /// unbalanced quotes. An argument with which the line would have more than `max_len` bytes, without its NUL, is left out.
    #[must_use]
    pub fn add_to(self, line: &RawCmdline, max_len: usize) -> RawCmdline {
        let mut words: Vec<&[u8]> = Vec::new();
        let mut len = line.encoded_len();
        for arg in self.args() {
            let mut found = scan::raw_keys(line.as_bytes());
            if found.any(|found| {
                arg.keys
                    .iter()
                    .any(|key| scan::is_same_key(found, key.as_bytes()))
            }) {
                continue;
            }
            // A space separates it from what follows.
            let with_arg = len
                .saturating_add(arg.text.len())
                .saturating_add(usize::from(len != 0));
            if with_arg <= max_len {
                len = with_arg;
                words.push(arg.text.as_bytes());
            }
        }
        if !line.is_empty() {
            words.push(line.as_bytes());
        }
        RawCmdline::without_nul(words.join(&b' '))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn added(fast: FastStart, line: &str, max_len: usize) -> alloc::string::String {
        let line: RawCmdline = line.parse().unwrap();
        let merged = fast.add_to(&line, max_len);
        assert_eq!(
            fast.add_to(&merged, max_len),
            merged,
            "a second time adds nothing: {merged}"
        );
        let text = alloc::format!("{merged}");
        // What the caller wrote is the end of the line, byte by byte.
        text.strip_suffix(&*alloc::format!("{line}"))
            .unwrap()
            .trim_end()
            .into()
    }

    #[test]
    fn arguments_of_the_caller_win() {
        let check = |line, expected| {
            assert_eq!(
                added(FastStart::new().without_pci(), line, 2047),
                expected,
                "{line}"
            );
        };
        let all = "cryptomgr.notests quiet pci=off";
        check("", all);
        check("console=ttyS0 panic=-1", all);
        check("quiet", "cryptomgr.notests pci=off");
        check("console=ttyS0 loglevel=7", "cryptomgr.notests pci=off");
        check("debug", "cryptomgr.notests pci=off");
        check("ignore-loglevel", "cryptomgr.notests pci=off");
        check("fips=1", "quiet pci=off");
        check("cryptomgr.notests=0\tpci=conf1", "quiet");
        check("pci", "cryptomgr.notests quiet");
        check("\"quiet\"", "cryptomgr.notests pci=off");
        check("\"loglevel=7\"", "cryptomgr.notests pci=off");
        // Other keys that contain the key or its value.
        check("quietly debugfs=off pci_hp=1 x=quiet", all);
        check("name=\"a quiet one\"", all);
        // Arguments of init.
        check("root=/dev/vda -- quiet pci=conf1", all);
        check("name=\"a -- b\" quiet", "cryptomgr.notests pci=off");
        // Not a line of Linux; what follows the quote is one word.
        check("a=\"b quiet", all);
        check("pci\"", all);
    }

    #[test]
    fn only_machines_without_pci_turn_it_off() {
        assert_eq!(added(FastStart::new(), "a", 2047), "cryptomgr.notests quiet");
    }

    #[test]
    fn the_line_stays_below_its_limit() {
        let fast = FastStart::new().without_pci();
        let check = |max_len, expected| assert_eq!(added(fast, "a=b", max_len), expected, "{max_len}");
        check(0, "");
        check(8, "");
        check(9, "quiet");
        check(16, "quiet");
        check(17, "quiet pci=off");
        check(20, "quiet pci=off");
        check(21, "cryptomgr.notests");
        check(27, "cryptomgr.notests quiet");
        check(34, "cryptomgr.notests quiet");
        check(35, "cryptomgr.notests quiet pci=off");
        assert_eq!(added(fast, "", 17), "cryptomgr.notests");
        assert_eq!(added(fast, "", 16), "quiet pci=off");
    }
}
