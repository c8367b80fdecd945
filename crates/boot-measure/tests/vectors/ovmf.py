"""Launch digests with OVMF by sev-snp-measure 0.0.13 (`pip install sev-snp-measure`).

    BOOT_MEASURE_INPUTS=DIR cargo test -p vmboot-boot-measure --test vectors ovmf
    python3 ovmf.py DIR > ovmf.txt
"""

import os
import sys

from sevsnpmeasure.guest import calc_launch_digest
from sevsnpmeasure.sev_mode import SevMode
from sevsnpmeasure.vcpu_types import CPU_SIGS
from sevsnpmeasure.vmm_types import VMMType

from inputs import data

inputs = sys.argv[1]
firmware = os.path.join(inputs, "ovmf.fd")


def file(name, content):
    path = os.path.join(inputs, name)
    with open(path, "wb") as out:
        out.write(content)
    return path


kernel = file("ovmf-kernel", data(5000, 51))
initrd = file("ovmf-initrd", data(300, 52))
BOOTS = {"disk": ("", "", ""), "kernel": (kernel, "", ""), "all": (kernel, initrd, "console=ttyS0 quiet")}


def digest(mode, vcpus, boot, features=0x21, vmm=VMMType.QEMU):
    return calc_launch_digest(mode, vcpus, CPU_SIGS["EPYC-Milan"], firmware, *BOOTS[boot], features, vmm_type=vmm).hex()


print("# Output of ovmf.py.")
for boot in BOOTS:
    for vcpus in (1, 4):
        for vmm in VMMType:
            print(f"snp-{boot}-{vcpus}-{vmm.name.lower()}", digest(SevMode.SEV_SNP, vcpus, boot, vmm=vmm))
        print(f"seves-{boot}-{vcpus}", digest(SevMode.SEV_ES, vcpus, boot))
    print(f"sev-{boot}", digest(SevMode.SEV, 1, boot))
