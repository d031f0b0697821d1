//! The program as its users run it: real processes, real directories.
// All of this is test code, though not all of it stands in a test function.
#![allow(clippy::unwrap_used)]

#[path = "cli/administering.rs"]
mod administering;
#[path = "cli/backing_up.rs"]
mod backing_up;
#[path = "cli/configuring.rs"]
mod configuring;
#[path = "cli/deciding.rs"]
mod deciding;
#[path = "cli/inspecting.rs"]
mod inspecting;
#[path = "cli/legacy.rs"]
mod legacy;
#[path = "cli/measuring.rs"]
mod measuring;
#[path = "cli/messages.rs"]
mod messages;
#[path = "cli/moving.rs"]
mod moving;
#[path = "cli/program.rs"]
mod program;
#[path = "cli/repairing.rs"]
mod repairing;
#[path = "cli/restoring.rs"]
mod restoring;
#[path = "cli/rewriting.rs"]
mod rewriting;
#[path = "cli/scene.rs"]
mod scene;
#[path = "cli/stores.rs"]
mod stores;
#[path = "cli/verifying.rs"]
mod verifying;
#[path = "cli/watching.rs"]
mod watching;

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

#[test]
fn shells_complete_the_commands_that_people_give_and_each_has_a_page() {
    let dir = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish"] {
        let script = stdout(&run(&["completions", shell]));
        assert!(script.contains("dead-letters") && script.contains("older-than"), "{shell}");
        assert!(!script.contains("demo-web") && !script.contains("bench-receiver"), "{shell}");
    }
    let script = dir.path().join("resolute.bash");
    std::fs::write(&script, stdout(&run(&["completions", "bash"]))).unwrap();
    // What bash itself makes of it.
    let asked = "source \"$0\"; COMP_WORDS=(resolute dea); COMP_CWORD=1; _resolute resolute dea resolute; echo \"${COMPREPLY[@]}\"";
    let bash = std::process::Command::new("bash").args(["-c", asked]).arg(&script).output().unwrap();
    assert_eq!(stdout(&bash).trim(), "dead-letters", "{bash:?}");
    assert_eq!(code(&run(&["completions", "tcsh"])), 2);
    let pages = dir.path().join("pages");
    assert_eq!(code(&run(&["man", "--out", program::text(&pages)])), 1, "it makes no directory");
    std::fs::create_dir(&pages).unwrap();
    assert_eq!(code(&run(&["man", "--out", program::text(&pages)])), 0);
    let page = |name: &str| std::fs::read_to_string(pages.join(name)).unwrap();
    assert_eq!(page("resolute.1").trim(), stdout(&run(&["man"])).trim());
    assert!(page("resolute.1").contains("resolute\\-verify(1)") && page("resolute.1").contains("Exit codes"));
    assert!(page("resolute-map-set.1").contains(".TH") && page("resolute-publish.1").contains("deadline"));
    assert!(!pages.join("resolute-demo-web.1").exists());
}

#[test]
fn a_doctor_looks_at_the_machine_and_at_the_disk_and_says_what_helps() {
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("node").join("below");
    let health = |output: &std::process::Output| -> std::collections::BTreeMap<String, String> {
        let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
        program::parsed_lines(output)
            .iter()
            .map(|line| (text(&line["check"]), text(&line["health"])))
            .collect()
    };
    let output = run(&["doctor", "--dir", program::text(&missing), "--json"]);
    let found = health(&output);
    let names: Vec<&str> = found.keys().map(String::as_str).collect();
    let expected = [
        "O_DIRECT",
        "clock",
        "file system",
        "free space",
        "io_uring",
        "kernel",
        "locked memory",
        "open files",
        "write cache",
    ];
    assert_eq!(names, expected, "{output:?}");
    assert_eq!(code(&output), i32::from(found.values().any(|health| health == "bad")), "{output:?}");
    assert_eq!(found["io_uring"], "good");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "it leaves nothing");
    // Memory is no disk, wherever it is to be had.
    if std::path::Path::new("/dev/shm").is_dir() {
        let output = run(&["doctor", "--dir", "/dev/shm", "--json"]);
        assert_eq!((code(&output), health(&output)["file system"].as_str()), (1, "bad"), "{output:?}");
    }
    let limited = "ulimit -n 100; exec \"$0\" doctor --dir \"$1\"";
    let mut limited_run = std::process::Command::new("bash");
    limited_run.args(["-c", limited, env!("CARGO_BIN_EXE_resolute"), program::text(dir.path())]);
    let output = limited_run.output().unwrap();
    assert!(stdout(&output).contains("raise `ulimit -n`"), "{output:?}");
}
