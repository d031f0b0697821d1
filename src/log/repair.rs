//! What makes a log fit to go on, as steps: whoever has its files performs them, in their order.
//!
//! 1. What is cut is copied aside and made durable, so that nothing is destroyed that someone may want to see.
//! 2. Wherever writes may have been in flight behind the tail, there are zeros, durably. A batch that was cut can
//!    then never be read again, whatever is written before it and wherever the next crash comes.
//! 3. The tail is made durable. It was read, perhaps from a cache that a power cut would empty, and it is about to
//!    be spoken of. The files behind it are too: what they seem to hold now, zeros above all, may be what a repair wrote that
//!    was killed before its flush, and a power cut would bring back beneath new batches what it had cut.
//!
//! A crash between any two of these leaves a log with the same tail, and the next repair begins anew.

use super::tail::{Stretch, Tail};
use crate::ids::SegmentNumber;

/// One step of a repair. Each is done before the next one begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RepairStep {
    /// A copy of these bytes is kept, durably, outside of the log.
    KeepAside(Stretch),
    /// These bytes become zeros. Where they are, nothing is written.
    MakeZeros(Stretch),
    /// Everything that the segment's file shows is made durable, also what was written before this opening.
    Sync(SegmentNumber),
}

impl Tail {
    /// What is to be done before the log goes on.
    #[must_use]
    pub fn repair(&self) -> Vec<RepairStep> {
        let mut steps: Vec<RepairStep> = self.cut.map(RepairStep::KeepAside).into_iter().collect();
        for stretch in &self.in_flight {
            steps.extend([RepairStep::MakeZeros(*stretch), RepairStep::Sync(stretch.segment)]);
        }
        let tail = (!self.segments.is_empty()).then_some(self.active);
        for segment in tail.into_iter().chain(self.blank.iter().copied()) {
            if !steps.contains(&RepairStep::Sync(segment)) {
                steps.push(RepairStep::Sync(segment));
            }
        }
        steps
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{BatchNumber, Epoch, Lsn};
    use crate::log::tail::SegmentFacts;
    use crate::log::verdict::Verdict;

    fn stretch(segment: u64) -> Stretch {
        Stretch { segment: SegmentNumber(segment), offset: 4096, bytes: 8192 }
    }

    fn tail() -> Tail {
        let first = SegmentFacts {
            number: SegmentNumber(1),
            first_batch: BatchNumber(1),
            first_lsn: Lsn(1),
            end_lsn: Lsn(10),
            file_bytes: 1 << 20,
        };
        Tail {
            verdict: Verdict::Unclosed,
            log_id: Some(7),
            last_epoch: Epoch(1),
            last_nonce: 5,
            next_batch: BatchNumber(2),
            last_header_crc: 1,
            next_lsn: Lsn(10),
            segments: vec![first],
            active: SegmentNumber(1),
            append_at: 4096,
            closed: false,
            blank: vec![SegmentNumber(2)],
            cut: None,
            in_flight: Vec::new(),
        }
    }

    #[test]
    fn what_is_cut_is_kept_first_and_what_was_in_flight_is_zeros_before_the_tail_is_spoken_of() {
        let torn = Tail { cut: Some(stretch(2)), in_flight: vec![stretch(1), stretch(2)], ..tail() };
        let steps = [
            RepairStep::KeepAside(stretch(2)),
            RepairStep::MakeZeros(stretch(1)),
            RepairStep::Sync(SegmentNumber(1)),
            RepairStep::MakeZeros(stretch(2)),
            RepairStep::Sync(SegmentNumber(2)),
        ];
        assert_eq!(torn.repair(), steps);
    }

    #[test]
    fn what_shows_nothing_is_made_durable_too() {
        let steps = [RepairStep::Sync(SegmentNumber(1)), RepairStep::Sync(SegmentNumber(2))];
        assert_eq!(tail().repair(), steps);
        let fresh = Tail { segments: Vec::new(), in_flight: vec![stretch(1)], ..tail() };
        assert_eq!(fresh.repair(), [[RepairStep::MakeZeros(stretch(1))].as_slice(), &steps].concat());
    }
}
