//! Reading and writing the bodies that are not one fixed struct: numbers, and texts with their length before them.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::ids::NodeId;

/// Why a body whose checksum fits still makes no sense: it was written by something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyDefect {
    /// The body ends before its last field.
    #[error("a field is missing at the end")]
    Truncated,
    /// A text is not UTF-8.
    #[error("a text is not UTF-8")]
    NotUtf8,
    /// A value that its field cannot have.
    #[error("field {0} has a value it cannot have")]
    Value(&'static str),
    /// Bytes after the last field.
    #[error("{0} bytes follow the last field")]
    TrailingBytes(usize),
}

/// Reads a body from front to back.
#[derive(Clone, Debug)]
pub struct BodyReader<'a> {
    rest: &'a [u8],
}

impl<'a> BodyReader<'a> {
    /// A reader of all of `bytes`.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> BodyReader<'a> {
        BodyReader { rest: bytes }
    }

    /// The next `count` bytes.
    pub fn bytes(&mut self, count: usize) -> Result<&'a [u8], BodyDefect> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(BodyDefect::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    /// A struct that is its own layout.
    pub fn fixed<T: FromBytes + KnownLayout + Immutable + Unaligned>(&mut self) -> Result<&'a T, BodyDefect> {
        let (value, rest) = T::ref_from_prefix(self.rest).map_err(|_| BodyDefect::Truncated)?;
        self.rest = rest;
        Ok(value)
    }

    /// One byte.
    pub fn u8(&mut self) -> Result<u8, BodyDefect> {
        Ok(self.bytes(1)?[0])
    }

    /// Two bytes, little-endian.
    pub fn u16(&mut self) -> Result<u16, BodyDefect> {
        Ok(self.fixed::<zerocopy::little_endian::U16>()?.get())
    }

    /// Four bytes, little-endian.
    pub fn u32(&mut self) -> Result<u32, BodyDefect> {
        Ok(self.fixed::<zerocopy::little_endian::U32>()?.get())
    }

    /// Eight bytes, little-endian.
    pub fn u64(&mut self) -> Result<u64, BodyDefect> {
        Ok(self.fixed::<zerocopy::little_endian::U64>()?.get())
    }

    /// Sixteen bytes, little-endian: a node id.
    pub fn node(&mut self) -> Result<NodeId, BodyDefect> {
        Ok(NodeId(self.fixed::<zerocopy::little_endian::U128>()?.get()))
    }

    /// Sixteen bytes as they are: a secret or a nonce.
    pub fn key(&mut self) -> Result<[u8; 16], BodyDefect> {
        self.bytes(16)?.try_into().map_err(|_| BodyDefect::Truncated)
    }

    /// A boolean: 0 or 1 and nothing else.
    pub fn flag(&mut self, field: &'static str) -> Result<bool, BodyDefect> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(BodyDefect::Value(field)),
        }
    }

    /// A text behind a length of two bytes.
    pub fn text(&mut self) -> Result<&'a str, BodyDefect> {
        let length = self.u16()?;
        std::str::from_utf8(self.bytes(usize::from(length))?).map_err(|_| BodyDefect::NotUtf8)
    }

    /// Whether nothing is left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// All that is left.
    #[must_use]
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// The body must end here.
    pub fn end(self) -> Result<(), BodyDefect> {
        if self.rest.is_empty() { Ok(()) } else { Err(BodyDefect::TrailingBytes(self.rest.len())) }
    }
}

/// Writes a body from front to back; what [`BodyReader`] reads.
#[derive(Clone, Debug, Default)]
pub struct BodyWriter {
    bytes: Vec<u8>,
}

impl BodyWriter {
    /// An empty body.
    #[must_use]
    pub fn new() -> BodyWriter {
        BodyWriter::default()
    }

    /// Bytes as they are.
    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.bytes.extend_from_slice(bytes);
        self
    }

    /// A struct that is its own layout.
    pub fn fixed<T: IntoBytes + Immutable>(&mut self, value: &T) -> &mut Self {
        self.bytes(value.as_bytes())
    }

    /// One byte.
    pub fn u8(&mut self, value: u8) -> &mut Self {
        self.bytes(&[value])
    }

    /// Two bytes, little-endian.
    pub fn u16(&mut self, value: u16) -> &mut Self {
        self.bytes(&value.to_le_bytes())
    }

    /// Four bytes, little-endian.
    pub fn u32(&mut self, value: u32) -> &mut Self {
        self.bytes(&value.to_le_bytes())
    }

    /// Eight bytes, little-endian.
    pub fn u64(&mut self, value: u64) -> &mut Self {
        self.bytes(&value.to_le_bytes())
    }

    /// A node id.
    pub fn node(&mut self, value: NodeId) -> &mut Self {
        self.bytes(&value.0.to_le_bytes())
    }

    /// A boolean as 0 or 1.
    pub fn flag(&mut self, value: bool) -> &mut Self {
        self.u8(u8::from(value))
    }

    /// A text behind a length of two bytes. Panics beyond 65,535 bytes: callers check their own, smaller limits.
    pub fn text(&mut self, text: &str) -> &mut Self {
        assert!(text.len() <= usize::from(u16::MAX));
        self.u16(text.len() as u16).bytes(text.as_bytes())
    }

    /// The body.
    #[must_use]
    pub fn finish(self) -> Vec<u8> {
        self.bytes
    }

    /// Bytes so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether nothing was written yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let mut writer = BodyWriter::new();
        writer.u8(1).u16(2).u32(3).u64(4).node(NodeId(5)).text("sechs").flag(true);
        let bytes = writer.finish();
        let mut reader = BodyReader::new(&bytes);
        assert_eq!((reader.u8(), reader.u16(), reader.u32(), reader.u64()), (Ok(1), Ok(2), Ok(3), Ok(4)));
        assert_eq!((reader.node(), reader.text(), reader.flag("f")), (Ok(NodeId(5)), Ok("sechs"), Ok(true)));
        assert_eq!(reader.end(), Ok(()));
    }

    #[test]
    fn odd_values_are_refused() {
        assert_eq!(BodyReader::new(&[2]).flag("f"), Err(BodyDefect::Value("f")));
        assert_eq!(BodyReader::new(&[1, 0, 0xff]).text(), Err(BodyDefect::NotUtf8));
        assert_eq!(BodyReader::new(&[3, 0, b'a']).text(), Err(BodyDefect::Truncated));
        assert_eq!(BodyReader::new(&[3]).end(), Err(BodyDefect::TrailingBytes(1)));
    }
}
