//! Lists within a record: four bytes of length, then the entries.

use crate::format::body::{BodyDefect, BodyReader, BodyWriter};
use crate::ids::{Lsn, LsnRange, Position, StreamId};

/// Reads a list; each entry takes at least a byte, so a false length ends at the end of the body.
pub(super) fn list<'a, T>(
    reader: &mut BodyReader<'a>,
    mut entry: impl FnMut(&mut BodyReader<'a>) -> Result<T, BodyDefect>,
) -> Result<Vec<T>, BodyDefect> {
    let count = reader.u32()?;
    (0..count).map(|_| entry(reader)).collect()
}

pub(super) fn put_list<T>(out: &mut BodyWriter, entries: &[T], mut entry: impl FnMut(&mut BodyWriter, &T)) {
    out.u32(entries.len() as u32);
    for value in entries {
        entry(out, value);
    }
}

pub(super) fn ranges(reader: &mut BodyReader<'_>) -> Result<Vec<LsnRange>, BodyDefect> {
    list(reader, |r| {
        let range = LsnRange { first: Lsn(r.u64()?), count: u64::from(r.u32()?) };
        // Who counts on from a range must not come past the largest number.
        let is_sane = range.count > 0 && range.first.0.checked_add(range.count).is_some();
        if is_sane { Ok(range) } else { Err(BodyDefect::Value("range")) }
    })
}

pub(super) fn put_ranges(out: &mut BodyWriter, ranges: &[LsnRange]) {
    put_list(out, ranges, |out, range| {
        assert!(range.count <= u64::from(u32::MAX));
        out.u64(range.first.0).u32(range.count as u32);
    });
}

pub(super) fn cursors(reader: &mut BodyReader<'_>) -> Result<Vec<(StreamId, Position)>, BodyDefect> {
    list(reader, |r| Ok((StreamId(r.u64()?), Position(r.u64()?))))
}

pub(super) fn put_cursors(out: &mut BodyWriter, cursors: &[(StreamId, Position)]) {
    put_list(out, cursors, |out, (stream, position)| {
        out.u64(stream.0).u64(position.0);
    });
}
