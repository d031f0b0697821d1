//! All that was measured, and the medians of it.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::arguments::SIZES;
use crate::machine::Machine;
use crate::measured::Measured;
use crate::peers::Title;

/// What is measured of a peer in each round.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Figure {
    Publish(usize),
    EndToEnd(usize),
    OneAtATime,
}

pub struct Results {
    pub rounds: u32,
    pub seconds: u64,
    /// Flushes a second before each round.
    pub idle: Vec<f64>,
    /// The disk itself, in each round.
    pub yardsticks: Vec<Yardstick>,
    pub rows: Vec<Row>,
}

/// What the disk does when every write is flushed.
#[derive(Clone, Copy, Debug)]
pub struct Yardstick {
    /// With writes of 1 MiB, two in flight.
    pub bytes_per_second: f64,
    /// Of a write of 4 KiB, one in flight.
    pub p50_us: f64,
}

/// One peer.
pub struct Row {
    pub title: Title,
    pub version: String,
    /// Why there are no figures.
    pub missing: Option<String>,
    figures: BTreeMap<Figure, Vec<Measured>>,
}

impl Row {
    pub fn new(title: &Title, version: String) -> Row {
        Row { title: *title, version, missing: None, figures: BTreeMap::new() }
    }

    pub fn missing(title: &Title, reason: String) -> Row {
        Row { missing: Some(reason), ..Row::new(title, String::new()) }
    }

    pub fn add(&mut self, figure: Figure, measured: Measured) {
        self.figures.entry(figure).or_default().push(measured);
    }

    fn all(&self, figure: Figure) -> &[Measured] {
        self.figures.get(&figure).map_or(&[], Vec::as_slice)
    }

    pub fn per_second(&self, figure: Figure) -> Option<f64> {
        median(self.all(figure).iter().map(Measured::per_second))
    }

    pub fn p50_us(&self) -> Option<f64> {
        median(self.all(Figure::OneAtATime).iter().filter_map(|measured| measured.p50_us))
    }

    pub fn flushes_per_message(&self, figure: Figure) -> Option<f64> {
        median(self.all(figure).iter().filter_map(|measured| measured.flushes_per_message))
    }

    /// The round of the median, or the one nearest to it.
    pub fn middle(&self, figure: Figure) -> Option<&Measured> {
        let middle = self.per_second(figure)?;
        let distance = |measured: &Measured| (measured.per_second() - middle).abs();
        self.all(figure).iter().min_by(|one, other| distance(one).total_cmp(&distance(other)))
    }

    /// Whether it flushed before it acknowledged, in every publishing measurement.
    pub fn is_durable(&self) -> Option<bool> {
        let publishing = SIZES.map(Figure::Publish).into_iter().chain([Figure::OneAtATime]);
        let judged: Option<Vec<bool>> =
            publishing.flat_map(|figure| self.all(figure)).map(Measured::is_durable).collect();
        judged.filter(|judged| !judged.is_empty()).map(|judged| judged.into_iter().all(|durable| durable))
    }
}

/// The middle one; of an even number, the mean of the two in the middle.
pub fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let (low, high) = (values.len().checked_sub(1)? / 2, values.len() / 2);
    Some((values[low] + values[high]) / 2.0)
}

impl Results {
    pub fn new(rounds: u32, seconds: u64) -> Results {
        Results { rounds, seconds, idle: Vec::new(), yardsticks: Vec::new(), rows: Vec::new() }
    }

    /// Every measurement of every round, for whoever doubts a median.
    pub fn json(&self, machine: &Machine) -> Result<String> {
        let measurement = |figure: &Figure, measured: &Measured| {
            let (figure, size) = match figure {
                Figure::Publish(size) => ("publish", *size),
                Figure::EndToEnd(size) => ("end to end", *size),
                Figure::OneAtATime => ("one at a time", SIZES[0]),
            };
            json!({
                "figure": figure,
                "payload_bytes": size,
                "messages": measured.messages,
                "seconds": measured.seconds,
                "messages_per_second": measured.per_second(),
                "p50_us": measured.p50_us,
                "flushes_per_message": measured.flushes_per_message,
                "in_flight": measured.in_flight,
                "how": measured.how,
                "slower": measured.slower,
            })
        };
        let row = |row: &Row| {
            let measurements: Vec<Value> = row
                .figures
                .iter()
                .flat_map(|(figure, all)| all.iter().map(|measured| measurement(figure, measured)))
                .collect();
            json!({
                "peer": row.title.name,
                "version": row.version,
                "setting": row.title.setting,
                "missing": row.missing,
                "measurements": measurements,
            })
        };
        let yardstick = |of: fn(&Yardstick) -> f64| self.yardsticks.iter().map(of).collect::<Vec<_>>();
        let whole = json!({
            "date": machine.date,
            "machine": machine.text,
            "rounds": self.rounds,
            "seconds": self.seconds,
            "idle_flushes_per_second": self.idle,
            "yardstick_bytes_per_second": yardstick(|yardstick| yardstick.bytes_per_second),
            "yardstick_p50_us": yardstick(|yardstick| yardstick.p50_us),
            "peers": self.rows.iter().map(row).collect::<Vec<_>>(),
        });
        Ok(serde_json::to_string_pretty(&whole).context("write the results")? + "\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median([3.0, 1.0, 2.0].into_iter()), Some(2.0));
        assert_eq!(median([4.0, 1.0, 2.0, 3.0].into_iter()), Some(2.5));
        assert_eq!(median(std::iter::empty()), None);
    }
}
