//! resolute: measured by its own program, `resolute bench`, as its users run it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::{Peer, witness};
use crate::device::Device;
use crate::measured::{Load, Measured, Pace};

pub struct Resolute {
    program: PathBuf,
    dir: PathBuf,
    version: String,
}

impl Resolute {
    pub fn new(program: &Path, dir: &Path) -> Result<Resolute> {
        let output = Command::new(program).arg("--version").output().context("run resolute")?;
        let version = String::from_utf8(output.stdout).context("read the version of resolute")?;
        let version = version.trim().trim_start_matches("resolute ").to_owned();
        Ok(Resolute { program: program.to_owned(), dir: dir.to_owned(), version })
    }

    fn bench(&self, what: &str, load: &Load) -> Result<Value> {
        let mut command = Command::new(&self.program);
        command.args(["bench", what, "--json", "--dir"]).arg(&self.dir);
        command.args(["--size", &load.payload.len().to_string()]);
        command.args(["--seconds", &load.time.as_secs().max(1).to_string()]);
        let (publishers, pipeline) = window(load.pace);
        command.args(["--publishers", &publishers.to_string(), "--pipeline", &pipeline.to_string()]);
        let output = command.output().context("run resolute bench")?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "resolute bench {what}: {}", said.trim());
        serde_json::from_slice(&output.stdout).context("read what resolute bench reports")
    }
}

/// Publishers, and what each has on its way: the defaults of `resolute bench`.
fn window(pace: Pace) -> (u64, u64) {
    match pace {
        Pace::Full => (4, 1024),
        Pace::OneAtATime => (1, 1),
    }
}

fn measured(report: &Value, pace: Pace, flushes_per_message: Option<f64>) -> Result<Measured> {
    let number = |name: &str| report[name].as_f64().with_context(|| format!("no `{name}` in the report"));
    let (publishers, pipeline) = window(pace);
    Ok(Measured {
        messages: number("messages")? as u64,
        seconds: number("seconds")?,
        flushes_per_message,
        in_flight: publishers * pipeline,
        p50_us: (pace == Pace::OneAtATime).then(|| number("p50_us")).transpose()?,
        how: format!("{publishers} publishers x {pipeline} in flight"),
        slower: String::new(),
    })
}

impl Peer for Resolute {
    fn version(&self) -> String {
        self.version.clone()
    }

    fn publish(&mut self, load: &Load, device: &Device) -> Result<Measured> {
        let report = self.bench("publish", load)?;
        // The program measures the disk before it publishes, so its flushes cannot be told apart from outside: they are
        // counted while the library does the same in this process.
        let (publishers, pipeline) = window(load.pace);
        let load_of_witness = Load { time: Duration::from_secs(1), ..load.clone() };
        let flushes =
            witness::flushes_per_message(&self.dir, &load_of_witness, publishers, pipeline, device)?;
        measured(&report, load.pace, flushes)
    }

    fn end_to_end(&mut self, load: &Load, _: &Device) -> Result<Option<Measured>> {
        let report = self.bench("deliver", load)?;
        // By its own count of both logs, for the reason above.
        let flushes = report["flushes"].as_f64().zip(report["messages"].as_f64());
        let flushes_per_message = flushes.map(|(flushes, messages)| flushes / messages);
        let mut measured = measured(&report, load.pace, flushes_per_message)?;
        measured.how += ", a handler in another process";
        Ok(Some(measured))
    }
}
