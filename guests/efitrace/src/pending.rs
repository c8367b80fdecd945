//! Calls that have not returned, and the images that make calls.

/// Most calls that can be inside one another, and most images.
const DEPTH: usize = 64;
const IMAGES: usize = 16;

/// A call that has not returned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Call {
    /// Where the return address was on the stack.
    pub stack: u64,
    /// The return address.
    pub return_address: u64,
    /// Index of the service.
    pub service: usize,
    /// Number of the calling image.
    pub image: usize,
    /// Number of the trace's line that shows the call.
    pub line: u64,
}

/// The calls that have not returned, the latest last.
#[derive(Debug)]
pub struct Pending {
    calls: [Call; DEPTH],
    count: usize,
}

impl Pending {
    /// No call.
    #[must_use]
    pub const fn new() -> Self {
        const NONE: Call = Call {
            stack: 0,
            return_address: 0,
            service: 0,
            image: 0,
            line: 0,
        };
        Self {
            calls: [NONE; DEPTH],
            count: 0,
        }
    }

    /// Adds a call. False if there are too many; its return is then not seen.
    pub fn push(&mut self, call: Call) -> bool {
        let Some(place) = self.calls.get_mut(self.count) else {
            return false;
        };
        *place = call;
        self.count += 1;
        true
    }

    /// Removes the call whose return address was at `stack`, and the later ones: they were left by `Exit`, which does not return.
    pub fn pop(&mut self, stack: u64) -> Option<Call> {
        while self.count > 0 {
            self.count -= 1;
            let call = self.calls[self.count];
            if call.stack == stack {
                return Some(call);
            }
        }
        None
    }
}

impl Default for Pending {
    fn default() -> Self {
        Self::new()
    }
}

/// Numbers of images in the order of their first call.
#[derive(Debug)]
pub struct Images {
    bases: [u64; IMAGES],
    count: usize,
}

impl Images {
    /// No image.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            bases: [0; IMAGES],
            count: 0,
        }
    }

    /// The number of the image that begins at `base`, from 1 on; 0 if there are too many.
    pub fn number(&mut self, base: u64) -> usize {
        let known = self
            .bases
            .iter()
            .take(self.count)
            .position(|known| *known == base);
        if let Some(index) = known {
            return index + 1;
        }
        let Some(place) = self.bases.get_mut(self.count) else {
            return 0;
        };
        *place = base;
        self.count += 1;
        self.count
    }
}

impl Default for Images {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(stack: u64) -> Call {
        Call {
            stack,
            return_address: stack + 1,
            ..Call::default()
        }
    }

    #[test]
    fn a_return_removes_the_calls_inside() {
        let mut pending = Pending::new();
        for stack in [100, 90, 80] {
            assert!(pending.push(call(stack)));
        }
        assert_eq!(pending.pop(80), Some(call(80)));
        // The image at 90 ends by Exit, and StartImage returns.
        assert_eq!(pending.pop(100), Some(call(100)));
        assert_eq!(pending.pop(90), None);
    }

    #[test]
    fn the_depth_is_limited() {
        let mut pending = Pending::default();
        for stack in 0..64 {
            assert!(pending.push(call(stack)));
        }
        assert!(!pending.push(call(64)));
        assert_eq!(pending.pop(63), Some(call(63)));
    }

    #[test]
    fn images_keep_their_numbers() {
        let mut images = Images::default();
        assert_eq!([7, 9, 7, 0, 9].map(|base| images.number(base)), [1, 2, 1, 3, 2]);
        for base in 100..113 {
            assert_ne!(images.number(base), 0);
        }
        assert_eq!(images.number(200), 0);
        assert_eq!(images.number(9), 2);
    }
}
