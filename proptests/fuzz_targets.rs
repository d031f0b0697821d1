//! What fuzzing found and what it found its way with, kept in `fuzz/corpus/`: each input is run again, by the code that the
//! fuzzer runs, without a fuzzer. Longer searches are `scripts/fuzz TARGET MINUTES`.

#[path = "../fuzz/src/lib.rs"]
pub mod targets;

use std::collections::BTreeSet;
use std::path::Path;

use resolute::format::record::RecordKind;

use crate::scene::seeds;
use crate::sim::rng::Rng;

type Target = fn(&[u8]);
const TARGETS: [(&str, Target); 5] = [
    ("batch", targets::batch::run),
    ("frames", targets::frames::run),
    ("record", targets::record::run),
    ("segments", targets::segments::run),
    ("session", targets::session::run),
];

/// The kept inputs of a target, by name.
fn corpus(target: &str) -> Vec<(String, Vec<u8>)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let files = std::fs::read_dir(&directory).unwrap_or_else(|error| panic!("{directory:?}: {error}"));
    let mut inputs: Vec<(String, Vec<u8>)> = files
        .map(|file| {
            let path = file.unwrap().path();
            (path.display().to_string(), std::fs::read(&path).unwrap())
        })
        .collect();
    inputs.sort();
    inputs
}

#[test]
fn every_kept_input_is_taken_without_harm() {
    for (target, run) in TARGETS {
        let inputs = corpus(target);
        assert!(inputs.len() >= 10, "{target} has {} kept inputs", inputs.len());
        for (name, input) in inputs {
            assert!(input.len() <= 16 << 10, "{name} is no small input");
            println!("{name}");
            run(&input);
        }
    }
}

/// What a search begins with has records of each kind.
#[test]
fn every_kind_of_record_is_kept() {
    // Behind the byte that is the target's own and the record's checksums.
    const KIND_AT: usize = 1 + 8;
    let inputs = corpus("record").into_iter().map(|(_, input)| input);
    let kinds: BTreeSet<u8> = inputs.filter_map(|input| input.get(KIND_AT).copied()).collect();
    let missing: Vec<_> =
        RecordKind::ALL.into_iter().filter(|kind| !kinds.contains(&(*kind as u8))).collect();
    assert_eq!(missing, []);
}

/// Kept inputs, changed here and there and put together anew: a short search without a fuzzer.
#[test]
fn inputs_like_the_kept_ones_are_taken_without_harm() {
    for mut rng in seeds("fuzz_targets").into_iter().map(Rng::new) {
        for (target, run) in TARGETS {
            let inputs = corpus(target);
            (0..30).for_each(|_| run_one_like(&inputs, target, run, &mut rng));
        }
    }
}

fn run_one_like(inputs: &[(String, Vec<u8>)], target: &str, run: Target, rng: &mut Rng) {
    let any = |rng: &mut Rng| inputs[rng.below(inputs.len() as u64) as usize].1.clone();
    let (mut input, other) = (any(rng), any(rng));
    input.truncate(rng.below(input.len() as u64 + 1) as usize);
    input.extend_from_slice(&other[rng.below(other.len() as u64 + 1) as usize..]);
    for _ in 0..rng.below(4) {
        let at = rng.below(input.len() as u64 + 1) as usize;
        if let Some(byte) = input.get_mut(at) {
            *byte = rng.number() as u8;
        }
    }
    println!("{target}: {input:?}");
    run(&input);
}
