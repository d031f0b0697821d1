//! What two nodes say to each other: the frames of a session and the bodies in them. Pure: byte slices in, values
//! out. Whom to believe, what to answer and when is decided in the engine; sockets are the io layer's.
//!
//! ```text
//!        the node that dials                            the node that accepts
//!
//!   who I am, my challenge         ── Hello ───────▶
//!                                  ◀─────── Hello ──   who I am, my challenge
//!   my proof to your challenge;    ── Proof ───────▶
//!   a secret, if I know none
//!                                                      verifies; at a first meeting writes the secret down
//!                                  ◀─ Established ──   my proof to your challenge; you are on stable storage
//!   verifies, writes down                                        ┐
//!                                                                ├─ nothing else is sent before this point
//!   how far I have accepted        ── Resume ──────▶             ┘
//!   each of your streams           ◀────── Resume ──
//!   all topics I want from you     ── Interest ────▶
//!                                  ◀──── Interest ──
//!   your wish is written down      ── InterestConfirmed ▶
//!                                  ◀ InterestConfirmed ─
//!
//!   records of one stream,         ── Run ─────────▶
//!   in the order of positions      ◀────────── Ack ──   accepted on stable storage; and so much more may you send
//!   (both ways at once)            ◀────────── Run ──
//!                                  ── Ack ─────────▶
//!
//!   at any time: Heartbeat; StreamEnd and Gap of a stream; Goodbye, the last frame of a session
//! ```
//!
//! | file | noun |
//! |---|---|
//! | [`hello`] | the first frame, by which versions are agreed on |
//! | [`met`] | what a node remembers of another's log |
//! | [`proof`] | how a node proves that it is the one that was met before |
//! | [`bodies`] | the bodies of all other frames that are not runs |
//! | [`goodbye`] | why a session ends |
//! | [`records`] | the records of a run, verified once, before they are stored |
//! | [`frame_buffer`] | received bytes in, whole frames out |
//! | [`held_frames`] | frames that wait for room on a full disk |
#![forbid(unsafe_code)]

pub mod bodies;
pub mod frame_buffer;
pub mod goodbye;
pub mod held_frames;
pub mod hello;
pub mod met;
pub mod proof;
pub mod records;
