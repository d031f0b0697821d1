//! What the fuzz targets do with the bytes they are given. The same code runs over the kept corpora with the ordinary
//! tests (`proptests/fuzz_targets.rs`), so it must compile without the fuzzer.

pub mod batch;
pub mod frames;
pub mod mend;
pub mod node;
pub mod record;
pub mod segments;
pub mod session;
pub mod source;
