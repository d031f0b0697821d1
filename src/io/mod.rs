//! The shell around the pure part: everything that knows the kernel.
//!
//! Only this folder names tokio-uring, io-uring or nix, so it is also the way out of them.

pub mod buffer;
pub mod buffer_pool;
pub mod clock;
pub mod directory;
pub mod file_system;
pub mod prewriter;
pub mod recover;
pub mod segment_file;
pub mod torn_file;
pub mod uring_probe;
pub mod window_reader;
