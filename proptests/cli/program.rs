//! Running the program.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::JoinHandle;
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
    // Read meanwhile: a program that writes more than the pipes hold would wait for us.
    let (stdout, stderr) = (read(child.stdout.take()), read(child.stderr.take()));
    let since = Instant::now();
    let mut is_late = false;
    while child.try_wait().unwrap().is_none() {
        if since.elapsed() > PATIENCE {
            child.kill().unwrap();
            is_late = true;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let status = child.wait().unwrap();
    let output = Output { status, stdout: stdout.join().unwrap(), stderr: stderr.join().unwrap() };
    assert!(!is_late, "the program did not end: {}", stderr_and_length(&output));
    output
}

/// All that comes, on a thread of its own.
fn read(stream: Option<impl Read + Send + 'static>) -> JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut stream) = stream {
            stream.read_to_end(&mut bytes).unwrap();
        }
        bytes
    })
}

fn stderr_and_length(output: &Output) -> String {
    format!("{} bytes were written, and {:?}", output.stdout.len(), stderr(output))
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

/// An address of this machine that nobody uses, and no other test either. Its port lies below those that the system gives to
/// whoever does not care: a node of another test could be there first, and be taken for the one that is meant.
pub fn free_address() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let is_free = |port: &u32| TcpListener::bind(("127.0.0.1", *port as u16)).is_ok();
    let ports = || 10_000 + (std::process::id() * 61 + NEXT.fetch_add(1, Ordering::Relaxed)) % 20_000;
    let port = std::iter::repeat_with(ports).take(20_000).find(is_free).expect("no port is free");
    format!("tcp://127.0.0.1:{port}")
}

pub fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
