//! The files of resolute's ancestor, a package of Node.js: `.shulz` holds a map, `.seuss` a queue. They are read and never
//! written.
//!
//! ```text
//!           0         4              8
//!  set      | 1       | bytes of key | key, padding | bytes of value | value, padding
//!  clear    | 2       | bytes of key | key, padding
//!  enqueue  | 1       | bytes        | value, padding
//!  dequeue  | 2       |                             the oldest item is gone
//!  end      | 0       |                             only zeros come behind it
//! ```
//!
//! Numbers are big-endian, all is padded to 4 bytes, a key is a text and a value is JSON. Nothing has a checksum. Where something
//! makes no sense, reading goes on at the next place at which an operation begins that does: one whose lengths fit into the file,
//! whose key is a text without a zero byte, and whose value is JSON. A damaged operation so costs itself and no other. What was
//! passed over is named, and what follows from it is decided so that something may come again rather than never: see [`Map`] and
//! [`Queue`]. Damage that leaves a value JSON is not found.

mod damage;
mod map;
mod operations;
mod queue;

pub use damage::{Damage, Trouble};
pub use map::{Entry, Map};
pub use queue::{Item, Queue};
