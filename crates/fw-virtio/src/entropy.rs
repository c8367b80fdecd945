//! A virtio source of random bytes (Virtio 1.2, section 5.4).

use core::cell::RefCell;

use virtio_drivers::device::rng::VirtIORng;
use virtio_drivers::transport::Transport;

use crate::error::DeviceError;
use crate::hal::IdentityMapped;

/// Largest number of requests for a buffer: a device may return fewer bytes than asked for.
const MAX_REQUESTS: usize = 64;

/// A source of random bytes.
pub trait EntropySource {
    /// Fills `buf` with random bytes. False if the device gave fewer.
    fn fill(&self, buf: &mut [u8]) -> bool;
}

/// A virtio source of random bytes.
pub(crate) struct VirtioEntropy<T: Transport> {
    driver: RefCell<VirtIORng<IdentityMapped, T>>,
}

impl<T: Transport> VirtioEntropy<T> {
    /// Starts the driver of the device behind `transport`.
    pub(crate) fn new(transport: T) -> Result<Self, DeviceError> {
        let mut driver = VirtIORng::new(transport).map_err(DeviceError::Virtio)?;
        // As for disks: requests are polled.
        driver.disable_interrupts();
        Ok(Self {
            driver: RefCell::new(driver),
        })
    }
}

impl<T: Transport> EntropySource for VirtioEntropy<T> {
    fn fill(&self, buf: &mut [u8]) -> bool {
        let Ok(mut driver) = self.driver.try_borrow_mut() else {
            return false;
        };
        fill(buf, |rest| driver.request_entropy(rest).ok())
    }
}

/// Fills `buf` by requests, which return the number of bytes that they wrote.
fn fill(buf: &mut [u8], mut request: impl FnMut(&mut [u8]) -> Option<usize>) -> bool {
    let mut rest = buf;
    for _ in 0..MAX_REQUESTS {
        if rest.is_empty() {
            return true;
        }
        // The device chooses the number: it may be wrong.
        let Some(written) = request(rest).filter(|written| *written <= rest.len()) else {
            return false;
        };
        rest = rest.split_at_mut(written).1;
    }
    rest.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_filled_in_parts() {
        let check = |len: usize, parts: &[Option<usize>], expected: bool| {
            let mut buf = std::vec![0; len];
            let mut next = parts.iter().copied().cycle();
            let found = fill(&mut buf, |rest| {
                let written = next.next().flatten()?;
                let end = written.min(rest.len());
                rest[..end].fill(1);
                Some(written)
            });
            assert_eq!(found, expected, "{len} bytes in {parts:?}");
            assert!(!found || buf.iter().all(|byte| *byte == 1));
        };
        check(0, &[None], true);
        check(10, &[Some(10)], true);
        check(10, &[Some(3), Some(1), Some(6)], true);
        // An error, more bytes than there is room for, no bytes.
        check(10, &[Some(3), None], false);
        check(10, &[Some(11)], false);
        check(10, &[Some(0)], false);
        check(64, &[Some(1)], true);
        check(65, &[Some(1)], false);
    }
}
