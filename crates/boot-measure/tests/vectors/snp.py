"""Launch digests of plans by sev-snp-measure 0.0.13 (`pip install sev-snp-measure`): `python3 snp.py > snp.txt`."""

from sevsnpmeasure.gctx import GCTX
from sevsnpmeasure.sev_mode import SevMode
from sevsnpmeasure.vcpu_types import CPU_SIGS
from sevsnpmeasure.vmm_types import VMMType
from sevsnpmeasure.vmsa import VMSA, SevEsSaveArea, VmcbSeg

from inputs import CODE64, DATA, GDTR, IDTR, KINDS, LDTR, LOADS, TR, UNMEASURED_LEN, X86


def segment(segment):
    selector, rights, limit, base = segment
    return VmcbSeg(selector, rights & 0xFF | rights >> 4 & 0xF00, limit, base)


def boot_cpu(features):
    """The state of the plan, with the registers that KVM sets itself."""
    return bytes(SevEsSaveArea(
        es=segment(DATA), cs=segment(CODE64), ss=segment(DATA), ds=segment(DATA), fs=segment(DATA), gs=segment(DATA),
        gdtr=VmcbSeg(0, 0, *GDTR), idtr=VmcbSeg(0, 0, *IDTR), ldtr=segment(LDTR), tr=segment(TR),
        efer=X86["efer"] | 0x1000, cr4=X86["cr4"] | 0x40, cr3=X86["cr3"], cr0=X86["cr0"],
        dr7=0x400, dr6=0xFFFF0FF0, rflags=X86["rflags"], rip=X86["rip"], rsp=X86["rsp"], rsi=X86["rsi"], r15=X86["r15"],
        g_pat=0x7040600070406, sev_features=features, xcr0=1, mxcsr=0x1F80, x87_fcw=0x37F,
    ))


def pages(loads):
    found = {}
    for kind, start, content in loads:
        content = bytes(UNMEASURED_LEN) if content is None else content
        for i, byte in enumerate(content):
            page = found.setdefault((start + i) & ~0xFFF, [kind, bytearray(4096)])
            page[1][(start + i) & 0xFFF] = byte
    return sorted(found.items())


def launch(loads, vcpus, cpu_type, features, zeros_are_normal=False):
    digest = GCTX()
    for gpa, (kind, content) in pages(loads):
        if kind == "secrets":
            digest.update_secrets_page(gpa)
        elif kind == "cpuid":
            digest.update_cpuid_page(gpa)
        elif kind == "unmeasured":
            digest.update_unmeasured_pages(gpa, 4096)
        elif kind == "measured" and (any(content) or zeros_are_normal):
            digest.update_normal_pages(gpa, bytes(content))
        elif kind == "measured":
            digest.update_zero_pages(gpa, 4096)
    digest.update_vmsa_page(boot_cpu(features))
    reset = VMSA(SevMode.SEV_SNP, 0xFFFFFFF0, CPU_SIGS[cpu_type], features, VMMType.QEMU)
    for page in list(reset.pages(vcpus))[1:]:
        digest.update_vmsa_page(page)
    return digest.hex_ld()


print("# Output of snp.py.")
for vcpus in (1, 2, 4):
    for cpu_type in ("EPYC-v4", "EPYC-Rome", "EPYC-Milan", "EPYC-Genoa", "EPYC-Turin"):
        print(f"plan-{vcpus}-{cpu_type}", launch(LOADS, vcpus, cpu_type, 0x1))
print("plan-features-21", launch(LOADS, 2, "EPYC-Milan", 0x21))
print("plan-zeros-normal", launch(LOADS, 2, "EPYC-Milan", 0x1, zeros_are_normal=True))
print("plan-kinds", launch(LOADS + KINDS, 2, "EPYC-Milan", 0x1))
