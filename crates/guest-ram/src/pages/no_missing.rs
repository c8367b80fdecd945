//! Hosts other than Linux make pages at the first write to them.

use std::convert::Infallible;
use std::marker::PhantomData;
use std::ops::Range;
use std::os::fd::BorrowedFd;

use boot_core::GuestRange;

use crate::slice::{HostSlice, OutOfSlice};

/// Where the bytes of a copy are.
#[expect(dead_code, reason = "no copy needs it on these hosts")]
pub(crate) enum Source<'a> {
    Bytes(&'a [u8]),
    File(BorrowedFd<'a>, u64),
}

/// There is none.
pub(crate) type FillError = Infallible;

/// There are none.
pub(crate) struct NewPages<'a>(Infallible, PhantomData<&'a ()>);

impl NewPages<'_> {
    pub(crate) fn prepare<S: HostSlice>(
        _: &S,
        _: GuestRange,
        _: Source<'_>,
    ) -> Result<Option<Self>, OutOfSlice> {
        Ok(None)
    }

    pub(crate) fn offset(&self, _: GuestRange) -> usize {
        match self.0 {}
    }

    pub(crate) fn fill<S: HostSlice>(&self, _: &S, _: usize) -> Result<Vec<Range<usize>>, FillError> {
        match self.0 {}
    }
}

/// No part is asked for.
pub(crate) fn part_len<S: HostSlice>(rest: &S) -> usize {
    rest.len()
}
