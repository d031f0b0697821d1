//! The files of a log. A segment is known by its first batch; its name only helps people.

use crate::ids::SegmentNumber;

/// The name of a segment's file: `00000000000000000001.log`.
#[must_use]
pub fn segment_name(number: SegmentNumber) -> String {
    format!("{:020}.log", number.0)
}

/// The number in a segment's file name, if it is one.
#[must_use]
pub fn segment_number(name: &str) -> Option<SegmentNumber> {
    let digits = name.strip_suffix(".log")?;
    let well_formed = digits.len() == 20 && digits.bytes().all(|b| b.is_ascii_digit());
    well_formed.then(|| digits.parse().ok().map(SegmentNumber)).flatten()
}

/// Prewritten files that wait to become segments: `spare-N.log`. What they hold does not count.
#[must_use]
pub fn spare_name(number: u64) -> String {
    format!("spare-{number}.log")
}

/// Whether a file of that name is a spare.
#[must_use]
pub fn is_spare(name: &str) -> bool {
    name.strip_prefix("spare-").and_then(|rest| rest.strip_suffix(".log")).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers() {
        assert_eq!(segment_number(&segment_name(SegmentNumber(17))), Some(SegmentNumber(17)));
        assert_eq!(segment_number("1.log"), None);
        assert_eq!(segment_number(&spare_name(1)), None);
        assert!(is_spare(&spare_name(3)) && !is_spare(&segment_name(SegmentNumber(1))));
    }
}
