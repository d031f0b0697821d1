//! The course of a run: rounds, each of which measures every peer once.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::arguments::{Arguments, SIZES};
use crate::device::Device;
use crate::measured::{Load, Measured, Pace};
use crate::peers::{self, Peer, TITLES};
use crate::results::{Figure, Results, Row, Yardstick};

/// Between two measurements, so that one does not pay for what the other left behind.
const PAUSE: Duration = Duration::from_millis(500);

/// Measures all, round by round: what drifts meets every peer alike.
pub fn run(arguments: &Arguments, device: &Device) -> Result<Results> {
    let mut device = device.clone();
    let mut results = Results::new(arguments.rounds, arguments.seconds);
    let mut opened: Vec<(Row, Option<Box<dyn Peer>>)> = Vec::new();
    for title in TITLES.iter().filter(|title| arguments.wants(title.key)) {
        match peers::open(title, arguments) {
            Ok(peer) => opened.push((Row::new(title, peer.version()), Some(peer))),
            Err(error) => opened.push((Row::missing(title, format!("{error:#}")), None)),
        }
    }
    for round in 1..=arguments.rounds {
        settle()?;
        results.idle.push(device.measure_idle(Duration::from_secs(1)));
        results.yardsticks.push(yardstick(arguments)?);
        for (row, peer) in &mut opened {
            let Some(peer) = peer else { continue };
            if row.missing.is_some() {
                continue;
            }
            eprintln!("round {round} of {}: {}", arguments.rounds, row.title.name);
            if let Err(error) = measure(peer.as_mut(), row, arguments, &device) {
                // One that fails is told in its row, and the others are measured all the same.
                row.missing = Some(format!("failed: {error:#}"));
                eprintln!("{}: {error:#}", row.title.name);
            }
        }
    }
    results.rows = opened.into_iter().map(|(row, _)| row).collect();
    Ok(results)
}

fn measure(peer: &mut dyn Peer, row: &mut Row, arguments: &Arguments, device: &Device) -> Result<()> {
    let time = Duration::from_secs(arguments.seconds);
    let mut keep = |figure: Figure, measured: Measured| {
        eprintln!("    {figure:?}: {:.0}/s, {}", measured.per_second(), measured.how);
        row.add(figure, measured);
    };
    for size in SIZES {
        let load = Load::new(size, time, Pace::Full);
        settle()?;
        keep(Figure::Publish(size), peer.publish(&load, device)?);
        settle()?;
        if let Some(measured) = peer.end_to_end(&load, device)? {
            keep(Figure::EndToEnd(size), measured);
        }
    }
    settle()?;
    let load = Load::new(SIZES[0], time, Pace::OneAtATime);
    keep(Figure::OneAtATime, peer.publish(&load, device)?);
    Ok(())
}

/// Writes out what is still in memory, whoever left it there.
fn settle() -> Result<()> {
    let status = Command::new("sync").status().context("run sync")?;
    ensure!(status.success(), "sync failed");
    std::thread::sleep(PAUSE);
    Ok(())
}

/// The disk itself in this round.
fn yardstick(arguments: &Arguments) -> Result<Yardstick> {
    Ok(Yardstick {
        bytes_per_second: device(arguments, 1 << 20, 2, "bytes_per_second")?,
        p50_us: device(arguments, 4 << 10, 1, "p50_us")?,
    })
}

/// One number of what `resolute bench device` reports of one size and depth.
fn device(arguments: &Arguments, size: u32, depth: u32, name: &str) -> Result<f64> {
    let mut command = Command::new(&arguments.resolute);
    command.args(["bench", "device", "--json", "--seconds", "3", "--size", &size.to_string(), "--dir"]);
    let output = command.arg(&arguments.dir).output().context("run resolute bench device")?;
    ensure!(output.status.success(), "resolute bench device: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8_lossy(&output.stdout);
    let mut lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let line = lines.find(|line| line["depth"] == depth).context("a depth is not in the report")?;
    line[name].as_f64().with_context(|| format!("no `{name}` in the report"))
}
