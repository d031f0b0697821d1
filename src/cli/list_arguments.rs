//! What may be asked of a list, with the help of each.

use std::time::Duration;

use clap::Args;

use super::arguments::Inspect;
use crate::bus::inspect::Filter;
use crate::ids::MessageId;

/// A list of messages.
#[derive(Debug, Args)]
pub struct ListArguments {
    #[command(flatten)]
    pub of: Inspect,
    /// Only messages of this topic; more than once for any of several.
    #[arg(long = "topic", value_name = "TOPIC")]
    pub topics: Vec<String>,
    /// Only the message of this id; more than once for any of several.
    #[arg(long = "id", value_name = "ID")]
    pub ids: Vec<MessageId>,
    /// Only messages that were published longer ago than that, by their publisher's clock: 90s, 15m, 12h or 7d.
    #[arg(long, value_name = "AGE", value_parser = age)]
    pub older_than: Option<Duration>,
    /// At most so many messages, from the beginning of the list.
    #[arg(long, value_name = "N")]
    pub limit: Option<u64>,
}

impl ListArguments {
    /// What of it concerns single messages.
    pub fn filter(&self) -> Filter {
        let mut filter = Filter::default();
        filter.topics.clone_from(&self.topics);
        filter.ids.clone_from(&self.ids);
        if let Some(age) = self.older_than {
            filter.older_than(age);
        }
        filter
    }
}

/// The list of what is owed.
#[derive(Debug, Args)]
pub struct OutgoingArguments {
    #[command(flatten)]
    pub list: ListArguments,
    /// Only what is owed to this destination, given by its address or its node id; more than once for any of several.
    #[arg(long = "to", value_name = "DESTINATION")]
    pub destinations: Vec<String>,
}

/// The list of those who subscribed.
#[derive(Debug, Args)]
pub struct SubscriberArguments {
    #[command(flatten)]
    pub of: Inspect,
    /// Only subscriptions to this topic; more than once for any of several.
    #[arg(long = "topic", value_name = "TOPIC")]
    pub topics: Vec<String>,
    /// At most so many.
    #[arg(long, value_name = "N")]
    pub limit: Option<usize>,
}

/// A number and its unit.
pub fn age(text: &str) -> Result<Duration, String> {
    let units = [("s", 1), ("m", 60), ("h", 3600), ("d", 86_400)];
    let found = units.iter().find_map(|(unit, seconds)| Some((text.strip_suffix(unit)?, *seconds)));
    let seconds = found.and_then(|(number, unit)| number.parse::<u64>().ok()?.checked_mul(unit));
    seconds
        .map(Duration::from_secs)
        .ok_or_else(|| "an age is a whole number and s, m, h or d, such as 15m".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_has_a_unit() {
        let seconds = |text| age(text).map(|age| age.as_secs());
        assert_eq!(
            [seconds("90s"), seconds("15m"), seconds("2h"), seconds("1d")].map(Result::unwrap),
            [90, 900, 7200, 86_400]
        );
        for text in ["", "15", "m", "-1m", "1.5h", "1w", "99999999999999999999s"] {
            assert!(age(text).is_err(), "{text}");
        }
    }
}
