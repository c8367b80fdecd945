//! Numbers of registers and CPU features in stored states of bare machines, as plain data.

use std::fmt;

use hv_core::StoredFeature;

use crate::{
    Msr, bare_cpuid,
    cpuid::{CpuidEntry, Output},
};

/// Number of a register, or of a group of registers, in a stored state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StoredId(pub(crate) u64);

impl StoredId {
    /// General and system registers: [`hv_core::encode_x86_state`].
    pub(crate) const CPU: Self = Self(1);
    pub(crate) const CR8: Self = Self(2);
    pub(crate) const XCR0: Self = Self(3);
    /// The XSAVE area in its standard format.
    pub(crate) const XSAVE: Self = Self(4);
    /// `DR0` to `DR3`, `DR6`, `DR7`.
    pub(crate) const DEBUG: [Self; 6] = [
        Self(0x10),
        Self(0x11),
        Self(0x12),
        Self(0x13),
        Self(0x16),
        Self(0x17),
    ];

    /// Added to the numbers of MSRs.
    const MSR: u64 = 1 << 32;

    pub(crate) fn msr(msr: Msr) -> Self {
        Self(Self::MSR | u64::from(msr.0))
    }
}

impl fmt::Display for StoredId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::CPU => f.write_str("the general and system registers"),
            Self::CR8 => f.write_str("CR8"),
            Self::XCR0 => f.write_str("XCR0"),
            Self::XSAVE => f.write_str("the XSAVE area"),
            Self(id @ 0x10..=0x17) => write!(f, "DR{}", id & 7),
            Self(id) => match u32::try_from(id ^ Self::MSR) {
                Ok(msr) => write!(f, "{}", Msr(msr)),
                Err(_) => write!(f, "register {id:#x}"),
            },
        }
    }
}

/// A word of the CPUID table.
#[derive(Clone, Copy)]
struct Word {
    function: u32,
    index: u32,
    output: Output,
}

const fn word(function: u32, index: u32, output: Output) -> Word {
    Word {
        function,
        index,
        output,
    }
}

/// Words that say which instructions and state components the CPU has (Intel SDM 2A, `CPUID`; AMD APM 3, appendix E). Sizes of caches,
/// names and addresses are not among them.
const FEATURES: [Word; 21] = [
    word(1, 0, Output::Ecx),
    word(1, 0, Output::Edx),
    word(7, 0, Output::Ebx),
    word(7, 0, Output::Ecx),
    word(7, 0, Output::Edx),
    word(7, 1, Output::Eax),
    word(7, 1, Output::Edx),
    word(XSTATE, 0, Output::Eax),
    word(XSTATE, 1, Output::Eax),
    word(XSTATE, 2, Output::Eax),
    word(XSTATE, 2, Output::Ebx),
    word(XSTATE, 5, Output::Eax),
    word(XSTATE, 5, Output::Ebx),
    word(XSTATE, 6, Output::Eax),
    word(XSTATE, 6, Output::Ebx),
    word(XSTATE, 7, Output::Eax),
    word(XSTATE, 7, Output::Ebx),
    word(0x8000_0001, 0, Output::Ecx),
    word(0x8000_0001, 0, Output::Edx),
    word(0x8000_0008, 0, Output::Ebx),
    word(0x8000_0021, 0, Output::Eax),
];

/// State components; from subleaf 2 on, `EAX` is the size of an area and `EBX` its offset.
const XSTATE: u32 = 0xd;

impl Word {
    /// Number of the word: leaf, subleaf and register.
    fn id(self) -> u64 {
        let output = match self.output {
            Output::Eax => 0,
            Output::Ebx => 1,
            Output::Ecx => 2,
            Output::Edx => 3,
        };
        u64::from(self.function) << 32 | u64::from(self.index) << 8 | output
    }
}

/// The features in a CPUID table.
pub(crate) fn features(table: &[CpuidEntry]) -> Vec<StoredFeature> {
    let value = |word: Word| {
        let mut entries = table.iter();
        let entry = entries.find(|entry| (entry.function, entry.index) == (word.function, word.index));
        entry.map_or(0, |entry| word.output.of(entry))
    };
    let mut features: Vec<_> = FEATURES
        .into_iter()
        .map(|word| StoredFeature {
            id: word.id(),
            value: value(word).into(),
        })
        .collect();
    features.sort_unstable_by_key(|feature| feature.id);
    features
}

/// Whether a CPU with the word `here` has all features of one with the word `stored`.
pub(crate) fn feature_fits(id: u64, stored: u64, here: u64) -> bool {
    let (function, index) = (id >> 32, id >> 8 & 0x00ff_ffff);
    if function == u64::from(XSTATE) && index > 1 {
        // A component that the other CPU did not have changes nothing.
        stored == 0 || stored == here
    } else {
        stored & !here == 0
    }
}

/// Name of a word of the CPUID table.
pub(crate) fn feature_name(id: u64) -> String {
    let output = ["EAX", "EBX", "ECX", "EDX"].into_iter().zip(0..);
    let mut output = output.filter(|(_, number)| *number == id & 0xff);
    let output = output.next().map_or("another register", |(name, _)| name);
    format!("CPUID.{:#x}.{:#x}:{output}", id >> 32, id >> 8 & 0x00ff_ffff)
}

/// Whether the header of `area` is one of the standard format, with no components but those of a bare machine (SDM 1, 13.4.2). Those that `XCR0`
/// does not enable may be there: SSE without `CR4.OSXSAVE`, and what was used before they were disabled.
pub(crate) fn accepts_xsave(area: &[u8]) -> bool {
    /// Offset of `XSTATE_BV`. The rest of the header is zero in the standard format.
    const HEADER: usize = 512;
    /// Length of the rest.
    const REST: usize = 56;
    let header = area.get(HEADER..).and_then(|rest| rest.split_first_chunk::<8>());
    header.is_some_and(|(present, rest)| {
        u64::from_le_bytes(*present) & !bare_cpuid::XCR0 == 0 && rest.iter().take(REST).all(|byte| *byte == 0)
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn leaf(function: u32, index: u32, words: [u32; 4]) -> CpuidEntry {
        let [eax, ebx, ecx, edx] = words;
        CpuidEntry {
            function,
            index,
            eax,
            ebx,
            ecx,
            edx,
            ..CpuidEntry::default()
        }
    }

    #[test]
    fn a_cpu_with_more_features_fits() {
        let table = [
            leaf(0, 0, [1, 2, 3, 4]),
            leaf(1, 0, [9, 9, 0b101, 0b11]),
            leaf(7, 0, [1, 0xf0, 0, 0]),
            leaf(XSTATE, 2, [256, 576, 0, 0]),
        ];
        let stored = features(&table);
        assert_eq!(stored.len(), FEATURES.len());
        assert!(stored.is_sorted_by(|a, b| a.id < b.id));
        let check = |entry: CpuidEntry, expected: Option<&str>| {
            let mut here = table;
            let place = here.iter_mut();
            for found in place.filter(|found| (found.function, found.index) == (entry.function, entry.index))
            {
                *found = entry;
            }
            let result = hv_core::check_features(&stored, &features(&here), feature_name, feature_fits);
            assert_eq!(
                result.map_err(|error| error.to_string()),
                expected.map_or(Ok(()), |text| Err(text.to_owned()))
            );
        };
        check(table[1], None);
        check(leaf(0, 0, [0; 4]), None);
        check(leaf(1, 0, [0, 0, 0b111, 0b11]), None);
        let missing = "the state needs a CPU whose CPUID.0x1.0x0:ECX has the bits of 0x5; here it is 0x1";
        check(leaf(1, 0, [9, 9, 1, 0b11]), Some(missing));
        let moved = "the state needs a CPU whose CPUID.0xd.0x2:EBX has the bits of 0x240; here it is 0x640";
        check(leaf(XSTATE, 2, [256, 0x640, 0, 0]), Some(moved));
        check(leaf(7, 0, [0, 0xff, 0, 0]), None);
    }

    #[test]
    fn numbers_differ_and_have_names() {
        let fixed = [StoredId::CPU, StoredId::CR8, StoredId::XCR0, StoredId::XSAVE];
        let ids = fixed
            .into_iter()
            .chain(StoredId::DEBUG)
            .chain([StoredId::msr(Msr::KERNEL_GS_BASE), StoredId::msr(Msr(3))]);
        let ids: Vec<_> = ids.collect();
        let names: BTreeSet<_> = ids.iter().map(StoredId::to_string).collect();
        assert_eq!(names.len(), ids.len());
        assert!(names.contains("DR7") && names.contains("DR0"));
        assert_eq!(StoredId(0x99).to_string(), "register 0x99");
    }

    #[test]
    fn areas_have_components_of_bare_machines() {
        let mut area = vec![0; 4096];
        area[512] = 0xe7;
        assert!(accepts_xsave(&area) && !accepts_xsave(&area[..519]));
        // Protection keys.
        area[513] = 2;
        assert!(!accepts_xsave(&area));
        area[513] = 0;
        // The compacted format.
        area[527] = 0x80;
        assert!(!accepts_xsave(&area));
    }
}
