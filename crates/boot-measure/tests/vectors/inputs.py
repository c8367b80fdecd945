"""The inputs of `inputs.rs`, for the scripts in this directory."""


def data(length, seed):
    return bytes((i * 7 + (i >> 8) + seed) & 0xFF for i in range(length))


# Kind, address and content of each load; None is memory that is not written, and an integer is so many zeros.
LOADS = [
    ("measured", 0x500, data(32, 3)),
    ("measured", 0x520, data(100, 4)),
    ("measured", 0x7000, data(0x1000, 5)),
    ("measured", 0x8800, bytes(0x3000)),
    ("measured", 0x100000, data(0x2345, 1)),
    ("measured", 0x102345, bytes(0x5000 - 0x2345)),
    ("measured", 0x800000, data(5000, 2)),
]
KINDS = [
    ("secrets", 0x300000, data(0x1000, 6)),
    ("cpuid", 0x301000, data(0x1000, 6)),
    ("unmeasured", 0x302000, None),
    ("shared", 0x304000, data(0x1000, 6)),
]
UNMEASURED_LEN = 0x2000

X86 = dict(
    rip=0x100200, cr3=0x9000, rsi=0x7000, rsp=0x8000, r15=0x123456789ABCDEF0,
    cr0=0x80000011, cr4=0x20, efer=0x500, rflags=2, apic_base=0xFEE00900,
)
# Selector, access rights, limit and base.
CODE64 = (0x10, 0xA09B, 0xFFFFFFFF, 0)
DATA = (0x18, 0xC093, 0xFFFFFFFF, 0)
TR = (0, 0x8B, 0x67, 0)
LDTR = (0, 0x82, 0xFFFF, 0)
# Limit and base.
GDTR = (31, 0x500)
IDTR = (0, 0x520)
