//! What the processes do.

use std::fs::File;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use resolute::{Bus, Envelope};

use super::journal;

/// Names of the environment by which a child knows what it is.
pub const ROLE: &str = "RESOLUTE_KILL_ROLE";
pub const DIRECTORY: &str = "RESOLUTE_KILL_DIRECTORY";
pub const PORT: &str = "RESOLUTE_KILL_PORT";
pub const PEER: &str = "RESOLUTE_KILL_PEER";
pub const LIFE: &str = "RESOLUTE_KILL_LIFE";

const TOPIC: &str = "tick";

/// Nobody handles it: its messages are parked, and stay.
const UNHANDLED: &str = "tock";

/// Nobody is there: what is sent to it stays.
const ABSENT: &str = "tcp://127.0.0.1:9";

/// Numbers of one life of the publisher; the next life's are higher.
const NUMBERS_PER_LIFE: u64 = 10_000_000;

type Outcome = Result<(), Box<dyn std::error::Error>>;

/// What this process is, if it is a child.
pub fn role() -> Option<String> {
    std::env::var(ROLE).ok()
}

fn variable(name: &str) -> String {
    std::env::var(name).unwrap()
}

/// Runs a child to its end.
pub fn run(role: &str) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let outcome = runtime
        .block_on(async { if role == "publisher" { publish(role).await } else { subscribe(role).await } });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let mut cause = Some(&*error);
            while let Some(of) = cause {
                eprintln!("life {}: {of}", variable(LIFE));
                cause = of.source();
            }
            ExitCode::FAILURE
        }
    }
}

/// Resolves when the parent says that this is the end.
async fn told_to_finish() {
    let wait = || std::io::stdin().read_line(&mut String::new());
    tokio::task::spawn_blocking(wait).await.unwrap().unwrap();
}

fn builder(role: &str) -> resolute::Builder {
    let directory = PathBuf::from(variable(DIRECTORY)).join(role);
    // Small segments: the log rolls, is freed and recycled while all this goes on.
    Bus::builder(directory).bind(format!("tcp://127.0.0.1:{}", variable(PORT))).segment_bytes(8 << 20)
}

async fn publish(role: &str) -> Outcome {
    let bus = builder(role).open().await?;
    let life: u64 = variable(LIFE).parse()?;
    let journal = journal::append(&journal::path(variable(DIRECTORY).as_ref(), role));
    let mut finish = Box::pin(told_to_finish());
    let ready = bus.subscribers(TOPIC, super::victims::SUBSCRIBERS.len());
    let mut over = tokio::select! {
        ready = ready => ready.map(|()| false)?,
        () = &mut finish => true,
    };
    if !over {
        // What stays is carried forward again and again, while the log around it is freed.
        bus.publish(UNHANDLED, "stays").await?;
        journal::write(
            &journal::append(&journal::path(variable(DIRECTORY).as_ref(), "unhandled")),
            &life.to_string(),
        );
        bus.send(ABSENT, TOPIC, "stays").await?;
        journal::write(
            &journal::append(&journal::path(variable(DIRECTORY).as_ref(), "absent")),
            &life.to_string(),
        );
    }
    let mut number = life * NUMBERS_PER_LIFE;
    while !over {
        let first = number;
        let mut tickets = Vec::new();
        // Groups of all sizes, and messages too: from nearly nothing to more than one block.
        for _ in 0..1 + number % 331 {
            number += 1;
            let padding = vec![b'.'; (number * 7919 % 1801) as usize];
            let payload = [number.to_string().as_bytes(), b" ", &padding].concat();
            tickets.push(bus.publish_nowait(TOPIC, payload).await?);
        }
        let mut entries = String::new();
        for (ticket, number) in tickets.into_iter().zip(first + 1..) {
            let receipt = ticket.wait().await?;
            let id = receipt.id.ok_or("nobody is subscribed any more")?;
            entries.push_str(&journal::entry(&format!("{number} {id}")));
        }
        std::io::Write::write_all(&mut &journal, entries.as_bytes())?;
        over = tokio::time::timeout(Duration::from_millis(30), &mut finish).await.is_ok();
    }
    let began = std::time::Instant::now();
    loop {
        let status = bus.status().await?;
        let owed = |absent: bool| {
            let of = status.destinations.iter().filter(|to| (to.address == ABSENT) == absent);
            of.map(|to| to.owed).sum::<u64>()
        };
        if owed(false) == 0 {
            must_have_stayed("absent", owed(true), life)?;
            break;
        }
        if began.elapsed() > Duration::from_secs(60) {
            return Err(format!("not all could be sent: {status:?}").into());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(bus.close().await?)
}

/// That all that was written down in a journal is still there; a little more may be, as there are lives.
fn must_have_stayed(name: &str, found: u64, lives: u64) -> Outcome {
    let written = journal::count(&journal::path(variable(DIRECTORY).as_ref(), name));
    if (written..=lives).contains(&found) {
        return Ok(());
    }
    Err(format!("of what is {name}, {found} are there, and {written} were acknowledged in {lives} lives")
        .into())
}

async fn subscribe(role: &str) -> Outcome {
    let journal: Arc<File> = Arc::new(journal::append(&journal::path(variable(DIRECTORY).as_ref(), role)));
    let life = variable(LIFE);
    let bus = builder(role).concurrency(1).every(TOPIC, move |message: Envelope| {
        let text = String::from_utf8_lossy(message.payload()).into_owned();
        let number = text.split(' ').next().unwrap_or_default().to_owned();
        journal::write(&journal, &format!("{life} {number} {}", message.id()));
        async { Ok::<(), String>(()) }
    });
    let bus = bus.open().await?;
    let mut serving = Box::pin(bus.serve());
    bus.subscribe(&variable(PEER), [UNHANDLED, TOPIC]).await?;
    tokio::select! {
        outcome = &mut serving => return Err(format!("the node ended by itself: {outcome:?}").into()),
        () = told_to_finish() => {}
    }
    let drained = async { bus.drain(Duration::from_secs(60)).await };
    let left = tokio::select! {
        outcome = &mut serving => return Err(format!("the node ended by itself: {outcome:?}").into()),
        left = drained => left?,
    };
    let status = bus.status().await?;
    if !left.is_empty() || status.dead_letters > 0 {
        return Err(format!("not all could be handled: {left:?}\n{status:?}").into());
    }
    // The lives of the publisher are not known here.
    must_have_stayed("unhandled", status.parked, u64::MAX)?;
    Ok(bus.close().await?)
}
