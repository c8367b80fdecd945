"""PCRs by systemd-measure and systemd-pcrlock of systemd 257.13 (package systemd of Debian 13).

    BOOT_MEASURE_INPUTS=DIR cargo test -p vmboot-boot-measure --test vectors images
    python3 pcr.py DIR /usr/lib/systemd/systemd-measure /usr/lib/systemd/systemd-pcrlock > pcr.txt

PCR 11 of generated sections is that of systemd-measure; other values are chains of the digests of systemd-pcrlock.
"""

import hashlib
import json
import os
import subprocess
import sys

from inputs import data

inputs, measure, pcrlock = sys.argv[1:4]
BANKS = ("sha256", "sha384", "sha512")
# Names, lengths and seeds, as in `images.rs`.
SECTIONS = [
    ("osrel", 300, 10), ("cmdline", 40, 11), ("initrd", 9001, 12), ("ucode", 1000, 13), ("splash", 777, 14),
    ("dtb", 640, 15), ("uname", 12, 16), ("sbat", 90, 17), ("pcrpkey", 451, 18), ("hwids", 128, 19),
]


def path(name):
    return os.path.join(inputs, name)


def file(name, content):
    with open(path(name), "wb") as out:
        out.write(content)
    return path(name)


def run(*command):
    return subprocess.run(command, check=True, capture_output=True).stdout


def pcr11(name, sections):
    # The two options are exchanged in systemd-measure 257.13: with --hwids=FILE it measures a section .dtbauto. systemd-pcrlock,
    # which reads the sections of a file, has .hwids right (`uki` below).
    names = {"hwids": "dtbauto"}
    options = [f"--{names.get(section, section)}={file(section, content)}" for section, content in sections]
    options.append("--linux=" + path("kernel.efi"))
    options += [f"--bank={bank}" for bank in BANKS]
    found = json.loads(run(measure, "calculate", "--json=short", *options))
    for bank in BANKS:
        for value in found[bank]:
            print(f"{name}-{bank}-{value['phase'].count(':') + 1}", value["hash"])


def records(*command):
    run(pcrlock, *command, "--pcrlock=" + path("out.pcrlock"))
    with open(path("out.pcrlock")) as out:
        return json.load(out)["records"]


def digests(found, pcr, bank):
    for record in found:
        if record["pcr"] == pcr:
            yield bytes.fromhex(next(d["digest"] for d in record["digests"] if d["hashAlg"] == bank))


def extend(bank, events):
    value = bytes(hashlib.new(bank).digest_size)
    for event in events:
        value = hashlib.new(bank, value + event).digest()
    return value.hex()


print("# Output of pcr.py.")
pcr11("full", [(name, data(length, seed)) for name, length, seed in SECTIONS])
pcr11("kernel", [])
pcr11("profile-1", [("cmdline", data(42, 33)), ("initrd", data(500, 34)), ("profile", data(30, 32))])

pe = {name: records("lock-pe", path(name + ".efi")) for name in ("kernel", "uki", "signed")}
uki = records("lock-uki", path("uki.efi"))
line = "quiet root=/dev/vda ä"
cmdline = records("lock-kernel-cmdline", file("line", line.encode()))
first = records("lock-kernel-initrd", file("initrd-1", data(9001, 12)))
joined = records("lock-kernel-initrd", file("initrd-2", data(9001, 12) + bytes(3) + data(500, 34)))
for bank in BANKS:
    for name, found in pe.items():
        print(f"authenticode-{name}-{bank}", next(digests(found, 4, bank)).hex())
    print(f"uki-{bank}", extend(bank, digests(uki, 11, bank)))
    start = [hashlib.new(bank, event).digest() for event in (b"Calling EFI Application from Boot Option", bytes(4))]
    images = [next(digests(pe[name], 4, bank)) for name in ("uki", "kernel")]
    print(f"pcr4-{bank}", extend(bank, start + images))
    options = list(digests(cmdline, 9, bank))
    print(f"pcr9-{bank}", extend(bank, options + list(digests(first, 9, bank))))
    print(f"pcr9-joined-{bank}", extend(bank, options + list(digests(joined, 9, bank))))
    print(f"pcr12-{bank}", extend(bank, options))
