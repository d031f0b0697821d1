//! Tests of the pure layers with inputs nobody thought of, and of the source itself.
// All of this is test code, though not all of it stands in a test function.
#![allow(clippy::unwrap_used)]

mod administering;
mod backlog;
mod bad_input;
mod claims;
mod codec;
mod directories;
mod fuzz_targets;
mod golden;
mod handling;
mod hostile;
mod legacy;
mod lifecycle;
mod looking;
mod manual;
mod mesh;
mod mutants;
mod nodes;
mod recovery;
mod regressions;
mod rewriting;
mod salvaging;
mod scene;
mod sim;
mod stores;
mod tidy;
#[path = "torture/rules.rs"]
mod torture_rules;
mod wake_model;
mod wire_codec;
