//! What tests with real nodes stand on: time limits, nodes, and handlers that remember.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use resolute::{Administrator, Builder, Bus, Envelope, Status};

/// The outcome of `future`, which must come soon.
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(Duration::from_secs(30), future).await {
        Ok(value) => value,
        Err(_) => panic!("waited too long: {what}"),
    }
}

/// Opens a node.
pub async fn open(builder: Builder) -> Bus {
    within("open", builder.open()).await.unwrap()
}

/// A node that is nothing special.
pub async fn plain(directory: impl AsRef<Path>) -> Bus {
    open(Bus::builder(directory.as_ref())).await
}

/// A builder with small segments, at an address that it can be found at again.
pub fn builder(directory: impl AsRef<Path>, port: u16) -> Builder {
    Bus::builder(directory.as_ref()).bind(format!("tcp://127.0.0.1:{port}")).segment_bytes(8 << 20)
}

/// A port that nobody uses, and no other test either. Below those that the system gives to connections: one of them could be there when a node comes back.
pub fn free_port() -> u16 {
    let start = (std::process::id() * 61 % 10_000) as u16;
    let ports = (0..10_000).map(|offset| 10_000 + (start + offset) % 10_000);
    static TAKEN: std::sync::Mutex<Vec<u16>> = std::sync::Mutex::new(Vec::new());
    let mut taken = TAKEN.lock().unwrap();
    let is_free =
        |port: &u16| !taken.contains(port) && std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok();
    let port = ports.into_iter().find(is_free).expect("no port is free");
    taken.push(port);
    port
}

pub async fn close(bus: &Bus) {
    within("close", bus.close()).await.unwrap();
}

pub async fn status(bus: &Bus) -> Status {
    within("status", bus.status()).await.unwrap()
}

/// Subscribes, and waits until the publisher knows it.
pub async fn subscribe(bus: &Bus, address: &str, topic: &str) {
    let subscription = within("subscribe", bus.subscribe(address, topic)).await.unwrap();
    within("confirmed", subscription.confirmed()).await.unwrap();
}

/// The seed of a test's choices: `RESOLUTE_SEED`, or one that no run had before. It is said also where the test passes, for
/// which the harness keeps to itself what is printed.
pub fn seed(test: &str) -> u64 {
    let given = std::env::var("RESOLUTE_SEED").ok();
    let seed = given.map_or_else(
        || std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64,
        |text| text.parse().expect("RESOLUTE_SEED is a number"),
    );
    let mut said = std::io::stderr();
    writeln!(said, "{test}: RESOLUTE_SEED={seed}").unwrap();
    seed
}

/// The seeds of a test that goes through its choices more than once: one that is the same each time, and a new one. With
/// `RESOLUTE_SEED`, that one alone.
pub fn seeds(test: &str) -> Vec<u64> {
    let fresh = seed(test);
    if std::env::var_os("RESOLUTE_SEED").is_some() { vec![fresh] } else { vec![1, fresh] }
}

/// Waits until it is so.
pub async fn until(what: &str, mut so: impl AsyncFnMut() -> bool) {
    within(what, async {
        while !so().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}

/// Changes something, on a thread that may wait.
pub async fn by_hand<T: Send + 'static>(
    directory: &Path,
    change: impl FnOnce(&Administrator) -> T + Send + 'static,
) -> T {
    let directory: PathBuf = directory.to_owned();
    let done = tokio::task::spawn_blocking(move || change(&Administrator::open(&directory).unwrap()));
    done.await.unwrap()
}

/// Waits until nothing is left to do.
pub async fn drained(bus: &Bus) {
    let left = within("drain", bus.drain(Duration::from_secs(20))).await.unwrap();
    assert!(left.is_empty(), "{left:?}\n{:?}", status(bus).await);
}

/// What handlers were called with, in order.
#[derive(Clone, Default)]
pub struct Seen(Arc<Mutex<Vec<String>>>);

impl Seen {
    /// Remembers a payload.
    pub fn note(&self, envelope: &Envelope) {
        self.push(String::from_utf8_lossy(envelope.payload()).into_owned());
    }

    pub fn push(&self, text: impl Into<String>) {
        self.0.lock().unwrap().push(text.into());
    }

    pub fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }

    pub fn count(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    /// A handler that remembers, and succeeds.
    pub fn handler(
        &self,
    ) -> impl Fn(Envelope) -> std::future::Ready<Result<(), String>> + Send + Sync + 'static {
        let seen = self.clone();
        move |envelope: Envelope| {
            seen.note(&envelope);
            std::future::ready(Ok(()))
        }
    }

    /// Waits until so many were seen.
    pub async fn reaches(&self, count: usize) {
        until(&format!("{count} calls of a handler"), async || self.count() >= count).await;
    }
}

/// The chain of an error, in one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}

/// Bytes of memory that the process has in use, as the kernel counts them.
pub fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
}

/// Whether this is a process of its own for the test called `name`, made so if it is not: what a process has in all, or
/// may use in all, cannot be looked at while other tests run in it.
pub fn alone(name: &str) -> bool {
    const ALONE: &str = "RESOLUTE_TEST_ALONE";
    if std::env::var(ALONE).is_ok_and(|alone| alone == name) {
        return true;
    }
    let program = std::env::current_exe().unwrap();
    let arguments = ["--exact", name, "--nocapture", "--test-threads=1"];
    let output = Command::new(program).args(arguments).env(ALONE, name).output().unwrap();
    let told =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && told.contains("1 passed"), "in a process of its own:\n{told}");
    told.lines().filter(|line| line.contains("measured")).for_each(|line| println!("{line}"));
    // Seeds are shown also where a test passes.
    let mut said = std::io::stderr();
    for line in told.lines().filter(|line| line.contains("RESOLUTE_SEED=")) {
        writeln!(said, "{line}").unwrap();
    }
    false
}
