//! The protocol of a boot and the alternatives to it.

use std::fmt;

use boot_core::protocol::{IncompatibleImage, Support};
use boot_core::{BootProtocol, KernelImage, protocol};

/// The protocol that starts an image, and the other ones that could. `Display` is advice for a boot that failed.
#[derive(Clone, Debug)]
pub(crate) struct ProtocolChoice {
    name: &'static str,
    support: Result<Support, IncompatibleImage>,
    /// The others that can start the image, the most suitable first.
    others: Vec<(&'static str, Support)>,
}

impl ProtocolChoice {
    /// `chosen` starts `image`; `protocols` are all protocols.
    pub(crate) fn new(
        chosen: &dyn BootProtocol,
        protocols: &[&dyn BootProtocol],
        image: &KernelImage,
    ) -> Self {
        let name = chosen.name();
        let others = protocol::rank(protocols, image)
            .into_iter()
            .map(|candidate| (candidate.protocol.name(), candidate.support))
            .filter(|(other, _)| *other != name)
            .filter_map(|(other, support)| Some((other, support.ok()?)))
            .collect();
        Self {
            name,
            support: chosen.supports(image),
            others,
        }
    }
}

impl fmt::Display for ProtocolChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the kernel was started by the protocol {}", self.name)?;
        if let Ok(support) = &self.support {
            write!(f, " ({support})")?;
        }
        if self.others.is_empty() {
            return f.write_str("; no other protocol can start it");
        }
        for (name, support) in &self.others {
            write!(f, "; try `--protocol {name}` ({support})")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use boot_core::{Arch, Endian, EntryAbi, GuestRange, ImageBuilder, SourceRange};

    use super::*;

    /// The advice for an image that the default protocol starts, and for each protocol that the advice names.
    fn advice(entries: &[EntryAbi]) -> Vec<String> {
        let at = 0x10_0000;
        let mut builder = ImageBuilder::new("elf", Arch::X86_64, Endian::Little, 8)
            .segment(SourceRange::whole(8), GuestRange::new(at, 8).unwrap());
        for abi in entries {
            builder = builder.entry(*abi, at);
        }
        let image = builder.build().unwrap();
        let protocols = vmboot::protocols().unwrap();
        let chosen = protocol::select(&protocols, &image).unwrap();
        let choice = ProtocolChoice::new(chosen, &protocols, &image);
        let others = choice.others.iter().map(|(name, _)| {
            let other = protocols.iter().find(|protocol| protocol.name() == *name);
            ProtocolChoice::new(*other.unwrap(), &protocols, &image)
        });
        let others: Vec<_> = others.collect();
        [choice].iter().chain(&others).map(ToString::to_string).collect()
    }

    #[test]
    fn advice_names_the_other_protocols() {
        let (pvh, linux) = (
            "declared: it has a PVH entry note",
            "possible: it has an ELF entry point and no mark of a Linux kernel",
        );
        assert_eq!(
            advice(&[EntryAbi::ELF64, EntryAbi::PVH]),
            [
                format!(
                    "the kernel was started by the protocol pvh ({pvh}); try `--protocol linux` ({linux})"
                ),
                format!(
                    "the kernel was started by the protocol linux ({linux}); try `--protocol pvh` ({pvh})"
                ),
            ]
        );
        assert_eq!(
            advice(&[EntryAbi::PVH]),
            [format!(
                "the kernel was started by the protocol pvh ({pvh}); no other protocol can start it"
            )]
        );
    }
}
