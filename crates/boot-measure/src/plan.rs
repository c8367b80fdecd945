//! The digest of a plan, over an encoding that README.md states.

use boot_core::{BootPlan, PageKind, Sources, arith};

use crate::pieces::{Content, PAGE_LEN, PAGE_SIZE, Piece, for_each_piece};
use crate::{Digest, HashAlgorithm, Hasher, MeasureError, registers};

/// Version of the encoding of plans. A change of the encoding increments it.
pub const PLAN_ENCODING_VERSION: u32 = 1;

const MAGIC: &[u8; 12] = b"vmboot-plan\0";
const END: u8 = 0;
const BYTES: u8 = 1;
const ZEROS: u8 = 2;
const PRESENT: u8 = 3;

/// The digest of a plan: of its bytes, their guest addresses and [kinds](PageKind), and the entry states of its CPUs.
///
/// Plans that write the same bytes to the same addresses and start CPUs with the same registers have the same digest, however
/// their loads are cut; labels, warnings and the name of the protocol are not part of it.
///
/// The time is proportional to the bytes of files, plus one step for each load; zeros are not hashed. At most a few pages are in
/// memory.
///
/// # Errors
///
/// [`MeasureError`] where a file is missing, has changed or cannot be read.
pub fn plan_digest(
    plan: &BootPlan,
    sources: &Sources<'_>,
    algorithm: HashAlgorithm,
) -> Result<Digest, MeasureError> {
    let mut hasher = Hasher::new(algorithm);
    encode_plan(plan, sources, &mut |bytes| hasher.update(bytes))?;
    Ok(hasher.finish())
}

/// Calls `f` with the encoding of a plan, piece by piece: the input of the hash in [`plan_digest`], for other hashes and for
/// archives.
///
/// # Errors
///
/// Those of [`plan_digest`]; `f` may have been called before.
pub fn encode_plan(
    plan: &BootPlan,
    sources: &Sources<'_>,
    f: &mut dyn FnMut(&[u8]),
) -> Result<(), MeasureError> {
    f(MAGIC);
    f(&PLAN_ENCODING_VERSION.to_le_bytes());
    let mut records = Records {
        f,
        chunk: Chunk::EMPTY,
        run: None,
    };
    for_each_piece(plan, sources, &mut |piece| records.piece(piece))?;
    records.finish()?;
    for cpu in plan.cpus() {
        registers::encode(cpu, records.f)?;
    }
    (records.f)(&[END]);
    Ok(())
}

/// Zeros, or memory that keeps its content: one record.
#[derive(Clone, Copy)]
struct Run {
    tag: u8,
    start: u64,
    end: u64,
    kind: PageKind,
}

/// Adjacent bytes of one kind in one page.
struct Chunk {
    start: u64,
    len: usize,
    kind: PageKind,
    bytes: [u8; PAGE_LEN],
}

impl Chunk {
    const EMPTY: Self = Self {
        start: 0,
        len: 0,
        kind: PageKind::MEASURED,
        bytes: [0; PAGE_LEN],
    };

    fn end(&self) -> u64 {
        self.start.saturating_add(arith::to_u64(self.len))
    }

    fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or(&self.bytes)
    }

    /// Whether the first byte at `addr` continues it.
    fn continues(&self, addr: u64, kind: PageKind) -> bool {
        self.len != 0 && self.end() == addr && addr % PAGE_SIZE != 0 && self.kind == kind
    }
}

/// Makes maximal records of pieces: how the plan's loads are cut does not show.
struct Records<'f> {
    f: &'f mut dyn FnMut(&[u8]),
    chunk: Chunk,
    /// Ends before the chunk.
    run: Option<Run>,
}

impl Records<'_> {
    fn piece(&mut self, piece: &Piece<'_>) -> Result<(), MeasureError> {
        let kind = piece.load.page_kind();
        let run = |tag| Run {
            tag,
            start: piece.addr,
            end: piece.end(),
            kind,
        };
        match piece.content {
            Content::Bytes(bytes) => self.bytes(piece.addr, kind, bytes.iter().copied()),
            Content::Zeros if piece.len < PAGE_SIZE => {
                let len = usize::try_from(piece.len).unwrap_or(PAGE_LEN);
                self.bytes(piece.addr, kind, core::iter::repeat_n(0, len))
            }
            Content::Zeros => {
                self.end_chunk()?;
                self.run(run(ZEROS))
            }
            Content::Present => {
                self.end_chunk()?;
                self.run(run(PRESENT))
            }
        }
    }

    fn bytes(
        &mut self,
        addr: u64,
        kind: PageKind,
        bytes: impl Iterator<Item = u8>,
    ) -> Result<(), MeasureError> {
        if !self.chunk.continues(addr, kind) {
            self.end_chunk()?;
            self.chunk.start = addr;
            self.chunk.kind = kind;
        }
        let free = self.chunk.bytes.iter_mut().skip(self.chunk.len);
        let mut added = 0_usize;
        for (free, byte) in free.zip(bytes) {
            *free = byte;
            added = added.saturating_add(1);
        }
        self.chunk.len = self.chunk.len.saturating_add(added);
        Ok(())
    }

    /// Writes the chunk, or adds it to the run if it is zeros.
    fn end_chunk(&mut self) -> Result<(), MeasureError> {
        let (start, end, kind) = (self.chunk.start, self.chunk.end(), self.chunk.kind);
        if self.chunk.len == 0 {
            return Ok(());
        }
        if self.chunk.bytes().iter().all(|byte| *byte == 0) {
            self.chunk.len = 0;
            return self.run(Run {
                tag: ZEROS,
                start,
                end,
                kind,
            });
        }
        self.end_run()?;
        record(self.f, BYTES, start, end, kind)?;
        (self.f)(self.chunk.bytes());
        self.chunk.len = 0;
        Ok(())
    }

    fn run(&mut self, new: Run) -> Result<(), MeasureError> {
        if let Some(run) = &mut self.run {
            if run.tag == new.tag && run.end == new.start && run.kind == new.kind {
                run.end = new.end;
                return Ok(());
            }
        }
        self.end_run()?;
        self.run = Some(new);
        Ok(())
    }

    fn end_run(&mut self) -> Result<(), MeasureError> {
        match self.run.take() {
            Some(run) => record(self.f, run.tag, run.start, run.end, run.kind),
            None => Ok(()),
        }
    }

    fn finish(&mut self) -> Result<(), MeasureError> {
        self.end_chunk()?;
        self.end_run()
    }
}

/// Writes the start of a record: tag, address, length and kind.
fn record(
    f: &mut dyn FnMut(&[u8]),
    tag: u8,
    start: u64,
    end: u64,
    kind: PageKind,
) -> Result<(), MeasureError> {
    let name = kind.name().as_bytes();
    let Ok(name_len) = u8::try_from(name.len()) else {
        return Err(MeasureError::KindName(kind));
    };
    f(&[tag]);
    f(&start.to_le_bytes());
    f(&end.saturating_sub(start).to_le_bytes());
    f(&[name_len]);
    f(name);
    Ok(())
}
