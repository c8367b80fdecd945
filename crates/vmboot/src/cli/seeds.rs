//! Random seeds for the guest.

use std::fs::File;
use std::io::{self, Read};

use boot_core::{BootProtocol, BootRequest, RequestPart};

/// The operating system's source of random bytes.
const SOURCE: &str = "/dev/urandom";

/// Random seeds for one boot.
pub(crate) struct Seeds {
    rng: [u8; 64],
    pub(crate) kaslr: u64,
}

/// The source of random bytes cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot draw random seeds for the guest from {SOURCE}")]
pub(crate) struct SeedError(#[source] io::Error);

impl Seeds {
    /// Draws seeds from the operating system.
    pub(crate) fn draw() -> Result<Self, SeedError> {
        let (mut rng, mut kaslr) = ([0; 64], [0; 8]);
        File::open(SOURCE)
            .and_then(|mut source| {
                source.read_exact(&mut rng)?;
                source.read_exact(&mut kaslr)
            })
            .map_err(SeedError)?;
        Ok(Self {
            rng,
            kaslr: u64::from_ne_bytes(kaslr),
        })
    }

    /// Adds to `request` the seeds that `protocol` can hand over to its image.
    pub(crate) fn add_to<'a>(
        &'a self,
        request: BootRequest<'a>,
        protocol: &dyn BootProtocol,
    ) -> BootRequest<'a> {
        let accepts = |part| protocol.hands_over(part, request.image);
        let mut with_seeds = request;
        if accepts(RequestPart::RngSeed) {
            with_seeds.rng_seed = Some(&self.rng);
        }
        if accepts(RequestPart::KaslrSeed) {
            with_seeds.kaslr_seed = Some(self.kaslr);
        }
        with_seeds
    }
}

#[cfg(test)]
mod tests {
    use boot_core::{
        Arch, Cmdline, Endian, EntryAbi, GuestRange, ImageBuilder, Machine, MemoryMap, SourceRange,
    };

    use super::*;

    #[test]
    fn a_protocol_gets_the_seeds_that_it_can_hand_over() {
        let check = |protocol: &str, arch, abi, expected: (bool, bool)| {
            let image = ImageBuilder::new("test", arch, Endian::Little, 4)
                .segment(
                    SourceRange::new(0, 4).unwrap(),
                    GuestRange::new(0x8020_0000, 4).unwrap(),
                )
                .entry(abi, 0x8020_0000)
                .build()
                .unwrap();
            let machine = Machine::new(arch, MemoryMap::new());
            let cmdline = Cmdline::new();
            let protocols = vmboot::protocols().unwrap();
            let protocol = protocols.iter().find(|found| found.name() == protocol).unwrap();
            let seeds = Seeds::draw().unwrap();
            let request = seeds.add_to(BootRequest::new(&image, &machine, &cmdline), *protocol);
            assert_eq!(request.rng_seed.is_some(), expected.0, "{}", protocol.name());
            assert_eq!(request.kaslr_seed.is_some(), expected.1, "{}", protocol.name());
        };
        check("linux", Arch::X86_64, EntryAbi::ELF64, (true, false));
        check("pvh", Arch::X86_64, EntryAbi::PVH, (false, false));
        check("fdt-arm64", Arch::Aarch64, EntryAbi::ARM64_IMAGE, (true, true));
        check("fdt-riscv64", Arch::Riscv64, EntryAbi::RISCV_IMAGE, (true, true));
    }

    #[test]
    fn seeds_are_drawn_again_for_each_boot() {
        let (one, two) = (Seeds::draw().unwrap(), Seeds::draw().unwrap());
        assert_ne!(one.rng, two.rng);
        assert_ne!(one.kaslr, two.kaslr);
    }
}
