//! The arguments of `top`, with their help.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

#[derive(Debug, Args)]
pub struct Top {
    /// The data directory of the node.
    #[arg(long, value_name = "DIR")]
    pub dir: PathBuf,
    /// Seconds from one look to the next: 0.1 to 3600.
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = interval)]
    pub interval: Duration,
    /// Prints one screen as text of 80 columns, after two looks, and ends.
    #[arg(long)]
    pub once: bool,
}

fn interval(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().filter(|seconds| (0.1..=3600.0).contains(seconds));
    seconds.map(Duration::from_secs_f64).ok_or_else(|| "it is a number from 0.1 to 3600".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_is_some_seconds() {
        assert_eq!(interval("0.25"), Ok(Duration::from_millis(250)));
        assert_eq!(interval("3600"), Ok(Duration::from_secs(3600)));
        for text in ["0", "0.01", "-1", "NaN", "inf", "1s", "", "3601"] {
            assert!(interval(text).is_err(), "{text}");
        }
    }
}
