//! Throughput against latency, as a picture.

use std::fs;
use std::path::Path;
use std::time::Duration;

use plotters::prelude::*;

use super::arguments::BenchLoad;
use super::load::{Load, filler};
use super::report::Report;
use super::ruler::Ruler;
use super::scratch::Scratch;
use super::{directory_in, progress};
use crate::cli::exit::{Exit, Failure};
use crate::cli::output::{Output, say};

/// Messages on their way in all, for each point.
const OUTSTANDING: [u32; 7] = [1, 4, 16, 64, 256, 1024, 4096];

/// Publishers and the windows of each, for each point.
fn split(outstanding: u32) -> (u32, u32) {
    let publishers = outstanding.min(4);
    (publishers, outstanding / publishers)
}

/// Measures what is asked for: once, or each point of a plot, beside one yardstick. What a point leaves on the disk is
/// removed before the next.
pub fn measure(
    arguments: &BenchLoad,
    what: &str,
    measure: impl Fn(&Load, &Path, &Ruler) -> Result<Report, Failure>,
) -> Result<(), Failure> {
    let dir = Scratch::new(&arguments.common.dir)?;
    if let Some(file) = &arguments.plot {
        check_writable(file)?;
    }
    let bar = progress("measuring the disk");
    let ruler = Ruler::measure(dir.path())?;
    bar.finish_and_clear();
    let (filler, duration) = (filler(arguments.payload.size), Duration::from_secs(arguments.common.seconds));
    let load = |publishers, pipeline| Load { publishers, pipeline, filler, duration };
    let once = |load: Load| {
        let dir = directory_in(dir.path())?;
        measure(&load, dir.path(), &ruler)
    };
    let json = arguments.common.json;
    match &arguments.plot {
        None => once(load(arguments.publishers, arguments.pipeline))?.write(json),
        Some(file) => sweep(file, what, json, |outstanding| {
            let (publishers, pipeline) = split(outstanding);
            once(load(publishers, pipeline))
        }),
    }
}

/// Fails now rather than after all was measured. A file that is there stays as it is until the picture is drawn.
fn check_writable(file: &Path) -> Result<(), Failure> {
    let failed = |error| Failure::io(&format!("write {}", file.display()), &error);
    let was_there = file.exists();
    fs::File::options().append(true).create(true).open(file).map_err(failed)?;
    if was_there { Ok(()) } else { fs::remove_file(file).map_err(failed) }
}

/// Measures each point and draws them.
fn sweep(
    file: &Path,
    what: &str,
    json: bool,
    measure: impl Fn(u32) -> Result<Report, Failure>,
) -> Result<(), Failure> {
    let mut points = Vec::new();
    for outstanding in OUTSTANDING {
        let report = measure(outstanding)?;
        let mut out = Output::new();
        if json {
            out.json(&report)?;
        } else {
            let Report { messages_per_second, p50_us, p99_us, .. } = &report;
            let line = format!("{outstanding:>6} on their way: {messages_per_second:>10.0} messages/s");
            out.line(&format!("{line}, p50 {p50_us:.0} us, p99 {p99_us:.0} us"))?;
        }
        out.finish()?;
        points.push((outstanding, report));
    }
    draw(file, what, &points)
        .map_err(|error| Failure::new(Exit::Failure, format!("cannot draw: {error}")))?;
    say(&format!("{} is drawn", file.display()));
    Ok(())
}

fn draw(file: &Path, what: &str, points: &[(u32, Report)]) -> Result<(), Box<dyn std::error::Error>> {
    let root = SVGBackend::new(file, (900, 560)).into_drawing_area();
    root.fill(&WHITE)?;
    let range = |values: Vec<f64>| {
        let (low, high) = values.iter().fold((f64::MAX, 1.0_f64), |(l, h), v| (l.min(*v), h.max(*v)));
        low * 0.7..high * 1.4
    };
    let latencies = points.iter().flat_map(|(_, report)| [report.p50_us, report.p99_us]).collect();
    let rates = points.iter().map(|(_, report)| report.messages_per_second).collect();
    let title = format!("resolute bench {what}: durable messages a second against latency");
    let mut chart = ChartBuilder::on(&root)
        .caption(title, ("sans-serif", 20))
        .margin(16)
        .x_label_area_size(44)
        .y_label_area_size(84)
        .build_cartesian_2d(range(rates).log_scale(), range(latencies).log_scale())?;
    chart
        .configure_mesh()
        // On a logarithmic scale they run together.
        .light_line_style(TRANSPARENT)
        .x_desc("messages a second")
        .y_desc("latency, us")
        .x_label_formatter(&label)
        .y_label_formatter(&label)
        .draw()?;
    for (name, colour, of) in [
        ("p50", BLUE, (|report: &Report| report.p50_us) as fn(&Report) -> f64),
        ("p99", RED, |report: &Report| report.p99_us),
    ] {
        let line: Vec<(f64, f64)> = points.iter().map(|(_, r)| (r.messages_per_second, of(r))).collect();
        chart
            .draw_series(LineSeries::new(line.clone(), colour))?
            .label(name)
            .legend(move |(x, y)| PathElement::new(vec![(x, y), (x + 20, y)], colour));
        chart.draw_series(points.iter().zip(&line).map(|((outstanding, _), at)| {
            EmptyElement::at(*at)
                + Circle::new((0, 0), 3, colour.filled())
                + Text::new(outstanding.to_string(), (5, -14), ("sans-serif", 12))
        }))?;
    }
    // Latency rises with the rate, so that corner is free.
    let series_labels = &mut chart.configure_series_labels();
    series_labels
        .position(SeriesLabelPosition::UpperLeft)
        .border_style(BLACK)
        .background_style(WHITE)
        .draw()?;
    root.present()?;
    Ok(())
}

/// A number of an axis, short, and no two alike that differ by a hundredth.
fn label(value: &f64) -> String {
    let (scaled, unit) = match *value {
        value if value >= 1e6 => (value / 1e6, " M"),
        value if value >= 1e4 => (value / 1e3, " k"),
        value => (value, ""),
    };
    let digits = (2 - scaled.abs().max(1.0).log10().floor() as i32).max(0) as usize;
    let text = format!("{scaled:.digits$}");
    let short = if digits > 0 { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{short}{unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_has_two_points_for_each_measurement_with_its_messages_on_their_way() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("picture.svg");
        let asked = std::cell::RefCell::new(Vec::new());
        sweep(&file, "publish", false, |outstanding| {
            asked.borrow_mut().push(outstanding);
            let many = f64::from(outstanding);
            Ok(Report::example(1_000.0 * many, 100.0 + many, 200.0 + many))
        })
        .unwrap_or_else(|_| panic!("it is drawn"));
        assert_eq!(asked.into_inner(), OUTSTANDING);
        let drawn = fs::read_to_string(&file).unwrap();
        assert!(drawn.starts_with("<svg") && drawn.trim_end().ends_with("</svg>"), "{drawn}");
        assert_eq!(drawn.matches("<circle").count(), 2 * OUTSTANDING.len(), "p50 and p99 of each");
        for outstanding in OUTSTANDING {
            assert_eq!(drawn.matches(&format!(">\n{outstanding}\n<")).count(), 2, "{outstanding} in {drawn}");
        }
        assert!(drawn.contains("resolute bench publish"));
    }

    #[test]
    fn labels_are_short_and_tell_near_numbers_apart() {
        let said = [1.0, 1.25, 90.0, 147.0, 9_876.0, 10_000.0, 12_300.0, 500_000.0, 1e6, 1.25e6, 7e6];
        let expected = ["1", "1.25", "90", "147", "9876", "10 k", "12.3 k", "500 k", "1 M", "1.25 M", "7 M"];
        assert_eq!(said.map(|value| label(&value)), expected);
    }

    #[test]
    fn what_is_on_its_way_is_split_among_up_to_four_publishers() {
        assert_eq!(OUTSTANDING.map(split), [(1, 1), (4, 1), (4, 4), (4, 16), (4, 64), (4, 256), (4, 1024)]);
    }
}
