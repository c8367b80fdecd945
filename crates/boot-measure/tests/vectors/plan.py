"""Digests of plans by the encoding that README.md states, without the crate: `python3 plan.py > plan.txt`."""

import hashlib
import struct

from inputs import CODE64, DATA, GDTR, IDTR, KINDS, LDTR, LOADS, TR, UNMEASURED_LEN, X86


def le64(value):
    return struct.pack("<Q", value)


def head(tag, start, length, kind):
    return bytes([tag]) + le64(start) + le64(length) + bytes([len(kind)]) + kind.encode()


def records(loads):
    """One byte at a time: chunks in pages, then runs of zero chunks."""
    chunks = []
    for kind, start, content in sorted(loads, key=lambda load: load[1]):
        if content is None:
            chunks.append([3, kind, start, UNMEASURED_LEN, b""])
            continue
        for i, byte in enumerate(content):
            at = start + i
            last = chunks[-1] if chunks else None
            if last and last[0] == 1 and last[1] == kind and last[2] + last[3] == at and at % 4096:
                last[3] += 1
                last[4].append(byte)
            else:
                chunks.append([1, kind, at, 1, bytearray([byte])])
    merged = []
    for tag, kind, start, length, content in chunks:
        if tag == 1 and not any(content):
            tag, content = 2, b""
        last = merged[-1] if merged else None
        if last and tag != 1 and last[0] == tag and last[1] == kind and last[2] + last[3] == start:
            last[3] += length
        else:
            merged.append([tag, kind, start, length, bytes(content)])
    return b"".join(head(tag, start, length, kind) + content for tag, kind, start, length, content in merged)


def x86():
    general = "rax rbx rcx rdx rsi rdi rsp rbp r8 r9 r10 r11 r12 r13 r14 r15 rip rflags".split()
    control = "cr0 cr2 cr3 cr4 efer apic_base".split()
    out = b"\x04" + b"".join(le64(X86.get(name, 0)) for name in general)
    for segment in (CODE64, DATA, DATA, DATA, DATA, DATA, TR, LDTR):
        out += struct.pack("<HHIQ", *segment)
    for table in (GDTR, IDTR):
        out += struct.pack("<HQ", *table)
    return out + b"".join(le64(X86.get(name, 0)) for name in control)


def arm64():
    x = [0x800000] + [0] * 30
    return b"\x05" + b"".join(map(le64, x + [0x7000, 0x100000, 0x3C5])) + b"\x00"


def riscv64():
    x = [0] * 32
    x[11] = 0x800000
    return b"\x06" + b"".join(map(le64, x + [0x100000, 0]))


PLANS = {
    "x86_64": (LOADS, x86()),
    "x86_64-two-cpus": (LOADS, x86() * 2),
    "x86_64-kinds": (LOADS + KINDS, x86()),
    "aarch64": (LOADS, arm64()),
    "riscv64": (LOADS, riscv64()),
}
print("# Output of plan.py.")
for name, (loads, cpus) in PLANS.items():
    encoded = b"vmboot-plan\0" + struct.pack("<I", 1) + records(loads) + cpus + b"\0"
    for algorithm in ("sha256", "sha384", "sha512"):
        print(f"{name}-{algorithm}", hashlib.new(algorithm, encoded).hexdigest())
