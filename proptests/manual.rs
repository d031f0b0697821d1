//! The tables of the manual against the source: the struct is the truth, and the manual is tested against it.

use std::mem::offset_of;

use resolute::engine::config::Retry;
use resolute::format::batch::{BatchHeader, OwedRun};
use resolute::format::body::BodyWriter;
use resolute::format::control::{Accepted, Carried, Control, IntentState, LIST_ENTRIES_MAX};
use resolute::format::frame::{FrameHeader, FrameKind, RunHeader};
use resolute::format::message::{MessageHeader, extension as message_extension};
use resolute::format::record::{RecordHeader, RecordKind};
use resolute::ids::{Epoch, Incarnation, NodeId};
use resolute::limits::*;
use resolute::wire::bodies::Body;
use resolute::wire::goodbye::GoodbyeCode;
use resolute::wire::hello::{Hello, extension as hello_extension};

const PAGES: [(&str, &str); 7] = [
    ("architecture.md", include_str!("../src/manual/architecture.md")),
    ("log_format.md", include_str!("../src/manual/log_format.md")),
    ("wire_format.md", include_str!("../src/manual/wire_format.md")),
    ("durability.md", include_str!("../src/manual/durability.md")),
    ("delivery.md", include_str!("../src/manual/delivery.md")),
    ("testing.md", include_str!("../src/manual/testing.md")),
    ("performance.md", include_str!("../src/manual/performance.md")),
];

/// One table of a page.
#[derive(Debug)]
struct Table {
    page: &'static str,
    /// The heading above it.
    heading: String,
    head: Vec<String>,
    rows: Vec<Vec<String>>,
}

fn cells(line: &str) -> Option<Vec<String>> {
    let inner = line.strip_prefix('|')?.strip_suffix('|')?;
    Some(inner.split('|').map(|cell| cell.trim().to_owned()).collect())
}

/// All tables of the manual.
fn tables() -> Vec<Table> {
    let mut found: Vec<Table> = Vec::new();
    for (page, text) in PAGES {
        let (mut heading, mut in_table) = (String::new(), false);
        for line in text.lines() {
            if line.starts_with('#') {
                heading = line.trim_start_matches('#').trim().to_owned();
            }
            match (cells(line), in_table) {
                (None, _) => in_table = false,
                (Some(head), false) => {
                    found.push(Table { page, heading: heading.clone(), head, rows: Vec::new() });
                    in_table = true;
                }
                (Some(row), true) => found.last_mut().unwrap().rows.push(row),
            }
        }
    }
    for table in &mut found {
        let rule = table.rows.remove(0);
        assert!(rule.iter().all(|cell| cell.chars().all(|c| c == '-')), "{}: {:?}", table.page, table.head);
        let width = table.head.len();
        assert!(table.rows.iter().all(|row| row.len() == width), "{}: {:?}", table.page, table.head);
    }
    found
}

/// The one table with that head.
fn table(head: &[&str]) -> Table {
    let mut found: Vec<Table> = tables().into_iter().filter(|table| table.head == head).collect();
    assert_eq!(found.len(), 1, "tables with the head {head:?}");
    found.remove(0)
}

/// A name in backticks, without them.
fn name(cell: &str) -> String {
    let inner = cell.strip_prefix('`').and_then(|rest| rest.strip_suffix('`'));
    inner.unwrap_or_else(|| panic!("{cell} is not a name in backticks")).to_owned()
}

/// A struct as it lies in bytes.
struct Layout {
    name: &'static str,
    bytes: usize,
    /// Name, offset, bytes.
    fields: Vec<(&'static str, usize, usize)>,
}

fn bytes_of_field<T, F>(_: impl Fn(&T) -> &F) -> usize {
    size_of::<F>()
}

macro_rules! layout {
    ($struct:ident { $($field:ident),* $(,)? }) => {
        Layout {
            name: stringify!($struct),
            bytes: size_of::<$struct>(),
            fields: vec![$((
                stringify!($field),
                offset_of!($struct, $field),
                bytes_of_field(|value: &$struct| &value.$field),
            )),*],
        }
    };
}

type Change = fn(&mut Hello);

/// The fixed part of a hello, by what changes in its bytes when a field does.
fn layout_of_hello() -> Layout {
    let zero = || Hello {
        version_min: 0,
        version_max: 0,
        node: NodeId(0),
        incarnation: Incarnation(0),
        epoch: Epoch(0),
        nonce: 0,
        challenge: [0; 16],
        frame_bytes_max: 0,
        credit_bytes: 0,
        name: String::new(),
        address: String::new(),
        dialled: String::new(),
        met: None,
    };
    let changes: [(&str, Change); 9] = [
        ("version_min", |hello| hello.version_min = u16::MAX),
        ("version_max", |hello| hello.version_max = u16::MAX),
        ("node", |hello| hello.node = NodeId(u128::MAX)),
        ("incarnation", |hello| hello.incarnation = Incarnation(u64::MAX)),
        ("epoch", |hello| hello.epoch = Epoch(u64::MAX)),
        ("nonce", |hello| hello.nonce = u64::MAX),
        ("challenge", |hello| hello.challenge = [0xff; 16]),
        ("frame_bytes_max", |hello| hello.frame_bytes_max = u32::MAX),
        ("credit_bytes", |hello| hello.credit_bytes = u64::MAX),
    ];
    let fields = changes.map(|(name, change)| {
        let mut hello = zero();
        change(&mut hello);
        let bytes = hello.encode();
        let offset = bytes.iter().position(|byte| *byte != 0).unwrap();
        (name, offset, bytes.iter().filter(|byte| **byte == 0xff).count())
    });
    Layout { name: "HelloFixed", bytes: zero().encode().len(), fields: fields.into() }
}

fn layouts() -> Vec<Layout> {
    vec![
        layout!(BatchHeader {
            magic,
            version,
            flags,
            log_id,
            epoch,
            nonce,
            batch_number,
            durable_batch,
            first_lsn,
            segment_number,
            record_count,
            records_bytes,
            trailer_bytes,
            batch_bytes,
            previous_header_crc,
            trailer_crc,
            records_crc,
            header_crc,
        }),
        layout!(OwedRun { count, set }),
        layout!(RecordHeader { header_crc, body_crc, lsn, body_length, kind, flags, part, parts }),
        layout!(MessageHeader { published_at, topics_bytes, extension_bytes }),
        layout!(FrameHeader { magic, kind, flags, length, body_crc, header_crc }),
        layout_of_hello(),
        layout!(RunHeader { stream, first_position, count, reserved }),
    ]
}

#[test]
fn the_tables_of_bytes_are_those_of_the_structs() {
    let shown: Vec<Table> =
        tables().into_iter().filter(|table| table.head == ["offset", "bytes", "field", "holds"]).collect();
    let layouts = layouts();
    assert_eq!(shown.len(), layouts.len(), "each struct has its table");
    for (table, layout) in shown.iter().zip(&layouts) {
        assert_eq!(table.heading, format!("`{}`, {} bytes", layout.name, layout.bytes));
        let rows: Vec<(String, String, String)> =
            table.rows.iter().map(|row| (name(&row[2]), row[0].clone(), row[1].clone())).collect();
        let fields: Vec<(String, String, String)> = layout
            .fields
            .iter()
            .map(|(name, offset, bytes)| ((*name).to_owned(), offset.to_string(), bytes.to_string()))
            .collect();
        assert_eq!(rows, fields, "{} in {}", layout.name, table.page);
        let end = layout.fields.iter().fold(0, |at, (name, offset, bytes)| {
            assert_eq!(*offset, at, "{} of {} follows the field before it", name, layout.name);
            at + bytes
        });
        assert_eq!(end, layout.bytes, "no field of {} is left out", layout.name);
    }
}

/// A body of which the manual says the fields, with another value in each.
struct Sample {
    bytes: BodyWriter,
    next: u64,
    /// How a decoded value shows each field: its name, if it has one, and its value.
    shown: Vec<(Option<String>, String)>,
}

impl Sample {
    /// The body that a cell such as "`lsn` u64, `handler` text" tells of.
    fn of(fields: &str, put: fn(&mut Sample, &str) -> Vec<String>) -> Sample {
        // Falling numbers: what must be less than a field before it is.
        let mut sample = Sample { bytes: BodyWriter::new(), next: 200, shown: Vec::new() };
        for field in fields.split(", ").filter(|field| !field.is_empty()) {
            let (field_name, kind) = match field.split_once(' ') {
                Some((field_name, kind)) => (Some(name(field_name)), kind),
                None => (None, field),
            };
            let values = put(&mut sample, kind);
            sample.shown.extend(values.into_iter().map(|value| (field_name.clone(), value)));
        }
        sample
    }

    fn draw(&mut self) -> u64 {
        self.next -= 1;
        self.next
    }

    fn text(&mut self) -> String {
        let text = format!("t{}", self.draw());
        self.bytes.text(&text);
        format!("{text:?}")
    }

    /// That a decoded value has each field under its name.
    fn compare(&self, decoded: &str) {
        for (field, value) in &self.shown {
            let found = match field {
                // A list's own name stands before its bracket, and what is in it has names of its own.
                Some(field) => decoded.match_indices(&format!(" {field}: ")).any(|(at, name)| {
                    let rest = &decoded[at + name.len()..];
                    let inner = rest.trim_start_matches(|c: char| c.is_alphabetic() || c == '(' || c == '[');
                    [rest, rest.trim_start_matches('['), inner].iter().any(|rest| rest.starts_with(value))
                }),
                None => decoded.contains(value),
            };
            assert!(found, "{field:?} is not {value} in {decoded}");
        }
    }
}

/// Writes a value of a type of the log, and says how it is shown.
fn put_log_type(sample: &mut Sample, kind: &str) -> Vec<String> {
    let value = sample.draw();
    let out = &mut sample.bytes;
    match kind {
        "u32" => drop(out.u32(value as u32)),
        "u64" => drop(out.u64(value)),
        "flag" => {
            out.flag(true);
            return vec!["true".to_owned()];
        }
        "node" => {
            out.node(NodeId(value.into()));
            return vec![format!("NodeId({:032x})", value)];
        }
        "key" => drop(out.bytes(&[value as u8; 16])),
        "text" => return vec![sample.text()],
        "owner" => {
            out.u8(1);
            return vec![format!("Address({})", sample.text())];
        }
        "quota" => {
            out.u8(1).u64(value).u8(1).u8(1).u8(1).u64(7);
            let shown = format!(
                "OwnQuota {{ backlog_bytes: Some({value}), at_limit: Some(Park), lease_ms: Some(7) }}"
            );
            return vec![shown];
        }
        "state" => {
            out.u8(2);
            return vec!["Removing".to_owned()];
        }
        "ranges" => {
            out.u32(1).u64(value).u32(7);
            return vec![format!("LsnRange {{ first: Lsn({value}), count: 7 }}")];
        }
        "cursors" => {
            out.u32(1).u64(value).u64(7);
            return vec![format!("[(StreamId({value}), Position(7))]")];
        }
        "openings" => {
            out.u32(1).u64(value).u64(7).u64(8);
            return vec![format!("[(Epoch({value}), 7, Lsn(8))]")];
        }
        "streams" => drop(out.u32(1).u64(value)),
        "texts" => {
            out.u32(1);
            return vec![sample.text()];
        }
        "decided" => {
            out.u8(3);
            return vec!["Subscribed".to_owned()];
        }
        "verb" => {
            out.u8(1);
            return vec!["Remove".to_owned()];
        }
        "place" => {
            out.u8(2);
            return vec!["Dead".to_owned()];
        }
        "record" => drop(out.bytes(&[value as u8; 3])),
        other => panic!("the manual has a type {other} that this test does not know"),
    }
    vec![value.to_string()]
}

/// Writes a value of a type of the wire, and says how it is shown.
fn put_wire_type(sample: &mut Sample, kind: &str) -> Vec<String> {
    let value = sample.draw();
    let out = &mut sample.bytes;
    match kind {
        "u16" => drop(out.u16(value as u16)),
        "u64" => drop(out.u64(value)),
        "mac" => drop(out.bytes(&[value as u8; 32])),
        "met" => {
            out.u8(1).u64(value).u64(7).u64(8).u64(9);
            return vec![format!(
                "Some(Met {{ incarnation: Incarnation({value}), epoch: Epoch(7), nonce: 8, seen: Lsn(9) }})"
            )];
        }
        "secret" => drop(out.u8(1).bytes(&[value as u8; 16])),
        "text" => return vec![sample.text()],
        "cursors" => {
            out.u16(1).u64(value).u64(7);
            return vec![format!("[(StreamId({value}), Position(7))]")];
        }
        "topics" => {
            out.u8(1).bytes(b"a").u8(2).bytes(b"bc");
            return vec!["[\"a\", \"bc\"]".to_owned()];
        }
        other => panic!("the manual has a type {other} that this test does not know"),
    }
    vec![value.to_string()]
}

/// The types that a page explains.
fn types_of(page: &str) -> Vec<String> {
    let types =
        tables().into_iter().find(|table| table.page == page && table.head == ["type", "bytes"]).unwrap();
    types.rows.iter().flat_map(|row| row[0].split(", ")).map(str::to_owned).collect()
}

fn assert_types_are_explained(page: &str, fields: &str) {
    let types = types_of(page);
    for kind in
        fields.split(", ").filter_map(|field| field.split(' ').next_back()).filter(|kind| !kind.is_empty())
    {
        assert!(types.iter().any(|known| known == kind), "{page} does not explain {kind}");
    }
}

#[test]
fn the_table_of_record_kinds_has_every_kind_with_its_fields_in_their_order() {
    let table = table(&["number", "kind", "fields", "says"]);
    let shown: Vec<(String, String)> = table.rows.iter().map(|row| (row[0].clone(), name(&row[1]))).collect();
    assert_eq!(shown, RecordKind::ALL.map(|kind| ((kind as u8).to_string(), format!("{kind:?}"))));
    for (row, kind) in table.rows.iter().zip(RecordKind::ALL) {
        if matches!(kind, RecordKind::Message | RecordKind::Entry) {
            assert_eq!(row[2], if kind == RecordKind::Message { "see above" } else { "see below" });
            continue;
        }
        assert_types_are_explained(table.page, &row[2]);
        let sample = Sample::of(&row[2], put_log_type);
        let body = sample.bytes.clone().finish();
        let decoded = match kind {
            RecordKind::Accepted => format!("{:?}", Accepted::decode(&body).unwrap()),
            RecordKind::Carried => format!("{:?}", Carried::decode(&body).unwrap()),
            kind => match Control::decode(kind, &body) {
                Ok(control) => format!("{control:?}"),
                Err(defect) => panic!("the fields of {kind:?} are not those in the manual: {defect}"),
            },
        };
        sample.compare(&decoded);
    }
}

#[test]
fn the_table_of_frame_kinds_has_every_kind_with_its_fields_in_their_order() {
    let table = table(&["number", "frame", "fields", "says"]);
    let shown: Vec<(String, String)> = table.rows.iter().map(|row| (row[0].clone(), name(&row[1]))).collect();
    assert_eq!(shown, FrameKind::ALL.map(|kind| ((kind as u8).to_string(), format!("{kind:?}"))));
    for (row, kind) in table.rows.iter().zip(FrameKind::ALL) {
        if matches!(kind, FrameKind::Hello | FrameKind::Run) {
            assert_eq!(row[2], "see below");
            continue;
        }
        assert_types_are_explained(table.page, &row[2]);
        let sample = Sample::of(&row[2], put_wire_type);
        match Body::decode(kind, &sample.bytes.clone().finish()) {
            Ok(body) => sample.compare(&format!("{body:?}")),
            Err(defect) => panic!("the fields of {kind:?} are not those in the manual: {defect}"),
        }
    }
}

#[test]
fn the_table_of_goodbyes_has_every_code() {
    let table = table(&["number", "code", "when"]);
    let shown: Vec<(String, String)> = table.rows.iter().map(|row| (row[0].clone(), name(&row[1]))).collect();
    assert_eq!(shown, GoodbyeCode::ALL.map(|code| (code.number().to_string(), format!("{code:?}"))));
}

macro_rules! tags {
    ($module:ident: $($tag:ident),*) => {
        vec![$(($module::$tag.to_string(), stringify!($tag).to_owned())),*]
    };
}

#[test]
fn the_tables_of_extensions_have_their_tags() {
    let shown = |head: &[&str]| -> Vec<(String, String)> {
        table(head).rows.iter().map(|row| (row[0].clone(), name(&row[1]))).collect()
    };
    assert_eq!(
        shown(&["tag", "message extension", "value"]),
        tags!(message_extension: HEADER, REPLY_TO, DEADLINE, NOT_BEFORE, ORDERING_KEY)
    );
    assert_eq!(
        shown(&["tag", "hello extension", "value"]),
        tags!(hello_extension: NAME, ADDRESS, DIALLED, MET)
    );
}

#[test]
fn the_states_of_a_wish_have_their_numbers() {
    let states = [IntentState::Wanted, IntentState::Confirmed, IntentState::Removing, IntentState::Removed];
    let said =
        states.map(|state| format!("{} {}", state as u8, format!("{state:?}").to_lowercase())).join(", ");
    assert!(PAGES[1].1.contains(&format!("| state | 1 byte: {said} |")));
}

#[test]
fn the_table_of_recovery_is_that_of_the_source() {
    let source: Vec<&str> =
        include_str!("../src/log/verdict.rs").lines().filter_map(|line| line.strip_prefix("//! |")).collect();
    let shown: Vec<&str> = PAGES[1]
        .1
        .lines()
        .skip_while(|line| !line.starts_with("| row "))
        .take_while(|line| line.starts_with('|'))
        .map(|line| &line[1..])
        .collect();
    assert!(source.len() > 2);
    assert_eq!(shown, source);
}

macro_rules! constants {
    ($($name:ident),* $(,)?) => { vec![$((stringify!($name), $name as f64)),*] };
}

/// The constants that the manual may name. One that is missing here is refused where it is named.
fn constants() -> Vec<(&'static str, f64)> {
    let retry = Retry::default();
    let mut all = constants![
        BLOCK_BYTES,
        BATCH_BYTES_MAX,
        TRAILER_BYTES_MAX,
        WRITES_IN_FLIGHT_MAX,
        RECORD_BYTES_MAX,
        PAYLOAD_BYTES_MAX,
        ENTRY_BYTES_MAX,
        STORE_SEGMENT_BYTES_DEFAULT,
        STORE_SLACK_BYTES,
        LIST_MESSAGES_PER_PAGE,
        LIST_LOOKS_PER_PAGE,
        CONTROL_CONNECTIONS_MAX,
        CONTROL_REQUEST_BYTES_MAX,
        CONTROL_STALL_MS,
        TOPICS_MAX,
        TOPIC_BYTES_MAX,
        EXTENSION_BYTES_MAX,
        ADDRESS_BYTES_MAX,
        NAME_BYTES_MAX,
        REASON_BYTES_MAX,
        LIST_ENTRIES_MAX,
        OPENINGS_KEPT,
        PEER_LIVES_KEPT,
        STREAMS_FINISHED_KEPT,
        CURSORS_MAX,
        PEERS_FORGOTTEN_KEPT,
        SEGMENT_BYTES_MIN,
        SEGMENT_BYTES_DEFAULT,
        SEGMENT_BYTES_MAX,
        SPARES_MAX,
        TORN_FILES_MAX,
        CARRY_SEGMENTS_MIN,
        CHECKPOINT_FRACTION,
        ALLOWANCE_REST_MS,
        CARRY_BYTES_PER_BATCH,
        FRAME_BYTES_MAX,
        HANDSHAKE_FRAME_BYTES_MAX,
        HANDSHAKE_WINDOW_BYTES_MAX,
        DESCRIPTORS_KEPT,
        RUN_BYTES_MAX,
        INTEREST_BYTES_MAX,
        CREDIT_BYTES,
        KEPT_BYTES_MAX,
        WINDOWS_KEPT_MAX,
        SEND_BYTES_IN_FLIGHT_MAX,
        INBOUND_STREAMS_PER_PEER_MAX,
        PEERS_MAX,
        PEERS_REST_MS,
        SESSIONS_UNESTABLISHED_MAX,
        HANDSHAKE_TIMEOUT_MS,
        HEARTBEAT_MS,
        SESSION_TIMEOUT_MS,
        DIAL_BACKOFF_MIN_MS,
        DIAL_BACKOFF_MAX_MS,
        RESUBMISSIONS_MAX,
        DISK_FULL_RETRY_MS,
        RESERVE_FRACTION,
        DISK_BYTES_DEFAULT,
        DISK_SEGMENTS_MIN,
        BACKLOG_BYTES_DEFAULT,
        BACKLOG_BYTES_MIN,
        QUOTA_SLACK_BYTES,
        LEASE_GRACE_MS,
        SENDER_BYTES_DEFAULT,
        LIMIT_GIVES_SEGMENTS,
        PREWRITE_PIECE_BYTES,
        PREWRITE_PACE_BYTES_PER_SECOND,
        DISPATCH_MESSAGES_MAX,
        DISPATCH_BYTES_MAX,
        CONCURRENCY_DEFAULT,
        INBOX_BYTES_DEFAULT,
    ];
    all.extend([
        ("Retry::initial_ms", retry.initial_ms as f64),
        ("Retry::factor", retry.factor),
        ("Retry::max_ms", retry.max_ms as f64),
        ("Retry::attempts_max", f64::from(retry.attempts_max)),
    ]);
    all
}

/// A number, perhaps with a unit of bytes.
fn number(cell: &str) -> f64 {
    let (digits, unit) = cell.split_once(' ').unwrap_or((cell, ""));
    let unit = match unit {
        "" => 1_u64,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        other => panic!("{other} is no unit"),
    };
    digits.parse::<f64>().unwrap() * unit as f64
}

#[test]
fn the_tables_of_numbers_have_the_numbers_of_the_source() {
    let constants = constants();
    let mut seen = 0;
    for table in tables().iter().filter(|table| table.head == ["name", "value"]) {
        for row in &table.rows {
            let found = constants.iter().find(|(known, _)| *known == name(&row[0]));
            let (_, value) = found.unwrap_or_else(|| panic!("{}: {} is not known", table.page, row[0]));
            assert_eq!(number(&row[1]), *value, "{}: {}", table.page, row[0]);
            seen += 1;
        }
    }
    assert!(seen > constants.len() / 2);
}

#[test]
fn a_constant_that_a_page_speaks_of_has_its_number_there() {
    for (page, text) in PAGES {
        for (known, _) in constants() {
            let named = text.contains(&format!("`{known}`"));
            assert!(!named || text.contains(&format!("\n| `{known}` | ")), "{page} speaks of {known}");
        }
    }
}

#[test]
fn what_looks_like_a_constant_is_one() {
    const OTHERS: [&str; 14] = [
        "O_DIRECT",
        "O_DSYNC",
        "REPLY_TO",
        "NOT_BEFORE",
        "ORDERING_KEY",
        "EIO",
        "RESOLUTE_REWRITE_GOLDEN",
        "RESOLUTE_EVERY_BIT",
        "RESOLUTE_SEED",
        "RESOLUTE_POWER_CUTS",
        "RESOLUTE_HOSTILE_FRAMES",
        "RESOLUTE_CRASH_IMAGES",
        "RESOLUTE_IO_FAULTS",
        "RESOLUTE_IO_FAULT",
    ];
    for (page, text) in PAGES {
        for word in text.split('`').skip(1).step_by(2) {
            let looks = word.contains('_') && word.chars().all(|c| c.is_ascii_uppercase() || c == '_');
            let is = constants().iter().any(|(known, _)| *known == word) || OTHERS.contains(&word);
            assert!(!looks || is, "{page}: {word}");
        }
    }
}

#[test]
fn the_manual_has_every_page_in_its_place() {
    let module = include_str!("../src/manual/mod.rs");
    for (page, text) in PAGES {
        assert!(module.contains(&format!("include_str!(\"{page}\")")), "{page}");
        assert!(text.starts_with("# "), "{page} has a title");
        assert!(text.lines().all(|line| line.len() <= 250), "{page} has lines that people can read");
    }
    assert_eq!(module.matches("include_str!").count(), PAGES.len());
}

#[test]
fn the_table_of_entries_has_each_with_its_number() {
    let table = table(&["entry", "name", "fields", "says"]);
    let shown: Vec<(String, String)> = table.rows.iter().map(|row| (row[0].clone(), name(&row[1]))).collect();
    let known = crate::golden::entries().map(|entry| {
        let text = format!("{entry:?}");
        (entry.encode()[0].to_string(), text.split([' ', '(']).next().unwrap().to_owned())
    });
    assert_eq!(shown, known);
}
