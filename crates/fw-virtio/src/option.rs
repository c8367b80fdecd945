//! MMIO devices on the command line.

/// An MMIO device that an option `virtio_mmio.device=` names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MmioDevice {
    /// Physical address of its registers.
    pub addr: u64,
    /// Length of its registers in bytes.
    pub len: usize,
    /// Number of its interrupt.
    pub irq: u32,
}

/// Parses the value of an option `virtio_mmio.device=`: `SIZE@ADDRESS:IRQ[:ID]`, where the size may end in `K`, `M` or `G` (Linux
/// `drivers/virtio/virtio_mmio.c`). Numbers are decimal, hexadecimal with `0x`, or octal with `0`.
#[must_use]
pub fn parse_mmio_device(value: &str) -> Option<MmioDevice> {
    let (size, rest) = value.split_once('@')?;
    let (addr, rest) = rest.split_once(':')?;
    let irq = rest.split(':').next()?;
    let (size, unit) = match size.as_bytes().last()? {
        b'k' | b'K' => (size.split_at_checked(size.len().checked_sub(1)?)?.0, 1 << 10),
        b'm' | b'M' => (size.split_at_checked(size.len().checked_sub(1)?)?.0, 1 << 20),
        b'g' | b'G' => (size.split_at_checked(size.len().checked_sub(1)?)?.0, 1 << 30),
        _ => (size, 1),
    };
    Some(MmioDevice {
        addr: number(addr)?,
        len: usize::try_from(number(size)?.checked_mul(unit)?).ok()?,
        irq: u32::try_from(number(irq)?).ok()?,
    })
}

fn number(text: &str) -> Option<u64> {
    let (digits, radix) = if let Some(digits) = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        (digits, 16)
    } else if text.len() > 1 && text.starts_with('0') {
        (text, 8)
    } else {
        (text, 10)
    };
    // `from_str_radix` accepts a sign.
    digits
        .starts_with(|first: char| first.is_ascii_hexdigit())
        .then_some(())?;
    u64::from_str_radix(digits, radix).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_name_devices() {
        let check = |value, addr, len, irq| {
            assert_eq!(
                parse_mmio_device(value),
                Some(MmioDevice { addr, len, irq }),
                "{value}"
            );
        };
        check("512@0xfeb00e00:12", 0xfeb0_0e00, 512, 12);
        check("0x200@0xd0000000:5:0", 0xd000_0000, 512, 5);
        check("4K@4096:010", 0x1000, 0x1000, 8);
        check("1m@0:0", 0, 1 << 20, 0);
    }

    #[test]
    fn other_values_are_refused() {
        for value in [
            "",
            "512",
            "512@",
            "512@0x1000",
            "@0x1000:1",
            "K@0x1000:1",
            "+5@0x1000:1",
            "512@-1:1",
            "512@0x:1",
            "512@1:",
            "512@1:x",
            "0xffffffffffffffffG@1:1",
            "é@1:1",
            "18446744073709551616@1:1",
            "512@1:4294967296",
        ] {
            assert_eq!(parse_mmio_device(value), None, "{value}");
        }
    }
}
