//! Bytes of a connection, in pieces as the reads bring them: the frames are those of the whole, memory stays within its bound,
//! and what is in them can be read or is refused. The first byte says whether they get checksums that fit.

use resolute::format::frame::{FrameKind, FrameView};
use resolute::limits::{FRAME_BYTES_MAX, HANDSHAKE_FRAME_BYTES_MAX, HANDSHAKE_WINDOW_BYTES_MAX};
use resolute::wire::bodies::Body;
use resolute::wire::frame_buffer::{ReceiveWindow, next_frame};
use resolute::wire::hello::Hello;
use resolute::wire::records::verify_run;

use super::mend;
use super::source::Source;

pub fn run(bytes: &[u8]) {
    let mut source = Source::new(bytes);
    let (choice, piece) = (source.byte(), 1 + source.below(200) * 7);
    let is_known = choice & 2 != 0;
    let frame_bytes_max = if is_known { FRAME_BYTES_MAX } else { HANDSHAKE_FRAME_BYTES_MAX };
    let mut stream = source.rest().to_vec();
    if choice & 1 != 0 {
        mend::frames(&mut stream);
    }
    let mut window = ReceiveWindow::new(frame_bytes_max);
    let (mut rest, mut at) = (stream.as_slice(), 0);
    let mut ended = false;
    while !rest.is_empty() && !ended {
        let pushed = window.push(&rest[..piece.min(rest.len())]);
        assert!(pushed > 0, "there is always room for some");
        rest = &rest[pushed..];
        loop {
            let whole = next_frame(&stream[at..], frame_bytes_max);
            match window.next_frame() {
                Ok(None) => break,
                Ok(Some(frame)) => {
                    let Ok(Some((expected, bytes))) = whole else { panic!("a frame that is none") };
                    assert!(frame.kind == expected.kind && frame.body == expected.body);
                    look_into(&frame);
                    at += bytes;
                }
                Err(defect) => {
                    // Of a whole stream the same is told, or what came later and is wrong too.
                    assert!(whole.is_err(), "{defect}");
                    ended = true;
                    break;
                }
            }
        }
        window.check_invariants();
        assert!(is_known || window.capacity() <= HANDSHAKE_WINDOW_BYTES_MAX);
    }
}

fn look_into(frame: &FrameView<'_>) {
    match frame.kind {
        FrameKind::Hello => {
            if let Ok(hello) = Hello::decode(frame.body) {
                assert_eq!(Hello::decode(&hello.encode()).as_ref(), Ok(&hello));
            }
        }
        FrameKind::Run => {
            if let Some((run, records)) = frame.run()
                && let Ok(facts) = verify_run(run, records)
            {
                assert!(facts.count == run.count.get() && facts.bytes as usize == records.len());
                assert!(facts.count > 0 && run.first_position.get() > 0);
            }
        }
        kind => {
            if let Ok(body) = Body::decode(kind, frame.body) {
                // Codes of goodbyes that this version does not know are all one.
                assert_eq!(Body::decode(kind, &body.encode()).as_ref(), Ok(&body));
                assert!(kind == FrameKind::Goodbye || body.encode() == frame.body);
            }
        }
    }
}
