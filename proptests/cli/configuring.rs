//! Settings from a file, from the environment and from flags.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use crate::program::{code, json_lines, parsed_lines, resolute, run, stderr, stdout, text, wait};

/// The program in a directory, with variables.
fn run_in(dir: &Path, variables: &[(&str, &str)], arguments: &[&str]) -> Output {
    let mut command: Command = resolute(arguments);
    command.current_dir(dir).envs(variables.iter().copied());
    wait(command.spawn().unwrap())
}

fn shown(output: &Output, key: &str) -> (Value, String) {
    let lines = json_lines(output);
    let line = lines.iter().find(|line| line["setting"] == key).unwrap();
    (line["value"].clone(), line["from"].as_str().unwrap().to_owned())
}

#[test]
fn a_flag_wins_over_the_environment_and_that_over_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let dir = directory.path();
    std::fs::write(
        dir.join("resolute.toml"),
        "dir = \"a\"\nbind = \"tcp://127.0.0.1:0\"\nname = \"file\"\nsegment_bytes = 8_388_608\n",
    )
    .unwrap();
    let show = ["config", "show", "--json"];
    let output = run_in(dir, &[], &show);
    let from = |what: &str, value: &str| (Value::from(value), what.to_owned());
    assert_eq!(shown(&output, "name"), from("file", "file"));
    assert_eq!(shown(&output, "segment_bytes"), (8_388_608.into(), "file".to_owned()));
    assert_eq!(shown(&output, "inbox_bytes"), (Value::Null, "default".to_owned()));
    assert_eq!(json_lines(&output)[3]["where"], "resolute.toml:3");
    let variables = [("RESOLUTE_NAME", "environment"), ("RESOLUTE_DIR", "")];
    let output = run_in(dir, &variables, &show);
    assert_eq!(shown(&output, "name"), from("environment", "environment"));
    assert_eq!(shown(&output, "dir"), from("file", "a"), "a variable that is empty counts for nothing");
    let output = run_in(dir, &variables, &[&show[..], &["--name", "flag"]].concat());
    assert_eq!(shown(&output, "name"), from("flag", "flag"));
    assert!(stdout(&run_in(dir, &[], &["config", "show"])).contains("resolute.toml:1"));
    // A node is opened with all that, and found again, without a word on the command line.
    let published = run_in(dir, &variables, &["publish", "--subscribers", "0", "topic", "data"]);
    assert_eq!(code(&published), 0, "{published:?}");
    let status = run_in(dir, &[], &["status", "--json"]);
    assert_eq!(json_lines(&status)[0]["name"], "environment");
    assert_eq!(json_lines(&status)[0]["log_bytes"], 8_388_608);
    assert!(dir.join("a").is_dir());
    assert_eq!(code(&run_in(dir, &[], &["status", "--dir", "elsewhere"])), 3, "the flag wins");
}

#[test]
fn the_file_is_the_one_that_is_named_and_its_directory_begins_where_it_lies() {
    let directory = tempfile::tempdir().unwrap();
    let dir = directory.path();
    std::fs::create_dir(dir.join("etc")).unwrap();
    std::fs::write(dir.join("resolute.toml"), "name = 'here'").unwrap();
    std::fs::write(dir.join("etc/other.toml"), "name = 'other'\ndir = 'data'").unwrap();
    std::fs::write(dir.join("third.toml"), "name = 'third'").unwrap();
    let name = |output: Output| shown(&output, "name").0;
    let variable = [("RESOLUTE_CONFIG", "third.toml")];
    assert_eq!(name(run_in(dir, &[], &["config", "show", "--json"])), "here");
    assert_eq!(name(run_in(dir, &variable, &["config", "show", "--json"])), "third");
    let output = run_in(dir, &variable, &["config", "show", "--json", "--config", "etc/other.toml"]);
    assert_eq!(shown(&output, "dir").0, "etc/data");
    assert_eq!(name(output), "other");
    let missing = run_in(dir, &[], &["status", "--config", "none.toml"]);
    assert_eq!(code(&missing), 2);
    assert!(stderr(&missing).contains("none.toml: cannot be read"), "{missing:?}");
    // What it writes is a file that says the same.
    let written = stdout(&run_in(
        dir,
        &[],
        &["--config", "etc/other.toml", "config", "show", "--toml", "--inbox-bytes", "5000000"],
    ));
    std::fs::write(dir.join("written.toml"), &written).unwrap();
    let again = run_in(dir, &[], &["config", "show", "--json", "--config", "written.toml"]);
    assert_eq!(shown(&again, "dir").0, text(&dir.join("etc/data")));
    assert_eq!(shown(&again, "inbox_bytes").0, 5_000_000);
    assert_eq!(code(&run_in(dir, &[], &["config", "check", "--config", "written.toml"])), 0, "{written}");
}

#[test]
fn what_cannot_be_is_refused_all_of_it_by_every_command_about_a_node() {
    let directory = tempfile::tempdir().unwrap();
    let dir = directory.path();
    assert_eq!(code(&run_in(dir, &[("RESOLUTE_SEED", "7")], &["config", "check"])), 0);
    std::fs::write(dir.join("resolute.toml"), "dri = 'a'\nsegment_bytes = 'many'\ninbox_bytes = 1\n")
        .unwrap();
    let variables =
        [("RESOLUTE_BNID", "tcp://127.0.0.1:0"), ("RESOLUTE_ADVERTISE", "nonsense"), ("RESOLUTE_SEED", "7")];
    let check = run_in(dir, &variables, &["config", "check", "--json"]);
    assert_eq!(code(&check), 2, "{check:?}");
    let wrong: Vec<(String, String)> = parsed_lines(&check)
        .iter()
        .map(|line| ["where", "problem"].map(|key| line[key].as_str().unwrap().to_owned()).into())
        .collect();
    let has = |place: &str, words: &str| wrong.iter().any(|(at, text)| at == place && text.contains(words));
    assert_eq!(wrong.len(), 5, "{wrong:?}");
    assert!(has("resolute.toml:1", "did you mean `dir`?"), "{wrong:?}");
    assert!(has("resolute.toml:2", "invalid type"), "{wrong:?}");
    assert!(has("resolute.toml:3", "inbox_bytes"), "{wrong:?}");
    assert!(has("RESOLUTE_BNID", "did you mean RESOLUTE_BIND?"), "{wrong:?}");
    assert!(has("RESOLUTE_ADVERTISE", "is not an address"), "{wrong:?}");
    for arguments in
        [&["status", "--dir", "a"][..], &["config", "show"], &["send", "--to", "tcp://h:1", "t", "d"]]
    {
        let output = run_in(dir, &variables, arguments);
        assert_eq!(code(&output), 2, "{output:?}");
        assert!(stderr(&output).contains("5 settings cannot be"), "{output:?}");
    }
    // What is about no node, and help, is none of their business.
    assert_eq!(code(&run_in(dir, &variables, &["publish", "--help"])), 0);
    assert_eq!(code(&run_in(dir, &variables, &["completions", "bash"])), 0);
    assert_eq!(
        code(&run(&["publish", "--dir", "x", "topic", "data"])),
        2,
        "where it listens must be said somewhere"
    );
}
