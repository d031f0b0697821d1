//! The shell around the pure part: everything that knows the kernel.
//!
//! Only this folder names tokio-uring, io-uring or nix, so it is also the way out of them.

pub mod address;
pub mod backup;
pub mod buffer;
pub mod buffer_pool;
pub mod clock;
pub mod commits;
pub mod connection;
pub mod credentials;
pub mod descriptors;
pub mod dialler;
pub mod directory;
pub mod draft;
pub mod driver;
pub mod durable;
pub mod file_system;
pub mod handoff;
pub mod inputs;
pub mod listener;
pub mod mailbox;
pub mod node;
pub mod node_status;
pub mod opening;
pub mod pin;
pub mod prewriter;
pub mod quarantine;
pub mod recover;
pub mod ring;
pub mod route_table;
pub mod salvage;
pub mod segment_file;
pub mod segment_files;
pub mod shared;
pub mod sleep_flag;
pub mod staging;
pub mod store;
pub mod sync;
pub mod torn_file;
pub mod unix_socket;
pub mod uring_probe;
pub mod wake;
pub mod window_reader;
pub mod yardstick;
mod zeros;
