//! Bytes of which most are zeros.

/// Unit of the bytes that are kept.
const UNIT: usize = 64;

/// Bytes of which most are zeros: the others, in runs.
#[derive(Debug)]
pub(crate) struct Sparse {
    /// Runs with their offsets, in ascending order, without a unit of zeros.
    runs: Vec<(usize, Vec<u8>)>,
}

impl Sparse {
    pub(crate) fn of(bytes: &[u8]) -> Self {
        let mut runs: Vec<(usize, Vec<u8>)> = Vec::new();
        for (at, unit) in bytes.chunks(UNIT).enumerate() {
            if unit.iter().all(|&byte| byte == 0) {
                continue;
            }
            let offset = at.saturating_mul(UNIT);
            match runs.last_mut() {
                Some((start, run)) if start.saturating_add(run.len()) == offset => run.extend(unit),
                _ => runs.push((offset, unit.to_vec())),
            }
        }
        Self { runs }
    }

    /// The runs with their offsets.
    pub(crate) fn runs(&self) -> impl Iterator<Item = (usize, &[u8])> {
        self.runs.iter().map(|(offset, run)| (*offset, run.as_slice()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_have_all_bytes_that_are_not_zeros() {
        let check = |set: &[usize], len: usize, expected: &[(usize, usize)]| {
            let mut bytes = vec![0; len];
            for &at in set {
                bytes[at] = 7;
            }
            let sparse = Sparse::of(&bytes);
            let found: Vec<_> = sparse.runs().map(|(offset, run)| (offset, run.len())).collect();
            assert_eq!(found, expected);
            let mut copy = vec![0; len];
            for (offset, run) in sparse.runs() {
                copy[offset..offset + run.len()].copy_from_slice(run);
            }
            assert_eq!(copy, bytes);
        };
        check(&[], 1000, &[]);
        check(&[0], 1000, &[(0, 64)]);
        check(&[63, 64, 200], 1000, &[(0, 128), (192, 64)]);
        check(&[999], 1000, &[(960, 40)]);
        check(&[], 0, &[]);
    }
}
