//! The results as a picture: messages a second at 128 B, on a logarithmic axis.

use anyhow::{Result, anyhow};
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::arguments::SIZES;
use crate::machine::Machine;
use crate::peers::Kind;
use crate::results::{Figure, Results, Row};
use crate::table::thousands;

const WIDTH: u32 = 960;
/// Left of the axis, for the names.
const LEFT: i32 = 250;
/// Right of the axis, for a number at the end of the longest bar.
const RIGHT: i32 = 100;
const TOP: i32 = 92;
const BOTTOM: i32 = 58;
const BAR: i32 = 17;
const GAP: i32 = 16;

const PUBLISH: RGBColor = RGBColor(31, 95, 153);
const END_TO_END: RGBColor = RGBColor(224, 123, 57);
const INK: RGBColor = RGBColor(34, 34, 34);
const FAINT: RGBColor = RGBColor(110, 110, 110);
const LINE: RGBColor = RGBColor(222, 222, 222);

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// Where a rate is on the axis: powers of ten, from the one below the smallest rate to the one above the largest.
struct Axis {
    low: i32,
    high: i32,
}

impl Axis {
    fn over(rates: &[f64]) -> Axis {
        let log = |rate: f64| rate.max(1.0).log10();
        let low = rates.iter().map(|rate| log(*rate).floor() as i32).min().unwrap_or(0);
        let high = rates.iter().map(|rate| log(*rate).ceil() as i32).max().unwrap_or(1);
        Axis { low: low.min(3), high: high.max(low.min(3) + 1) }
    }

    fn x(&self, rate: f64) -> i32 {
        let part = (rate.max(1.0).log10() - f64::from(self.low)) / f64::from(self.high - self.low);
        LEFT + (part * f64::from(WIDTH as i32 - LEFT - RIGHT)).round() as i32
    }
}

fn rates(row: &Row) -> Vec<(f64, RGBColor)> {
    let figures = [(Figure::Publish(SIZES[0]), PUBLISH), (Figure::EndToEnd(SIZES[0]), END_TO_END)];
    figures.into_iter().filter_map(|(figure, colour)| Some((row.per_second(figure)?, colour))).collect()
}

fn height(row: &Row) -> i32 {
    // Two lines of text are beside even a single bar.
    (rates(row).len().max(2) as i32) * BAR + GAP
}

pub fn bars(results: &Results, machine: &Machine) -> Result<String> {
    let failed = |error: DrawingAreaErrorKind<std::io::Error>| anyhow!("draw the plot: {error}");
    let (rows, missing): (Vec<&Row>, Vec<&Row>) = results.rows.iter().partition(|row| row.missing.is_none());
    let all: Vec<f64> = rows.iter().flat_map(|row| rates(row)).map(|(rate, _)| rate).collect();
    let axis = Axis::over(&all);
    let bottom = TOP + rows.iter().map(|row| height(row)).sum::<i32>();
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, (WIDTH, (bottom + BOTTOM) as u32)).into_drawing_area();
        area.fill(&WHITE).map_err(failed)?;
        heading(&area, results, machine).map_err(failed)?;
        scale(&area, &axis, bottom).map_err(failed)?;
        if !missing.is_empty() {
            let names: Vec<_> = missing.iter().map(|row| row.title.name).collect();
            let words = format!("not measured: {}", names.join(", "));
            text(&area, &words, (16, bottom + 36), 12, INK, HPos::Left).map_err(failed)?;
        }
        let mut y = TOP;
        for row in rows {
            group(&area, row, &axis, y + GAP / 2).map_err(failed)?;
            y += height(row);
        }
        area.present().map_err(failed)?;
    }
    Ok(svg + "\n")
}

type Drawn = Result<(), DrawingAreaErrorKind<std::io::Error>>;

fn text(area: &Area<'_>, words: &str, at: (i32, i32), size: i32, colour: RGBColor, anchor: HPos) -> Drawn {
    let style = ("sans-serif", size).into_text_style(area).color(&colour).pos(Pos::new(anchor, VPos::Center));
    area.draw(&Text::new(words.to_owned(), at, style))
}

fn heading(area: &Area<'_>, results: &Results, machine: &Machine) -> Drawn {
    let title = "Durable messages a second, 128 B";
    text(area, title, (16, 22), 20, INK, HPos::Left)?;
    let Results { rounds, seconds, .. } = results;
    let short = machine.text.split(", write cache").next().unwrap_or(&machine.text);
    let under = format!("{}, {rounds} x {seconds} s: {short}", machine.date);
    text(area, &under, (16, 46), 12, FAINT, HPos::Left)?;
    let legend =
        [("publish", PUBLISH, LEFT), ("end to end (received and acknowledged)", END_TO_END, LEFT + 100)];
    for (words, colour, x) in legend {
        area.draw(&Rectangle::new([(x, 65), (x + 12, 77)], colour.filled()))?;
        text(area, words, (x + 18, 71), 13, INK, HPos::Left)?;
    }
    Ok(())
}

fn scale(area: &Area<'_>, axis: &Axis, bottom: i32) -> Drawn {
    for power in axis.low..=axis.high {
        let (rate, at) = (10_f64.powi(power), axis.x(10_f64.powi(power)));
        area.draw(&PathElement::new(vec![(at, TOP), (at, bottom)], LINE.stroke_width(1)))?;
        text(area, &thousands(rate), (at, bottom + 14), 12, FAINT, HPos::Center)?;
    }
    let middle = (LEFT + WIDTH as i32 - RIGHT) / 2;
    text(area, "messages a second (logarithmic)", (middle, bottom + 36), 12, FAINT, HPos::Center)
}

fn group(area: &Area<'_>, row: &Row, axis: &Axis, top: i32) -> Drawn {
    let name = format!("{} {}", row.title.name, row.version);
    let setting = match (row.title.kind, row.middle(Figure::Publish(SIZES[0]))) {
        (Kind::Embedded, Some(middle)) => format!("log only, {}", middle.how),
        _ => row.title.setting.to_owned(),
    };
    let middle = top + BAR;
    text(area, &name, (LEFT - 12, middle - 8), 14, INK, HPos::Right)?;
    text(area, &setting.replace('`', ""), (LEFT - 12, middle + 9), 11, FAINT, HPos::Right)?;
    let bars = rates(row);
    let mut y = middle - bars.len() as i32 * BAR / 2;
    for (rate, colour) in bars {
        let end = axis.x(rate);
        area.draw(&Rectangle::new([(LEFT, y + 1), (end, y + BAR - 1)], colour.filled()))?;
        text(area, &thousands(rate), (end + 6, y + BAR / 2), 12, INK, HPos::Left)?;
        y += BAR;
    }
    Ok(())
}
