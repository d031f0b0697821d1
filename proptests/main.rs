//! Tests of the pure layers with inputs nobody thought of, and of the source itself.
// All of this is test code, though not all of it stands in a test function.
#![allow(clippy::unwrap_used)]

mod recovery;
mod handling;
mod lifecycle;
mod nodes;
mod scene;
mod tidy;
mod wire_codec;
