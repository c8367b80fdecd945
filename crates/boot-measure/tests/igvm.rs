//! Plans as IGVM files: read back, and measured, by the crate `igvm`.

#[allow(dead_code, reason = "the vectors use the rest")]
#[path = "vectors/inputs.rs"]
mod inputs;

use std::collections::BTreeMap;

use boot_core::{AdditionalLoad, Arch, PageKind};
use boot_measure::igvm::{ExportError, Platform, SNP_POLICY_SMT, export};
use boot_measure::snp::{CpuSignature, PlanLaunch, ZeroPages, plan_launch_digest};
use igvm::measurement::generate_snp_measurement;
use igvm::{IgvmDirectiveHeader, IgvmFile, IgvmPlatformHeader};
use igvm_defs::{IgvmPageDataType, IgvmPlatformType};

use inputs::{Boot, arm64_state, boot, bytes, kinds, x86_state};

fn launch(vcpus: u32) -> PlanLaunch {
    PlanLaunch::new(vcpus, CpuSignature::new(25, 1, 1)).with_zero_pages(ZeroPages::Normal)
}

fn snp(vcpus: u32) -> Platform {
    Platform::snp(launch(vcpus), SNP_POLICY_SMT)
}

/// The file of a plan, read back.
fn read_back(boot: &Boot, platform: &Platform) -> IgvmFile {
    let bytes = export(&boot.plan, &boot.sources(), platform).unwrap();
    IgvmFile::new_from_binary(&bytes, None).unwrap()
}

/// Pages by address: kind and content.
fn pages(file: &IgvmFile) -> BTreeMap<u64, (IgvmPageDataType, bool, bool, Vec<u8>)> {
    let mut pages = BTreeMap::new();
    for directive in file.directives() {
        if let IgvmDirectiveHeader::PageData {
            gpa,
            flags,
            data_type,
            data,
            compatibility_mask,
        } = directive
        {
            assert_eq!(*compatibility_mask, 1);
            let page = (*data_type, flags.unmeasured(), flags.shared(), data.clone());
            assert!(pages.insert(*gpa, page).is_none());
        }
    }
    pages
}

#[test]
fn a_file_has_the_pages_of_the_plan() {
    let content = bytes(0x1000, 6).try_into().unwrap();
    let boot = boot(Arch::X86_64, vec![x86_state().into()], &kinds(&content));
    let file = read_back(&boot, &snp(1));
    let IgvmPlatformHeader::SupportedPlatform(platform) = &file.platforms()[0];
    assert_eq!(platform.platform_type, IgvmPlatformType::SEV_SNP);
    let found = pages(&file);
    let mut memory: BTreeMap<u64, Vec<u8>> = BTreeMap::new();
    let mut write = |at: u64, bytes: &[u8]| {
        for (address, byte) in (at..).zip(bytes) {
            let page = memory.entry(address & !0xfff).or_insert_with(|| vec![0; 0x1000]);
            page[usize::try_from(address & 0xfff).unwrap()] = *byte;
        }
    };
    write(0x500, &bytes(32, 3));
    write(0x520, &bytes(100, 4));
    write(0x7000, &bytes(0x1000, 5));
    write(0x8800, &[0; 0x3000]);
    write(0x10_0000, &boot.kernel);
    write(0x10_2345, &[0; 0x5000 - 0x2345]);
    write(0x80_0000, &boot.initrd);
    for (gpa, content) in &memory {
        let (data_type, unmeasured, shared, data) = &found[gpa];
        assert_eq!(
            (*data_type, *unmeasured, *shared),
            (IgvmPageDataType::NORMAL, false, false)
        );
        let zeros = data.is_empty() && content.iter().all(|byte| *byte == 0);
        assert!(zeros || data == content, "{gpa:#x}");
    }
    let others: Vec<_> = found
        .iter()
        .filter(|(gpa, _)| !memory.contains_key(gpa))
        .map(|(gpa, (data_type, unmeasured, shared, data))| {
            (*gpa, *data_type, *unmeasured, *shared, data.len())
        })
        .collect();
    assert_eq!(
        others,
        [
            (0x30_0000, IgvmPageDataType::SECRETS, false, false, 0x1000),
            (0x30_1000, IgvmPageDataType::CPUID_DATA, false, false, 0x1000),
            (0x30_2000, IgvmPageDataType::NORMAL, true, false, 0),
            (0x30_3000, IgvmPageDataType::NORMAL, true, false, 0),
            (0x30_4000, IgvmPageDataType::NORMAL, false, true, 0x1000),
        ]
    );
}

#[test]
fn the_measurement_of_the_file_is_that_of_the_plan() {
    let content = bytes(0x1000, 6).try_into().unwrap();
    let kinds = kinds(&content);
    for (vcpus, additional) in [(1, &[][..]), (3, &[]), (2, &kinds)] {
        let boot = boot(Arch::X86_64, vec![x86_state().into()], additional);
        let file = read_back(&boot, &snp(vcpus));
        let found = generate_snp_measurement(file.initializations(), file.directives(), 1).unwrap();
        let expected = plan_launch_digest(&boot.plan, &boot.sources(), &launch(vcpus)).unwrap();
        assert_eq!(&found, expected.as_bytes());
    }
}

#[test]
fn a_file_without_isolation_has_the_registers_of_the_plan() {
    let mut state = x86_state();
    state.gs.base = 0x1_2345_6789;
    let boot = boot(Arch::X86_64, vec![state.into()], &[]);
    let file = read_back(&boot, &Platform::Native);
    let contexts: Vec<_> = file
        .directives()
        .iter()
        .filter_map(|directive| match directive {
            IgvmDirectiveHeader::X64NativeVpContext {
                vp_index, context, ..
            } => Some((*vp_index, context)),
            _ => None,
        })
        .collect();
    let [(0, context)] = contexts[..] else {
        panic!("{contexts:?}");
    };
    assert_eq!(
        (context.rip, context.rsi, context.r15),
        (state.rip, state.rsi, state.r15)
    );
    assert_eq!(
        (context.cr0, context.cr3, context.cr4),
        (state.cr0, state.cr3, state.cr4)
    );
    assert_eq!(
        (context.efer, context.rsp, context.rflags),
        (state.efer, state.rsp, 2)
    );
    assert_eq!((context.code_selector, context.code_attributes), (0x10, 0xa09b));
    assert_eq!((context.data_selector, context.data_attributes), (0x18, 0xc093));
    assert_eq!((context.gdtr_base, context.gdtr_limit), (0x500, 31));
    assert_eq!((context.idtr_base, context.idtr_limit), (0x520, 0));
    assert_eq!((context.gs_base, context.data_limit), (0x1_2345_6789, u32::MAX));
}

#[track_caller]
fn check(boot: &Boot, platform: &Platform, expected: &str) {
    let error: ExportError = export(&boot.plan, &boot.sources(), platform).unwrap_err();
    assert_eq!(error.to_string(), expected);
}

#[test]
fn what_the_format_lacks_is_an_error() {
    let arm64 = boot(Arch::Aarch64, vec![arm64_state().into()], &[]);
    check(
        &arm64,
        &Platform::Native,
        "IGVM files without isolation are for x86_64 only, but the plan is for aarch64",
    );
    check(
        &arm64,
        &snp(1),
        "the plan is for aarch64, but the launch is for x86_64",
    );
    let mut state = x86_state();
    state.fs.base = 1;
    let expected =
        "the data segments cannot be expressed: the format has one data segment, and segments below 4 GiB";
    check(
        &boot(Arch::X86_64, vec![state.into()], &[]),
        &Platform::Native,
        expected,
    );
    let present = [AdditionalLoad::present("firmware", 0x30_0000, 0x1000)];
    let boot_with = |additional| boot(Arch::X86_64, vec![x86_state().into()], additional);
    check(
        &boot_with(&present),
        &Platform::Native,
        "the firmware at 0x300000..0x301000 keeps what the memory contains, so its content cannot be measured",
    );
    let other = [AdditionalLoad::bytes("table", &[1; 16])
        .at(0x30_0000)
        .in_pages(PageKind::new("own"))];
    check(
        &boot_with(&other),
        &snp(1),
        "the table at 0x300000..0x301000 has pages of the kind own, which this launch does not have",
    );
}

#[test]
fn more_cpus_than_a_file_numbers_are_refused() {
    let boot = boot(Arch::X86_64, vec![x86_state().into()], &[]);
    let error = export(&boot.plan, &boot.sources(), &snp(65_537)).unwrap_err();
    assert!(
        matches!(error, ExportError::TooManyCpus { found: 65_537 }),
        "{error}"
    );
    assert_eq!(
        error.to_string(),
        "there are 65537 CPUs; a file has at most 65536"
    );
}
