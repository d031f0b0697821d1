//! What a run is asked to be.

use super::driver::Form;
use super::own_main;

const USAGE: &str = "see scripts/torture --help";

/// The form of the normal test run.
fn short(seed: u64) -> Form {
    let (kills, messages) = (16, 100_000);
    Form { seed, kills, messages, minutes: 3, ends_by_time: false, on_loopback: false, is_long: false }
}

/// What is wanted: `None` if the test runner wants other tests.
pub fn from(arguments: impl Iterator<Item = String>) -> Result<Option<Vec<Form>>, String> {
    let arguments: Vec<String> = arguments.collect();
    let asked_for = own_main::number("RESOLUTE_SEED")?;
    let by_the_clock = || std::time::UNIX_EPOCH.elapsed().map_or(1, |since| since.as_micros() as u64);
    let seed = asked_for.unwrap_or_else(by_the_clock);
    match arguments.split_first() {
        Some((first, rest)) if first == "run" => Ok(Some(vec![long(rest, seed)?])),
        _ => {
            // The doors are tried out too where nobody needs them, with faults that are the same each time.
            let doors =
                Form { kills: 5, messages: 20_000, on_loopback: true, ..short(asked_for.unwrap_or(1)) };
            let is_wanted = own_main::is_wanted("torture", arguments);
            Ok(is_wanted.then(|| vec![short(seed), doors]))
        }
    }
}

fn long(arguments: &[String], seed: u64) -> Result<Form, String> {
    let (kills, messages, minutes) = (200, 10_000_000, 120);
    let long =
        Form { seed, kills, messages, minutes, ends_by_time: false, on_loopback: false, is_long: true };
    // What else is asked for counts, wherever it stands.
    let mut form = if arguments.iter().any(|option| option == "--short") { short(seed) } else { long };
    let mut arguments = arguments.iter();
    while let Some(option) = arguments.next() {
        match option.as_str() {
            "--loopback" => form.on_loopback = true,
            "--short" => {}
            _ => {
                let value = arguments.next().ok_or(USAGE)?;
                let value = value.parse().map_err(|_| format!("{option} {value}: {USAGE}"))?;
                match option.as_str() {
                    "--kills" => form.kills = value,
                    "--messages" => form.messages = value,
                    "--minutes" => (form.minutes, form.ends_by_time) = (value, true),
                    "--seed" => form.seed = value,
                    _ => return Err(USAGE.to_owned()),
                }
            }
        }
    }
    Ok(form)
}
