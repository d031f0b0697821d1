//! Records, one behind the other, and what is in them. The first byte says whether they get checksums that fit.

use resolute::format::control::{Accepted, Carried, Control};
use resolute::format::message::MessageView;
use resolute::format::record::{RecordKind, RecordView, Records, append};

use super::mend;

pub fn run(bytes: &[u8]) {
    let Some((mends, records)) = bytes.split_first() else { return };
    let mut records = records.to_vec();
    if mends % 2 == 1 {
        mend::records(&mut records);
    }
    let (mut at, mut whole) = (0, Vec::new());
    for record in Records::new(&records) {
        let Ok(record) = record else { break };
        assert_eq!(RecordView::parse(&records[at..]).map(|again| again.bytes()), Ok(record.bytes()));
        at += record.bytes();
        if record.verify_body().is_ok() {
            look_into(&record);
            if record.header.part == 0 && record.header.parts == 1 {
                let from = whole.len();
                append(&mut whole, record.lsn(), record.kind, record.header.flags, record.body);
                assert!(whole[from..] == records[at - record.bytes()..at], "it is written as it was read");
            }
        }
    }
    assert!(at <= records.len());
}

/// What is read is written as it was, in the one way there is.
fn look_into(record: &RecordView<'_>) {
    match record.kind {
        RecordKind::Message => {
            if let Ok(message) = MessageView::parse(record.body) {
                let texts: usize = message.topics().map(str::len).sum();
                let values: usize = message.extensions().map(|(_, value)| value.len()).sum();
                let headers: usize = message.headers().map(|(name, value)| name.len() + value.len()).sum();
                assert!(texts + values + message.payload.len() <= record.body.len() && headers <= values);
            }
        }
        RecordKind::Accepted => {
            if let Ok(accepted) = Accepted::decode(record.body) {
                assert!(accepted.encode() == record.body);
            }
        }
        RecordKind::Carried => {
            if let Ok(carried) = Carried::decode(record.body) {
                assert!(carried.encode() == record.body);
            }
        }
        kind => {
            if let Ok(control) = Control::decode(kind, record.body) {
                assert!(control.kind() == kind && control.encode() == record.body, "{control:?}");
            }
        }
    }
}
