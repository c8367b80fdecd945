//! Frames on the report channel: one kind byte, the payload's length as a little-endian `u32`, the payload.

use std::io::{self, Read, Write};

use crate::Event;

/// Maximum payload of a frame, in bytes; longer output is split.
pub const MAX_PAYLOAD: usize = 32 * 1024;

const KIND_EVENT: u8 = b'E';
const KIND_STDOUT: u8 = b'1';
const KIND_STDERR: u8 = b'2';

/// One message from L1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// Something happened.
    Event(Event),
    /// Bytes that the running program wrote to its standard output.
    Stdout(Vec<u8>),
    /// Bytes that the running program wrote to its standard error.
    Stderr(Vec<u8>),
}

/// Why a frame could not be read or written.
#[derive(Debug)]
pub enum FrameError {
    /// The channel failed, or ended inside a frame.
    Io(io::Error),
    /// The first byte of a frame is not a known kind.
    UnknownKind(u8),
    /// The payload is longer than [`MAX_PAYLOAD`].
    TooLong(usize),
    /// The payload is not an [`Event`] in JSON.
    Event(serde_json::Error),
}

impl core::fmt::Display for FrameError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Io(error) => write!(f, "the lab's report channel failed: {error}"),
            Self::UnknownKind(kind) => write!(f, "the lab sent a frame of the unknown kind {kind:#04x}"),
            Self::TooLong(length) => {
                write!(
                    f,
                    "the lab sent a frame of {length} bytes, and {MAX_PAYLOAD} is the limit"
                )
            }
            Self::Event(error) => write!(f, "the lab sent an invalid event: {error}"),
        }
    }
}

impl std::error::Error for FrameError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io(error) => Some(error),
            Self::Event(error) => Some(error),
            Self::UnknownKind(_) | Self::TooLong(_) => None,
        }
    }
}

impl From<io::Error> for FrameError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<serde_json::Error> for FrameError {
    fn from(error: serde_json::Error) -> Self {
        Self::Event(error)
    }
}

/// Writes one frame and flushes it.
///
/// # Errors
/// [`FrameError::TooLong`] for a payload above [`MAX_PAYLOAD`], [`FrameError::Io`] when the channel fails.
pub fn write_frame(channel: &mut impl Write, frame: &Frame) -> Result<(), FrameError> {
    let json;
    let (kind, payload) = match frame {
        Frame::Event(event) => {
            json = serde_json::to_vec(event)?;
            (KIND_EVENT, json.as_slice())
        }
        Frame::Stdout(bytes) => (KIND_STDOUT, bytes.as_slice()),
        Frame::Stderr(bytes) => (KIND_STDERR, bytes.as_slice()),
    };
    let length = match u32::try_from(payload.len()) {
        Ok(length) if payload.len() <= MAX_PAYLOAD => length,
        _ => return Err(FrameError::TooLong(payload.len())),
    };
    // One write per frame, so that frames of different threads do not mix.
    let mut bytes = Vec::with_capacity(payload.len().saturating_add(5));
    bytes.push(kind);
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(payload);
    channel.write_all(&bytes)?;
    channel.flush()?;
    Ok(())
}

/// Reads one frame; `None` when the channel ended cleanly between two frames.
///
/// # Errors
/// [`FrameError`] when the channel fails, ends inside a frame, or carries something that is not a frame.
pub fn read_frame(channel: &mut impl Read) -> Result<Option<Frame>, FrameError> {
    let mut kind = [0_u8; 1];
    loop {
        match channel.read(&mut kind) {
            Ok(0) => return Ok(None),
            Ok(_) => break,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
    let [kind] = kind;
    if ![KIND_EVENT, KIND_STDOUT, KIND_STDERR].contains(&kind) {
        return Err(FrameError::UnknownKind(kind));
    }
    let mut length = [0_u8; 4];
    channel.read_exact(&mut length)?;
    let length = u32::from_le_bytes(length) as usize;
    if length > MAX_PAYLOAD {
        return Err(FrameError::TooLong(length));
    }
    let mut payload = vec![0_u8; length];
    channel.read_exact(&mut payload)?;
    Ok(Some(match kind {
        KIND_STDOUT => Frame::Stdout(payload),
        KIND_STDERR => Frame::Stderr(payload),
        _ => Frame::Event(serde_json::from_slice(&payload)?),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Ending;

    #[test]
    fn frames_come_back_in_order() {
        let frames = [
            Frame::Event(Event::Ready { uptime_ms: 3000 }),
            Frame::Event(Event::Started { index: 0 }),
            Frame::Stdout(b"raw \x00\xff bytes\r\n".to_vec()),
            Frame::Stderr(Vec::new()),
            Frame::Event(Event::Ended {
                index: 0,
                ending: Ending::Exited(3),
            }),
            Frame::Event(Event::Finished),
        ];
        let mut channel = Vec::new();
        for frame in &frames {
            write_frame(&mut channel, frame).unwrap();
        }
        let mut reader = channel.as_slice();
        for frame in frames {
            assert_eq!(read_frame(&mut reader).unwrap(), Some(frame));
        }
        assert_eq!(read_frame(&mut reader).unwrap(), None);
    }

    /// Reads `bytes` as one frame and gives the words of the error.
    fn error_of(bytes: &[u8]) -> String {
        read_frame(&mut &bytes[..]).unwrap_err().to_string()
    }

    #[test]
    fn a_broken_stream_is_an_error() {
        for (bytes, words) in [
            (&b"x\0\0\0\0"[..], "unknown kind 0x78"),
            (&b"1\xff\xff\xff\xff"[..], "4294967295 bytes"),
            (&b"1\x04\0\0\0ab"[..], "report channel failed"),
            (&b"1\x04"[..], "report channel failed"),
            (&b"E\x02\0\0\0{}"[..], "invalid event"),
        ] {
            let error = error_of(bytes);
            assert!(error.contains(words), "{error:?} does not say {words:?}");
        }
    }

    #[test]
    fn too_long_a_payload_is_not_written() {
        let mut channel = Vec::new();
        let frame = Frame::Stdout(vec![0; MAX_PAYLOAD + 1]);
        assert!(matches!(
            write_frame(&mut channel, &frame),
            Err(FrameError::TooLong(_))
        ));
        assert!(channel.is_empty());
    }
}
