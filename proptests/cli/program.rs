//! Running the program.

use std::io::Write;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// The longest that anything here may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// The program with those arguments, not yet started.
pub fn resolute(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_resolute"));
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs the program to its end.
pub fn run(arguments: &[&str]) -> Output {
    wait(resolute(arguments).spawn().unwrap())
}

/// Runs the program with that standard input.
pub fn run_with_input(arguments: &[&str], input: &[u8]) -> Output {
    let mut child = resolute(arguments).stdin(Stdio::piped()).spawn().unwrap();
    // What is written fits the pipe, or the program has ended and does not want it.
    child.stdin.take().unwrap().write_all(input).unwrap();
    wait(child)
}

/// Waits for a process, but not for ever.
pub fn wait(mut child: Child) -> Output {
    let since = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if since.elapsed() > PATIENCE {
            child.kill().unwrap();
            panic!("the program did not end: {:?}", child.wait_with_output());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    child.wait_with_output().unwrap()
}

/// Waits until something is so.
pub fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let since = Instant::now();
    while !is_so() {
        assert!(since.elapsed() < PATIENCE, "waited too long: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

pub fn code(output: &Output) -> i32 {
    output.status.code().unwrap_or_else(|| panic!("{output:?}"))
}

pub fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// The lines of JSON that a command wrote.
pub fn json_lines(output: &Output) -> Vec<Value> {
    assert_eq!(code(output), 0, "{output:?}");
    parsed_lines(output)
}

/// As [`json_lines`], also of a command that failed.
pub fn parsed_lines(output: &Output) -> Vec<Value> {
    stdout(output).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// An address of this machine that is free now.
pub fn free_address() -> String {
    format!("tcp://{}", TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap())
}

pub fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
