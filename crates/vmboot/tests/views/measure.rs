//! `vmboot measure`.

use std::fs;

use boot_measure::igvm::{Platform, SNP_POLICY_SMT, export};
use boot_measure::ovmf::Ovmf;
use boot_measure::pcr::{
    ArchiveKind, BOOT_PHASES, LinuxStub, Pcr, Stub, StubArchive, UkiSections, boot_manager,
};
use boot_measure::snp::{
    CpuSignature, FirmwareLaunch, KernelHashes, PlanLaunch, SevFeatures, Vmm, plan_launch_digest,
};
use boot_measure::{Content, HashAlgorithm, plan_digest};
use fmt_pe::pe::PeFile;
use fmt_test::pe::{AMD64, Pe};
use vmboot::boot_core::Arch;
use vmboot::boot_core::SizedSource;
use vmboot::report::MeasureReport;

use fmt_test::ovmf::Firmware;

use crate::boot::{Boot, boots, vmboot};

/// Runs `vmboot measure` with these options on a boot.
fn measure(boot: &Boot, options: &[&str]) -> std::process::Output {
    let dir = tempfile::tempdir().unwrap();
    let mut args = boot.args(dir.path(), "kernel");
    "measure".clone_into(&mut args[0]);
    args.extend(options.iter().map(|&option| option.to_owned()));
    vmboot(&args)
}

#[test]
fn the_command_prints_the_digests_of_the_library() {
    for boot in boots() {
        for algorithm in HashAlgorithm::ALL {
            let output = measure(&boot, &["--json", "--hash", algorithm.name()]);
            let error = String::from_utf8(output.stderr).unwrap();
            assert!(output.status.success(), "{}: {error}", boot.protocol);
            let found: MeasureReport = serde_json::from_slice(&output.stdout).unwrap();
            let expected = boot.planned(|plan, sources, _| plan_digest(plan, sources, algorithm).unwrap());
            assert_eq!(found, MeasureReport::new(&expected), "{}", boot.protocol);
            assert_eq!(found.schema, MeasureReport::SCHEMA);
        }
    }
}

#[test]
fn the_command_prints_launch_digests_of_x86_plans_only() {
    let mut launched = 0;
    for boot in boots() {
        let output = measure(&boot, &["--snp"]);
        let text = String::from_utf8(output.stdout).unwrap();
        let launch = PlanLaunch::new(1, CpuSignature::new(25, 1, 1));
        let expected = boot.planned(|plan, sources, _| {
            (plan.arch() == Arch::X86_64).then(|| {
                let plan_digest = plan_digest(plan, sources, HashAlgorithm::Sha256).unwrap();
                let digest = plan_launch_digest(plan, sources, &launch).unwrap();
                format!("plan sha256: {plan_digest}\nSEV-SNP launch digest: {digest}\n")
            })
        });
        if let Some(expected) = expected {
            launched += 1;
            assert_eq!(text, expected);
        } else {
            let error = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(1), "{error}");
            assert!(error.contains("but the launch is for x86_64"), "{error}");
        }
    }
    assert_eq!(launched, 4);
}

#[test]
fn options_of_the_launch_change_the_digest() {
    let boots = boots();
    let boot = &boots[0];
    let digests = [
        &["--snp"][..],
        &["--snp", "--guest-features", "0x21"],
        &["--snp", "--zero-pages", "normal"],
        &["--snp", "--vcpus", "2", "--vcpu-type", "EPYC-Milan"],
        &["--snp", "--vcpus", "2", "--vcpu-type", "EPYC-Genoa"],
        &["--snp", "--vcpus", "2", "--vcpu-type", "0x0080f12"],
    ]
    .map(|options| {
        let output = measure(boot, options);
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{error}");
        String::from_utf8(output.stdout).unwrap()
    });
    for (at, digest) in digests.iter().enumerate() {
        assert!(!digests[..at].contains(digest), "{digest}");
    }
    let same = measure(boot, &["--snp", "--vcpus", "2", "--vcpu-type", "0xa00f11"]);
    assert_eq!(same.stdout, digests[3].as_bytes());
}

/// Runs `vmboot measure --pcrs --json` in `dir`: numbers, phases and values.
fn pcrs(dir: &std::path::Path, options: &[&str]) -> Vec<(u8, Option<String>, String)> {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_vmboot"))
        .args(["measure", "--pcrs", "--json", "--hash", "sha384"])
        .args(options)
        .current_dir(dir)
        .output()
        .unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{error}");
    let report: MeasureReport = serde_json::from_slice(&output.stdout).unwrap();
    let found = report.pcrs.unwrap().into_iter();
    found
        .map(|report| (report.pcr, report.phase, report.value))
        .collect()
}

#[test]
fn the_command_predicts_registers_of_unified_kernel_images() {
    let bank = HashAlgorithm::Sha384;
    let dir = tempfile::tempdir().unwrap();
    let kernel = Pe::new(AMD64).section(".data", "kernel").build();
    let uki = Pe::new(AMD64)
        .section(".linux", &kernel)
        .section(".initrd", "initrd")
        .section(".ucode", "microcode")
        .section(".cmdline", "root=/dev/vda\n\0")
        .section(".profile", "ID=main\n")
        .section(".profile", "ID=rescue\n")
        .section(".cmdline", "rescue")
        .build();
    let addon = Pe::new(AMD64)
        .section(".cmdline", " quiet\n")
        .section(".initrd", "more")
        .build();
    let loader = Pe::new(AMD64)
        .section(".sdmagic", "#### LoaderInfo: systemd-boot 257 ####")
        .build();
    for (name, file) in [
        ("uki", &uki),
        ("addon", &addon),
        ("loader", &loader),
        ("kernel", &kernel),
        ("b.cred", &b"two".to_vec()),
        ("a.cred", &b"one".to_vec()),
        ("x.raw", &b"extension".to_vec()),
    ] {
        fs::write(dir.path().join(name), file).unwrap();
    }
    let pe = |file| {
        let source = SizedSource::new(file).unwrap();
        (PeFile::parse(source).unwrap().unwrap(), source)
    };
    let images = [pe(&loader), pe(&uki), pe(&addon), pe(&kernel)];
    let images = images.each_ref().map(|(pe, source)| (pe, source));
    let pcr4 = |images: &[_]| boot_manager(bank, images).unwrap();
    let check = |options: &[&str], expected: &[(u8, Pcr)]| {
        let found: Vec<(u8, String)> = pcrs(dir.path(), options)
            .into_iter()
            .map(|(number, _, value)| (number, value))
            .collect();
        let expected = expected
            .iter()
            .map(|(number, pcr)| (*number, pcr.value().to_string()));
        assert_eq!(found, expected.collect::<Vec<_>>(), "{options:?}");
    };

    let credentials: [(&str, &[u8]); 2] = [("a.cred", b"one"), ("b.cred", b"two")];
    let archive = |kind, files: &[(&str, &[u8])]| StubArchive::of_files(kind, files).unwrap().unwrap();
    let companions = [
        archive(ArchiveKind::Credentials, &credentials),
        archive(ArchiveKind::GlobalCredentials, &credentials[1..]),
        archive(ArchiveKind::SystemExtensions, &[("x.raw", b"extension")]),
    ];
    let stub = Stub::new().with_addon_cmdlines(&["quiet"]);
    let more = [Content::bytes(b"more")];
    for (profile, line) in [("0", "root=/dev/vda quiet"), ("1", "rescue quiet")] {
        let mut stub = stub;
        stub.profile = profile.parse().unwrap();
        stub.addon_initrds = &more;
        let id = ["ID=main\n", "ID=rescue\n"][usize::try_from(stub.profile).unwrap()];
        let description = archive(ArchiveKind::Profile, &[("profile", id.as_bytes())]);
        let archives = [&companions[..], &[description]].concat();
        stub.archives = &archives;
        stub.boot_loader_options = (stub.profile > 0).then_some("@1");
        let sections = UkiSections::of_image(images[1].0, &uki, stub.profile, None).unwrap();
        let initrds = stub.initrds(&sections);
        let linux = LinuxStub::new().with_initrds(&initrds);
        let mut expected = vec![
            (4, pcr4(&images)),
            (9, linux.with_cmdline(line).pcr9(bank).unwrap()),
        ];
        for count in 0..=BOOT_PHASES.len() {
            expected.push((11, sections.pcr11(bank, &BOOT_PHASES[..count]).unwrap()));
        }
        expected.push((12, stub.pcr12(bank).unwrap()));
        expected.push((13, stub.pcr13(bank).unwrap()));
        let options = [
            "--boot-loader",
            "loader",
            "--addon",
            "addon",
            "--profile",
            profile,
            "--companion",
            "b.cred",
            "--companion",
            "a.cred",
            "--companion",
            "x.raw",
            "--global-credential",
            "b.cred",
            "uki",
        ];
        check(&options, &expected);
    }
    let options = ["--cmdline", "debug", "--no-inner-image", "uki"];
    let found = pcrs(dir.path(), &options);
    let pcr12 = Stub::new().with_cmdline("debug").pcr12(bank).unwrap();
    assert_eq!(found[0].2, pcr4(&images[1..2]).value().to_string());
    assert_eq!(found.last().unwrap().2, pcr12.value().to_string());
    let phases: Vec<_> = found
        .iter()
        .filter_map(|(_, phase, _)| phase.as_deref())
        .collect();
    assert_eq!(phases, BOOT_PHASES);

    // A kernel with an EFI stub.
    fs::write(dir.path().join("initrd"), "initrd").unwrap();
    let initrd = [Content::bytes(b"initrd")];
    let linux = LinuxStub::new().with_cmdline("debug").with_initrds(&initrd);
    let expected = [(4, pcr4(&images[3..])), (9, linux.pcr9(bank).unwrap())];
    check(&["--cmdline", "debug", "--initrd", "initrd", "kernel"], &expected);
}

#[test]
fn the_command_prints_launch_digests_with_firmware() {
    let dir = tempfile::tempdir().unwrap();
    let file = Firmware::new(vec![3; 0x3000]).build();
    for (name, content) in [("ovmf", &file[..]), ("kernel", b"kernel"), ("initrd", b"initrd")] {
        fs::write(dir.path().join(name), content).unwrap();
    }
    let ovmf = Ovmf::parse(&file).unwrap();
    let (kernel, initrd) = (Content::bytes(b"kernel"), Content::bytes(b"initrd"));
    let hashes = KernelHashes::new(&kernel, Some(&initrd), b"quiet").unwrap();
    let expected = FirmwareLaunch::new(&ovmf, 3, CpuSignature::new(25, 17, 0))
        .with_hashes(hashes)
        .with_features(SevFeatures(0x21))
        .with_vmm(Vmm::Ec2)
        .snp_digest()
        .unwrap();
    let options = "measure --snp --ovmf ovmf --vmm ec2 --guest-features 0x21 --vcpus 3 --vcpu-type EPYC-Genoa --initrd initrd \
                   --cmdline quiet kernel";
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_vmboot"))
        .args(options.split_whitespace())
        .current_dir(dir.path())
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text, format!("SEV-SNP launch digest: {expected}\n"));
}

#[test]
fn the_command_writes_the_igvm_file_of_the_library() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("boot.igvm");
    let boots = boots();
    let boot = &boots[0];
    for snp in [false, true] {
        let mut options = vec!["--igvm", path.to_str().unwrap()];
        options.extend(snp.then_some("--snp"));
        let output = measure(boot, &options);
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{error}");
        let launch = PlanLaunch::new(1, CpuSignature(0));
        let platform = if snp {
            Platform::snp(launch, SNP_POLICY_SMT)
        } else {
            Platform::Native
        };
        let expected = boot.planned(|plan, sources, _| export(plan, sources, &platform).unwrap());
        assert!(fs::read(&path).unwrap() == expected);
        assert_eq!(&expected[..4], b"IGVM");
    }
}
