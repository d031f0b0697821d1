//! The program as its users run it: real processes, real directories.
// All of this is test code, though not all of it stands in a test function.
#![allow(clippy::unwrap_used)]

#[path = "cli/administering.rs"]
mod administering;
#[path = "cli/inspecting.rs"]
mod inspecting;
#[path = "cli/measuring.rs"]
mod measuring;
#[path = "cli/messages.rs"]
mod messages;
#[path = "cli/program.rs"]
mod program;
#[path = "cli/stores.rs"]
mod stores;
#[path = "cli/verifying.rs"]
mod verifying;

use program::{code, json_lines, run, stderr, stdout};

#[test]
fn the_demo_kills_both_processes_and_loses_nothing() {
    let output = run(&["demo", "--messages", "2000", "--json"]);
    assert_eq!(code(&output), 0, "{output:?}");
    let report = &json_lines(&output)[0];
    let keys: Vec<&str> = report.as_object().unwrap().keys().map(String::as_str).collect();
    let mut expected = [
        "published",
        "handled",
        "lost",
        "republished",
        "redelivered",
        "kills",
        "seconds",
        "messages_per_second",
    ];
    expected.sort_unstable();
    assert_eq!(keys, expected);
    assert_eq!((&report["published"], &report["handled"]), (&2000.into(), &2000.into()));
    assert_eq!((&report["lost"], &report["kills"]), (&0.into(), &2.into()));
    assert!(report["messages_per_second"].as_f64().unwrap() > 0.0);
}

#[test]
fn the_demo_takes_another_input_and_refuses_what_is_none() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("signups");
    std::fs::write(&path, "{\"name\":\"Zoë\"}\n{\"name\":\"Łukasz\",\"email\":\"l@example.com\"}\n").unwrap();
    let output = run(&["demo", "--input", program::text(&path), "--messages", "7", "--json"]);
    assert_eq!(json_lines(&output)[0]["handled"], 7);
    std::fs::write(&path, "{}\nno object\n").unwrap();
    let output = run(&["demo", "--input", program::text(&path)]);
    assert_eq!(code(&output), 2);
    assert!(stderr(&output).contains("line 2"), "{output:?}");
}

#[test]
fn a_demo_that_takes_too_long_fails_and_says_so() {
    // What it keeps for whoever looks into it is kept here.
    let dir = tempfile::tempdir().unwrap();
    let arguments = ["demo", "--messages", "10000000", "--deadline", "1", "--json"];
    let output = program::wait(program::resolute(&arguments).env("TMPDIR", dir.path()).spawn().unwrap());
    assert!(matches!(code(&output), 1 | 6), "{output:?}");
    assert!(stderr(&output).contains("not through after 1 s"), "{output:?}");
}

#[test]
fn help_names_the_exit_codes_and_mistakes_are_usage() {
    for arguments in [&["--help"][..], &["publish", "--help"], &["demo", "--help"]] {
        let output = run(arguments);
        assert_eq!(code(&output), 0);
        assert!(stdout(&output).contains("Exit codes"), "{output:?}");
    }
    for arguments in
        [&["frobnicate"][..], &["status"], &[], &["subscribe", "--dir", "x", "--bind", "y", "--from", "z"]]
    {
        assert_eq!(code(&run(arguments)), 2, "{arguments:?}");
    }
}
