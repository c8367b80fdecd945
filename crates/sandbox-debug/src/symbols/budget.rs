//! A reader of debug information with a limit.

use std::{borrow::Cow, cell::Cell, rc::Rc};

use gimli::{EndianSlice, LittleEndian, Reader, ReaderOffsetId, Result};

type Slice<'a> = EndianSlice<'a, LittleEndian>;

/// What the readers of one lookup may still do.
#[derive(Debug)]
pub(super) struct Budget {
    operations: Cell<u64>,
    /// Address of a variable of the caller, to measure how deep the stack is.
    stack: usize,
}

/// Largest distance of a reader's stack frame from that of the lookup, in bytes. Parsers of nested entries are recursive.
const MAX_STACK: usize = 0x4_0000;

/// Bytes of a search that count as one operation.
const BYTES_PER_OPERATION: usize = 64;

impl Budget {
    /// A budget of `operations` for a lookup in this function's caller.
    pub(super) fn new(operations: u64) -> Rc<Self> {
        Rc::new(Self {
            operations: Cell::new(operations),
            stack: stack_address(),
        })
    }

    /// Whether operations were refused.
    pub(super) fn is_spent(&self) -> bool {
        self.operations.get() == 0
    }

    /// Counts operations. Refuses them, and all that follow, if the budget is spent or the stack is too deep.
    fn spend(&self, operations: u64) -> bool {
        let is_deep = self.stack.abs_diff(stack_address()) > MAX_STACK;
        let left = if is_deep {
            0
        } else {
            self.operations.get().saturating_sub(operations)
        };
        self.operations.set(left);
        left > 0
    }
}

/// Address of a variable in a stack frame near the caller's.
#[inline(never)]
fn stack_address() -> usize {
    let variable = 0_u8;
    std::hint::black_box(&raw const variable).addr()
}

/// Bytes of a section. Every operation counts against the budget; an error follows when it is spent.
#[derive(Clone, Debug)]
pub(super) struct Limited<'a> {
    slice: Slice<'a>,
    budget: Rc<Budget>,
}

impl<'a> Limited<'a> {
    pub(super) fn new(bytes: &'a [u8], budget: &Rc<Budget>) -> Self {
        Self {
            slice: EndianSlice::new(bytes, LittleEndian),
            budget: Rc::clone(budget),
        }
    }

    fn spend(&self, operations: usize) -> Result<()> {
        if self.budget.spend(u64::try_from(operations).unwrap_or(u64::MAX)) {
            Ok(())
        } else {
            Err(gimli::Error::UnexpectedEof(self.slice.offset_id()))
        }
    }
}

impl Reader for Limited<'_> {
    type Endian = LittleEndian;
    type Offset = usize;

    fn endian(&self) -> LittleEndian {
        LittleEndian
    }

    fn len(&self) -> usize {
        self.slice.len()
    }

    fn empty(&mut self) {
        self.slice.empty();
    }

    fn truncate(&mut self, len: usize) -> Result<()> {
        self.spend(1)?;
        self.slice.truncate(len)
    }

    fn offset_from(&self, base: &Self) -> usize {
        self.slice.offset_from(base.slice)
    }

    fn offset_id(&self) -> ReaderOffsetId {
        self.slice.offset_id()
    }

    fn lookup_offset_id(&self, id: ReaderOffsetId) -> Option<usize> {
        self.slice.lookup_offset_id(id)
    }

    fn find(&self, byte: u8) -> Result<usize> {
        // The search reads bytes up to the first match, so its cost is known afterwards.
        let found = Reader::find(&self.slice, byte);
        let searched = *found.as_ref().unwrap_or(&self.slice.len());
        self.spend(searched / BYTES_PER_OPERATION + 1)?;
        found
    }

    fn skip(&mut self, len: usize) -> Result<()> {
        self.spend(1)?;
        self.slice.skip(len)
    }

    fn split(&mut self, len: usize) -> Result<Self> {
        self.spend(1)?;
        let slice = self.slice.split(len)?;
        Ok(Self {
            slice,
            budget: Rc::clone(&self.budget),
        })
    }

    fn to_slice(&self) -> Result<Cow<'_, [u8]>> {
        self.spend(1)?;
        Ok(self.slice.slice().into())
    }

    fn to_string(&self) -> Result<Cow<'_, str>> {
        self.spend(self.slice.len() / BYTES_PER_OPERATION + 1)?;
        Ok(self.slice.to_string()?.into())
    }

    fn to_string_lossy(&self) -> Result<Cow<'_, str>> {
        self.spend(self.slice.len() / BYTES_PER_OPERATION + 1)?;
        Ok(self.slice.to_string_lossy())
    }

    fn read_slice(&mut self, buf: &mut [u8]) -> Result<()> {
        self.spend(buf.len() / BYTES_PER_OPERATION + 1)?;
        self.slice.read_slice(buf)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spent_budget_is_an_error() {
        let budget = Budget::new(4);
        let mut reader = Limited::new(&[1, 2, 3, 4, 5], &budget);
        let mut other = reader.clone();
        assert_eq!(reader.read_u8(), Ok(1));
        assert_eq!(other.read_u16(), Ok(0x201));
        assert_eq!(reader.read_u8(), Ok(2));
        assert!(!budget.is_spent());
        assert!(reader.read_u8().is_err() && budget.is_spent());
        assert!(other.skip(1).is_err());
        // A long search is not one operation.
        let bytes = vec![1; 0x1000];
        let budget = Budget::new(64);
        assert!(Limited::new(&bytes, &budget).find(0).is_err());
        assert!(budget.is_spent());
    }

    #[test]
    fn a_deep_stack_is_an_error() {
        fn descend(reader: &mut Limited<'_>, levels: usize) -> usize {
            let frame = std::hint::black_box([0_u8; 0x1000]);
            if levels == 0 || reader.clone().read_u8().is_err() {
                return 0;
            }
            descend(reader, levels - 1) + 1 + usize::from(frame[0])
        }
        let budget = Budget::new(1_000_000);
        let depth = descend(&mut Limited::new(&[0], &budget), 1000);
        assert!((30..70).contains(&depth), "{depth}");
        assert!(budget.is_spent());
    }
}
