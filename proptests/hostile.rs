//! Peers with bad intentions, and what they may cost a node: no panic, a bounded memory, and never a message of the honest
//! peer beside them. A few thousand frames in each run; `RESOLUTE_HOSTILE_FRAMES=5000000` sends more.

#[path = "hostile/acks.rs"]
mod acks;
#[path = "hostile/addresses.rs"]
mod addresses;
#[path = "hostile/bad_frames.rs"]
mod bad_frames;
#[path = "hostile/credit.rs"]
mod credit;
#[path = "hostile/descriptors.rs"]
mod descriptors;
#[path = "hostile/door.rs"]
mod door;
#[path = "hostile/memory.rs"]
mod memory;
#[path = "hostile/mutations.rs"]
mod mutations;
#[path = "hostile/peer_table.rs"]
mod peer_table;
#[path = "hostile/slow.rs"]
mod slow;
#[path = "hostile/visitors.rs"]
mod visitors;
