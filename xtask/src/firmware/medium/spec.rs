//! What a medium is to be like.

use super::fat::Units;
use super::kind::Kind;
use super::partitions::Table;

/// What a medium is to be like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Medium {
    pub(crate) kind: Kind,
    pub(crate) table: Table,
    /// Length of a block of the disk in bytes: 512 or 4096.
    pub(crate) block_size: u16,
    /// Length of a cluster of the ESP in bytes; `None`: one block, as mkfs.fat does for small file systems.
    pub(crate) cluster: Option<u32>,
    /// Length in MiB of a file in the initrd that nobody reads.
    pub(crate) padding: u32,
    /// What userspace does at its end.
    pub(crate) end: End,
    /// True if `guests/efitrace` starts the boot loader.
    pub(crate) is_traced: bool,
    /// True if it is for the machines of `vmboot run`: their consoles and ends differ from those of QEMU's machines.
    pub(crate) is_for_vmboot: bool,
    /// Frequency of the TSC in kHz for the kernel, where it has nothing to measure it with.
    pub(crate) tsc_khz: Option<u64>,
    /// True if an entry comes first whose kernel has [`BAD_SECTOR`](super::content::BAD_SECTOR) in its middle.
    pub(crate) has_bad_entry: bool,
}

/// What userspace does at its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum End {
    /// Powers the machine off.
    Poweroff,
    /// Resets the machine, by EFI's runtime service if there is one.
    Reboot,
}

impl Medium {
    /// The medium of this kind with the default options.
    pub(crate) fn new(kind: Kind) -> Self {
        Self {
            kind,
            table: Table::Gpt,
            block_size: 512,
            cluster: None,
            padding: 0,
            end: End::Poweroff,
            is_traced: false,
            is_for_vmboot: false,
            tsc_khz: None,
            has_bad_entry: false,
        }
    }

    /// The medium of this kind for `vmboot run`.
    pub(crate) fn for_vmboot(kind: Kind) -> Self {
        Self {
            is_for_vmboot: true,
            ..Self::new(kind)
        }
    }

    /// The name of the image, which differs for all media.
    pub(super) fn file_name(&self, arch: &str) -> String {
        let options = [
            (self.table == Table::Mbr).then(|| "mbr".to_owned()),
            (self.block_size != 512).then(|| self.block_size.to_string()),
            self.cluster.map(|cluster| format!("c{cluster}")),
            (self.padding != 0).then(|| format!("pad{}", self.padding)),
            (self.end == End::Reboot).then(|| "reboot".to_owned()),
            self.is_traced.then(|| "traced".to_owned()),
            self.is_for_vmboot.then(|| "vmboot".to_owned()),
            self.tsc_khz.map(|_| "tsc".to_owned()),
            self.has_bad_entry.then(|| "bad".to_owned()),
        ];
        let parts = [arch.to_owned(), self.kind.name().to_owned()];
        let parts: Vec<String> = parts.into_iter().chain(options.into_iter().flatten()).collect();
        parts.join("-") + ".img"
    }

    /// The sizes of the units of the ESP.
    pub(super) fn units(&self) -> Units {
        let cluster = self.cluster.unwrap_or_else(|| self.block_size.into());
        Units {
            block: self.block_size,
            cluster: cluster.max(self.block_size.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_media_differ() {
        let base = Medium::new(Kind::Uki);
        let media = [
            base,
            Medium {
                kind: Kind::Bls1,
                ..base
            },
            Medium {
                table: Table::Mbr,
                ..base
            },
            Medium {
                block_size: 4096,
                ..base
            },
            Medium {
                cluster: Some(4096),
                ..base
            },
            Medium { padding: 64, ..base },
            Medium {
                end: End::Reboot,
                ..base
            },
            Medium {
                is_traced: true,
                ..base
            },
            Medium::for_vmboot(Kind::Uki),
            Medium {
                tsc_khz: Some(1),
                ..base
            },
            Medium {
                has_bad_entry: true,
                ..base
            },
        ];
        let names = media.map(|medium| medium.file_name("riscv64"));
        assert_eq!(
            names,
            [
                "riscv64-uki.img",
                "riscv64-bls1.img",
                "riscv64-uki-mbr.img",
                "riscv64-uki-4096.img",
                "riscv64-uki-c4096.img",
                "riscv64-uki-pad64.img",
                "riscv64-uki-reboot.img",
                "riscv64-uki-traced.img",
                "riscv64-uki-vmboot.img",
                "riscv64-uki-tsc.img",
                "riscv64-uki-bad.img",
            ]
        );
    }

    #[test]
    fn a_cluster_is_at_least_a_block() {
        let check = |block_size, cluster, expected| {
            let medium = Medium {
                block_size,
                cluster,
                ..Medium::new(Kind::Bls1)
            };
            assert_eq!(medium.units().cluster, expected, "{block_size} {cluster:?}");
        };
        check(512, None, 512);
        check(512, Some(4096), 4096);
        check(4096, Some(512), 4096);
        check(4096, None, 4096);
    }
}
