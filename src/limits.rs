//! Every bound of the bus, in one place, and how they must relate.
//!
//! Nothing that a peer or a disk can send grows memory without one of these.

/// Blocks of the log: every write begins and ends on a multiple of this, and no block is written twice.
pub const BLOCK_BYTES: usize = 4096;

/// The largest batch: what one O_DSYNC write makes durable.
pub const BATCH_BYTES_MAX: usize = 1 << 20;

/// Log writes in flight at once. Two keep the device busy while one completes; more only raise latency.
pub const WRITES_IN_FLIGHT_MAX: usize = 2;

/// Buffers of [`BATCH_BYTES_MAX`] each: those being filled and written, and a ring of recent ones that streams
/// are sent from.
pub const BUFFERS: usize = RECENT_CHUNKS_MAX + 4;

/// Durable batches that stay in memory for streams that keep up. Slower ones are served from the log.
pub const RECENT_CHUNKS_MAX: usize = 16;

/// Pieces of the log, of at most a batch each, that are in memory because someone is behind.
pub const READ_CHUNKS_MAX: usize = 4;

/// Pieces of the log that are being read at once.
pub const READS_IN_FLIGHT_MAX: usize = 2;

/// Bytes of records that are carried forward with one batch.
pub const CARRY_BYTES_PER_BATCH: usize = 256 << 10;

/// With fewer segments than this nothing is carried forward: there is little to be won.
pub const CARRY_SEGMENTS_MIN: usize = 4;

/// How long a full disk is left alone before a segment is asked for again, in milliseconds.
pub const DISK_FULL_RETRY_MS: u64 = 1_000;

/// How many of [`BUFFERS`] are registered with the kernel. Locked memory is 8 MiB for all processes of a user by default.
pub const BUFFERS_REGISTERED: usize = 3;

/// Buffers beyond the registered ones that wait for reuse. What is given back above this is freed.
pub const BUFFERS_IDLE_MAX: usize = BUFFERS + READ_CHUNKS_MAX;

/// How often in a row the kernel may answer a write or a read of the log with EINTR, EAGAIN or no whole block
/// before that is taken for a failure.
pub const RESUBMISSIONS_MAX: u32 = 64;

/// Bytes of zeros that prewriting puts down at once.
pub const PREWRITE_PIECE_BYTES: usize = 256 << 10;

/// Bytes a second that paced prewriting stays below: appends keep 96 % of their speed beside it, and 22 % beside
/// prewriting at full speed.
pub const PREWRITE_PACE_BYTES_PER_SECOND: u64 = 100_000_000;

/// Spare files kept for reuse. What is freed above this is unlinked.
pub const SPARES_MAX: usize = 2;

/// How often a data directory's lock is tried before it counts as held: whoever asks who holds it takes it for a
/// moment, and a process that is being replaced may be about to let go.
pub const LOCK_ATTEMPTS: u32 = 5;

/// The pause between two such attempts, in milliseconds.
pub const LOCK_PAUSE_MS: u64 = 20;

/// How long an opening waits for the address that a process which was killed a moment ago listened at: the kernel gives
/// it back a little after the process is gone. In milliseconds.
pub const BIND_WAIT_MS: u64 = 1_000;

/// The pause between two tries to listen there, in milliseconds.
pub const BIND_PAUSE_MS: u64 = 5;

/// How long an opening waits for locked memory that its ring does not find: the kernel gives back what a ring had locked
/// some time after that ring is gone. In milliseconds.
pub const RING_WAIT_MS: u64 = 1_000;

/// The pause between two tries to set up a ring, in milliseconds.
pub const RING_PAUSE_MS: u64 = 5;

/// Files that are kept with what was cut off a log; older ones are removed at the next opening. Each is no larger than
/// [`WRITES_IN_FLIGHT_MAX`] batches and one more.
pub const TORN_FILES_MAX: usize = 8;

/// Room in a batch for its trailer. A batch is sealed when its trailer is full.
pub const TRAILER_BYTES_MAX: usize = 64 << 10;

/// Bytes of records in one batch, the header of the batch and its trailer taken off.
pub const BATCH_RECORD_BYTES_MAX: usize = BATCH_BYTES_MAX - TRAILER_BYTES_MAX - BLOCK_BYTES;

/// Records that lie side by side and are owed alike are cut into extents of at most this, so that a stream can
/// be sent in pieces without a look at each record.
pub const EXTENT_BYTES: u32 = 64 << 10;

/// Extents of one batch: so many runs fit its trailer.
pub const EXTENTS_MAX: usize = TRAILER_BYTES_MAX / 8;

/// Room in a batch for the records that a new route may need before its message: a set of as many streams as there can
/// be peers, and a new stream.
pub const ROUTE_RECORD_BYTES_MAX: usize = PEERS_MAX * 8 + (4 << 10);

/// Bytes of the records of an atomic batch.
pub const ATOMIC_BYTES_MAX: usize = BATCH_RECORD_BYTES_MAX - ROUTE_RECORD_BYTES_MAX;

/// The largest record, its header included.
pub const RECORD_BYTES_MAX: usize = 256 << 10;

/// The largest payload of one message. Topics and headers must fit in what the record has beyond it.
pub const PAYLOAD_BYTES_MAX: usize = RECORD_BYTES_MAX - (16 << 10);

/// Topics of one message.
pub const TOPICS_MAX: usize = 16;

/// Bytes of one topic, in UTF-8; at least 1.
pub const TOPIC_BYTES_MAX: usize = 255;

/// Bytes of all headers, the reply address and the other optional fields of one message.
pub const EXTENSION_BYTES_MAX: usize = 8 << 10;

/// Bytes of an address such as `tcp://host:port`.
pub const ADDRESS_BYTES_MAX: usize = 255;

/// Bytes of the name of a node or a handler.
pub const NAME_BYTES_MAX: usize = 128;

/// Bytes of the reason kept with a failed attempt; longer ones are cut.
pub const REASON_BYTES_MAX: usize = 1024;

/// Bytes of all topics that one node subscribes to at one peer: they travel in one frame.
pub const INTEREST_BYTES_MAX: usize = 512 << 10;

/// Bytes of the log in memory at once while it is read back.
pub const RECOVERY_WINDOW_BYTES: usize = 4 << 20;

/// Bytes of a new segment of a store, if nobody says otherwise.
pub const STORE_SEGMENT_BYTES_DEFAULT: u64 = SEGMENT_BYTES_MIN;

/// Bytes that a store's log may be larger than the records that it is for, before its oldest segment is looked through: or half
/// of those, if that is more.
pub const STORE_SLACK_BYTES: u64 = 24 << 20;

/// Bytes of a key with its value, or of an item, as they are written down.
pub const ENTRY_BYTES_MAX: usize = PAYLOAD_BYTES_MAX;

/// The smallest and the default and the largest segment.
pub const SEGMENT_BYTES_MIN: u64 = 8 << 20;
/// See [`SEGMENT_BYTES_MIN`].
pub const SEGMENT_BYTES_DEFAULT: u64 = 64 << 20;
/// See [`SEGMENT_BYTES_MIN`].
pub const SEGMENT_BYTES_MAX: u64 = 1 << 30;

/// The small state, which every segment begins with, may take this part (one in so many bytes) of a segment: more peers
/// and more subscriptions than that are refused.
pub const CHECKPOINT_FRACTION: u64 = 2;

/// How many openings of its log a node remembers, to tell a peer that met one of them from a peer that met another log.
pub const OPENINGS_KEPT: usize = 512;

/// How many lives of a peer's log are remembered beside the one that it has, to tell whoever speaks for one of them.
pub const PEER_LIVES_KEPT: usize = 16;

/// Of how many streams of a peer that have ended it is remembered how much was accepted: those that ended last. A peer that is restored
/// from a backup may owe the same on them again.
pub const STREAMS_FINISHED_KEPT: usize = 16;

/// Of how many peers that somebody had it forget a node remembers the secret when a segment begins, so that nobody else comes back in
/// their names.
pub const PEERS_FORGOTTEN_KEPT: usize = 256;

/// What one more peer may add to the small state, its stream and how far its own is accepted among it.
pub const PEER_BYTES: u64 = 1 << 10;

/// How often, at most, the small state is measured anew when there seems to be no room for more of it, in milliseconds:
/// that is a look at all of it, and whoever is refused may ask again at once.
pub const ALLOWANCE_REST_MS: u64 = 1_000;

/// When the disk has no room for a next segment, this part (one in so many bytes) of the last one takes no more
/// messages: what frees the log, marks and cursors, still finds room.
pub const RESERVE_FRACTION: u64 = 8;

/// The shortest pause between two batches that hold only marks and cursors, on a full disk, in milliseconds. It doubles
/// with every tenth of the reserve that is used: a batch takes a block whatever is in it, and the marks of many
/// messages take no more than those of one.
pub const RESERVE_PAUSE_MS: u64 = 20;

/// How often that pause doubles.
pub const RESERVE_PAUSE_DOUBLINGS: u64 = 10;

/// How long an opening waits for a write that a killed process left behind, in milliseconds.
pub const DEAD_WRITERS_MS: u64 = 5_000;

/// Segments that are open at once.
pub const OPEN_SEGMENTS_MAX: usize = 64;

/// Descriptors of the process that no peer gets, so that the log can always open its files: those that are open at once,
/// and some for what else must go on (a segment being prepared, the directory, whoever looks at the status). Half of all
/// where the process may have fewer than twice as many.
pub const DESCRIPTORS_KEPT: u64 = 128;

/// Bytes of a frame after its header, for every kind but runs.
pub const CONTROL_FRAME_BYTES_MAX: usize = 1 << 20;

/// Bytes of one run of records on the wire: a frame of this much is sent, then other streams have their turn.
pub const RUN_BYTES_MAX: usize = 256 << 10;

/// The largest frame after its header: a run that holds one record of the largest size, and its run header.
pub const FRAME_BYTES_MAX: usize = CONTROL_FRAME_BYTES_MAX;

/// The largest frame after its header while the peer has not yet proved who it is: a stranger gets little memory.
pub const HANDSHAKE_FRAME_BYTES_MAX: usize = 4096;

/// Room that a session offers to its first read, and after it was idle.
pub const READ_BYTES_MIN: usize = 16 << 10;

/// Room that a session offers to a read when the peer keeps filling it.
pub const READ_BYTES_MAX: usize = 256 << 10;

/// Bytes received on one session and not yet consumed: one frame that is not yet whole, and the next read.
pub const RECEIVE_WINDOW_BYTES_MAX: usize = FRAME_BYTES_MAX + 16 + READ_BYTES_MAX;

/// The same while the peer has not yet proved who it is. There may be [`SESSIONS_UNESTABLISHED_MAX`] of those.
pub const HANDSHAKE_WINDOW_BYTES_MAX: usize = 32 << 10;

/// The largest position that a peer may name, so that counting on from it never overflows. No stream gets there.
pub const POSITION_MAX: u64 = 1 << 62;

/// What a peer may send on one session before it must wait for a grant: the receiver has this much memory for it.
pub const CREDIT_BYTES: u64 = 4 << 20;

/// Bytes of frames of one session that are set aside because the disk is full: all that its credit allows, and what
/// control comes between.
pub const HELD_BYTES_MAX: usize = CREDIT_BYTES as usize + FRAME_BYTES_MAX;

/// Bytes of all sessions that were received and cannot be taken yet: frames that are not yet whole, and those set aside. If
/// there are more, the session that has waited longest for its frame to become whole is ended.
pub const KEPT_BYTES_MAX: usize = 256 << 20;

/// Connections that keep the memory of their window when all in it is consumed. Where there are more, all give it back.
pub const WINDOWS_KEPT_MAX: usize = 64;

/// Bytes written to a socket and not yet taken by it, for one session.
pub const SEND_BYTES_IN_FLIGHT_MAX: usize = 2 << 20;

/// Pieces shorter than this are copied together before they are written to a socket.
pub const GATHER_BYTES_MAX: usize = 2 << 10;

/// Bytes that one write to a socket begins with, and a little more.
pub const WRITE_BYTES_MAX: usize = 1 << 20;

/// Pieces of one write to a socket.
pub const WRITE_PIECES_MAX: usize = 64;

/// Connections that are being made at once.
pub const DIALS_AT_ONCE_MAX: usize = 8;

/// How long no peer is accepted after accepting one failed for want of descriptors or memory, in milliseconds.
pub const ACCEPT_PAUSE_MS: u64 = 100;

/// How long a connection that is to be closed may take to say goodbye, in milliseconds.
pub const GOODBYE_MS: u64 = 1_000;

/// Peers that one node knows. For one more another gives way with whom nothing is agreed, or it is refused.
pub const PEERS_MAX: usize = 16_384;

/// How often, at most, it is looked for those who may give way, in milliseconds: that is a look at all of them.
pub const PEERS_REST_MS: u64 = 1_000;

/// Connections that have not yet proved who they are.
pub const SESSIONS_UNESTABLISHED_MAX: usize = 256;

/// Streams that one peer may owe us at the same time: the present one and those being drained.
pub const INBOUND_STREAMS_PER_PEER_MAX: usize = 64;

/// Cursors in one frame: of streams that a peer has, and of those that are remembered.
pub const CURSORS_MAX: usize = INBOUND_STREAMS_PER_PEER_MAX + STREAMS_FINISHED_KEPT;

/// Answers that a session may have waiting when its peer says once more what it wants.
pub const INTERESTS_PENDING_MAX: usize = 64;

/// Messages on one page of a list that the engine's thread gathers.
pub const LIST_MESSAGES_PER_PAGE: usize = 256;

/// Messages that it looks at for one page, whether or not the list is theirs.
pub const LIST_LOOKS_PER_PAGE: usize = 4_096;

/// Connections to a node's control socket at the same time.
pub const CONTROL_CONNECTIONS_MAX: usize = 16;

/// How often a message of a list is looked for anew whose place in the log had changed by the time that it was read.
pub const CONTROL_LOOKS_AGAIN_MAX: u32 = 20;

/// Bytes of one request on a control socket.
pub const CONTROL_REQUEST_BYTES_MAX: u64 = 1 << 20;

/// How long whoever is connected to a control socket may take nothing, in milliseconds, before somebody who comes gets its place.
pub const CONTROL_STALL_MS: u64 = 10_000;

/// Decisions that may wait to be logged when a peer says that positions are lost.
pub const PENDING_OF_PEERS_MAX: usize = 4096;

/// Messages of an atomic batch: each may be owed to others than the one before it.
pub const ATOMIC_MESSAGES_MAX: usize = EXTENTS_MAX / 2 - 16;

/// Records shorter than this are copied for handlers, so that a few of them do not hold a whole batch in memory.
pub const HAND_OVER_COPY_BYTES: usize = 64 << 10;

/// How long a connection may take to become a session, in milliseconds.
pub const HANDSHAKE_TIMEOUT_MS: u64 = 5_000;

/// Silence after which a heartbeat is sent, in milliseconds.
pub const HEARTBEAT_MS: u64 = 3_000;

/// Silence after which a session is given up, in milliseconds.
pub const SESSION_TIMEOUT_MS: u64 = 10_000;

/// First and longest pause between two attempts to connect, in milliseconds.
pub const DIAL_BACKOFF_MIN_MS: u64 = 100;
/// See [`DIAL_BACKOFF_MIN_MS`].
pub const DIAL_BACKOFF_MAX_MS: u64 = 10_000;

/// Messages that lie ready for handlers, and deliveries that may be out at once.
pub const DISPATCH_MESSAGES_MAX: u64 = 16_384;

/// Bytes that are handed over at once, and of which no more are while so many lie ready for handlers.
pub const DISPATCH_BYTES_MAX: usize = 4 << 20;

/// Handlers that run at once, unless the options say otherwise.
pub const CONCURRENCY_DEFAULT: usize = 64;

/// Bytes that the segments of a node's log may take of the disk, unless the options say otherwise.
pub const DISK_BYTES_DEFAULT: u64 = 64 << 30;

/// Segments that must fit in what a node's log may take of the disk: one that is written, one that is freed, and what lies between.
pub const DISK_SEGMENTS_MIN: u64 = 4;

/// Segments beyond that which a log gets for what frees it: copies of what is wanted still, marks and cursors. Those of one segment fit
/// in less than two.
pub const LIMIT_GIVES_SEGMENTS: u64 = 2;

/// Bytes that the inbox may hold before peers get no more credit, unless the options say otherwise.
pub const INBOX_BYTES_DEFAULT: u64 = 4 << 30;

/// Bytes of the inbox that the messages of one peer may have before it gets no more credit, unless the options say otherwise.
pub const SENDER_BYTES_DEFAULT: u64 = 2 << 30;

/// Bytes that may wait for one subscriber, unless the options or its own quota say otherwise.
pub const BACKLOG_BYTES_DEFAULT: u64 = 16 << 30;

/// The smallest backlog that a quota may allow: some batches.
pub const BACKLOG_BYTES_MIN: u64 = 4 << 20;

/// No lease is over earlier than so many milliseconds after an opening, or its own length: whoever was absent before, or seemed to
/// be, has time to come back.
pub const LEASE_GRACE_MS: u64 = 60_000;

/// How often it is looked again at those whose lease is over and who are owed nothing, or less than they may.
pub const LEASE_LOOK_MS: u64 = 1_000;

/// A subscriber may be seen to be at its quota so many bytes late.
pub const QUOTA_SLACK_BYTES: u64 = 64 << 10;

const _: () = assert!(BATCH_BYTES_MAX.is_multiple_of(BLOCK_BYTES));
const _: () =
    assert!(RECORD_BYTES_MAX <= BATCH_RECORD_BYTES_MAX / 2, "a record must fit any batch, with others");
const _: () = assert!(
    PAYLOAD_BYTES_MAX + TOPICS_MAX * (TOPIC_BYTES_MAX + 1) + EXTENSION_BYTES_MAX + 64 <= RECORD_BYTES_MAX
);
const _: () = assert!(RUN_BYTES_MAX >= RECORD_BYTES_MAX, "a run must hold the largest record");
const _: () = assert!(FRAME_BYTES_MAX >= RUN_BYTES_MAX + 64);
const _: () = assert!(INTEREST_BYTES_MAX + 4096 <= CONTROL_FRAME_BYTES_MAX);
const _: () =
    assert!(HANDSHAKE_FRAME_BYTES_MAX <= FRAME_BYTES_MAX && HANDSHAKE_FRAME_BYTES_MAX <= READ_BYTES_MIN);
const _: () = assert!(READ_BYTES_MIN <= READ_BYTES_MAX);
const _: () = assert!(
    HANDSHAKE_FRAME_BYTES_MAX + 16 + READ_BYTES_MIN <= HANDSHAKE_WINDOW_BYTES_MAX
        && HANDSHAKE_WINDOW_BYTES_MAX <= RECEIVE_WINDOW_BYTES_MAX,
    "a frame of the handshake that is not yet whole, and the next read"
);
const _: () = assert!(
    KEPT_BYTES_MAX >= 32 * (RECEIVE_WINDOW_BYTES_MAX + HELD_BYTES_MAX),
    "a few peers with frames set aside end no other's session"
);
const _: () = assert!(
    8 * SESSIONS_UNESTABLISHED_MAX * HANDSHAKE_WINDOW_BYTES_MAX <= KEPT_BYTES_MAX,
    "nor do strangers"
);
const _: () = assert!(WINDOWS_KEPT_MAX * RECEIVE_WINDOW_BYTES_MAX <= KEPT_BYTES_MAX / 2);
const _: () = assert!(CREDIT_BYTES >= 4 * RUN_BYTES_MAX as u64, "a sender must not stall on a single run");
const _: () = assert!(BUFFERS_REGISTERED <= BUFFERS && BUFFERS >= WRITES_IN_FLIGHT_MAX + 2);
const _: () = assert!(PREWRITE_PIECE_BYTES.is_multiple_of(BLOCK_BYTES));
const _: () =
    assert!(BATCH_BYTES_MAX <= u32::MAX as usize, "the kernel counts the bytes of a write in 32 bits");
const _: () = assert!(
    SEGMENT_BYTES_MIN / CHECKPOINT_FRACTION + 2 * BATCH_BYTES_MAX as u64 <= SEGMENT_BYTES_MIN,
    "a checkpoint must leave room in the segment"
);
const _: () = assert!(
    PEERS_MAX as u64 * PEER_BYTES <= SEGMENT_BYTES_DEFAULT / CHECKPOINT_FRACTION,
    "all peers must fit a segment of the default size"
);
const _: () = assert!(
    PEERS_FORGOTTEN_KEPT as u64 * PEER_BYTES <= SEGMENT_BYTES_MIN / CHECKPOINT_FRACTION / 4,
    "what is left of those that are gone must leave room for those that come"
);
const _: () = assert!(
    INTEREST_BYTES_MAX as u64 + PEER_BYTES <= SEGMENT_BYTES_MIN / CHECKPOINT_FRACTION,
    "what one peer may want must fit the smallest segment"
);
const _: () = assert!(DISK_SEGMENTS_MIN * SEGMENT_BYTES_MAX <= DISK_BYTES_DEFAULT);
const _: () = assert!(
    DISK_SEGMENTS_MIN >= CARRY_SEGMENTS_MIN as u64,
    "what is wanted still must be carried before the limit"
);
const _: () = assert!(SEGMENT_BYTES_MIN >= 4 * BATCH_BYTES_MAX as u64);
const _: () = assert!(DESCRIPTORS_KEPT >= OPEN_SEGMENTS_MAX as u64 + SPARES_MAX as u64 + 32);
const _: () = assert!(RECOVERY_WINDOW_BYTES >= WRITES_IN_FLIGHT_MAX * BATCH_BYTES_MAX);
const _: () = assert!(HEARTBEAT_MS * 3 < SESSION_TIMEOUT_MS);
const _: () = assert!(TOPIC_BYTES_MAX <= u8::MAX as usize, "a topic's length is one byte");
