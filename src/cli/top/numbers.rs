//! Numbers in few characters: three digits and a unit, whatever their size.

use std::time::Duration;

/// A count, in at most 6 characters.
pub fn count(number: u64) -> String {
    if number < 10_000 {
        number.to_string()
    } else {
        scaled(number as f64, 1000.0, &["", "k", "M", "G", "T", "P", "E"])
    }
}

/// How many a second, in at most 8 characters; a dash if it is not known.
pub fn rate(per_second: Option<f64>) -> String {
    match per_second {
        None => "-".to_owned(),
        Some(rate) if rate > 0.0 && rate < 10.0 => format!("{rate:.1}/s"),
        Some(rate) => format!("{}/s", count(rate.round() as u64)),
    }
}

/// Bytes, in at most 8 characters.
pub fn bytes(number: u64) -> String {
    if number < 1024 {
        return format!("{number} B");
    }
    scaled(number as f64, 1024.0, &["", " KiB", " MiB", " GiB", " TiB", " PiB", " EiB"])
}

/// Bytes a second, in at most 10 characters; a dash if it is not known.
pub fn byte_rate(per_second: Option<f64>) -> String {
    per_second.map_or_else(|| "-".to_owned(), |rate| format!("{}/s", bytes(rate.round() as u64)))
}

/// A length of time, in at most 8 characters.
pub fn time(length: Duration) -> String {
    let (nanoseconds, seconds) = (length.as_nanos(), length.as_secs());
    match seconds {
        0 if nanoseconds < 1_000_000 => format!("{} µs", nanoseconds.div_ceil(1000)),
        0 => format!("{} ms", three_digits(nanoseconds as f64 / 1e6)),
        1..60 => format!("{} s", three_digits(length.as_secs_f64())),
        60..3600 => format!("{}m {}s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{}h {}m", seconds / 3600, seconds / 60 % 60),
        _ if seconds < 100 * 86_400 => format!("{}d {}h", seconds / 86_400, seconds / 3600 % 24),
        _ => format!("{}d", (seconds / 86_400).min(9_999_999)),
    }
}

fn scaled(number: f64, step: f64, units: &[&str]) -> String {
    let (mut number, mut unit) = (number, 0);
    // What would be rounded up to a thousand is one of the next unit.
    while number >= 999.5 && unit + 1 < units.len() {
        (number, unit) = (number / step, unit + 1);
    }
    format!("{}{}", three_digits(number), units[unit])
}

fn three_digits(number: f64) -> String {
    match number {
        ..9.995 => format!("{number:.2}"),
        ..99.95 => format!("{number:.1}"),
        _ => format!("{number:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_digits_say_how_much_it_is() {
        let counts = [0, 9999, 10_000, 12_345, 999_499, 999_500, 1_234_567, u64::MAX].map(count);
        assert_eq!(counts, ["0", "9999", "10.0k", "12.3k", "999k", "1.00M", "1.23M", "18.4E"]);
        let sizes = [0, 1023, 1024, 1 << 20, (1 << 20) - 1, 12 << 30, u64::MAX].map(bytes);
        assert_eq!(sizes, ["0 B", "1023 B", "1.00 KiB", "1.00 MiB", "1.00 MiB", "12.0 GiB", "16.0 EiB"]);
        let rates = [None, Some(0.0), Some(0.04), Some(3.21), Some(1e6), Some(f64::INFINITY)].map(rate);
        assert_eq!(rates, ["-", "0/s", "0.0/s", "3.2/s", "1.00M/s", "18.4E/s"]);
        assert_eq!([byte_rate(None), byte_rate(Some(1500.0))], ["-", "1.46 KiB/s"]);
    }

    #[test]
    fn times_have_the_unit_that_matters() {
        let times = [0, 1, 210_000, 999_999, 3_100_000, 999_999_999, 1_500_000_000].map(Duration::from_nanos);
        assert_eq!(times.map(time), ["0 µs", "1 µs", "210 µs", "1000 µs", "3.10 ms", "1000 ms", "1.50 s"]);
        let long = [59, 60, 3599, 3600, 86_400 * 3 + 7300, 86_400 * 100, u64::MAX].map(Duration::from_secs);
        assert_eq!(long.map(time), ["59.0 s", "1m 0s", "59m 59s", "1h 0m", "3d 2h", "100d", "9999999d"]);
    }

    #[test]
    fn no_number_is_wider_than_its_column() {
        for number in (0..64).flat_map(|bit| [1_u64 << bit, (1 << bit) - 1, u64::MAX >> bit]) {
            let width = |text: String| text.chars().count();
            assert!(width(count(number)) <= 6 && width(bytes(number)) <= 8, "{number}");
            assert!(
                width(rate(Some(number as f64))) <= 8 && width(byte_rate(Some(number as f64))) <= 10,
                "{number}"
            );
            assert!(width(time(Duration::from_nanos(number))) <= 8, "{number}");
            assert!(width(time(Duration::from_secs(number))) <= 8, "{number}");
        }
    }
}
