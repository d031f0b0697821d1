//! The shell: performs what the pure part asks for.

pub mod recover;
pub mod torn_file;
pub mod window_reader;
