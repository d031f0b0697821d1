//! `top`: a node that is open, on a screen that goes on.

pub mod arguments;
mod look;
mod numbers;
mod peers;
mod screen;
mod terminal;

use std::path::{Path, PathBuf};
use std::time::Duration;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::exit::{Exit, Failure};
use super::output::{Output, say, stdout_is_terminal};
use super::runtime::{Stop, block_on};
use crate::bus::Stopwatch;
use crate::bus::inspect::{Holder, holder};
use arguments::Top;
use look::{Look, Looks};
use terminal::{Terminal, Wish, wish};

/// Why the screen ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    /// Somebody wished for it.
    Wished,
    /// The node was closed.
    Closed,
}

pub fn run(arguments: &Top) -> Result<(), Failure> {
    if arguments.once {
        return once(arguments);
    }
    if !stdout_is_terminal() {
        let text = "standard output is no terminal: --once prints one screen as text";
        return Err(Failure::new(Exit::Usage, text));
    }
    // If it cannot be looked at, the terminal is left alone.
    let first = Look::take(&arguments.dir)?;
    let ended = block_on(async { live(&arguments.dir, arguments.interval, first).await })?;
    if ended == Ended::Closed {
        say("the node was closed");
    }
    Ok(())
}

fn once(arguments: &Top) -> Result<(), Failure> {
    let before = Look::take(&arguments.dir)?;
    std::thread::sleep(arguments.interval);
    let now = Look::take(&arguments.dir)?;
    let area = Rect::new(0, 0, screen::COLUMNS, screen::LINES);
    let mut buffer = Buffer::empty(area);
    screen::draw(&Looks::new(Some(&before), &now), arguments.interval, area, &mut buffer);
    let mut out = Output::new();
    out.line(&screen::text(&buffer))?;
    out.finish().map(drop)
}

async fn live(directory: &Path, interval: Duration, first: Look) -> Result<Ended, Failure> {
    let stop = Stop::listen()?;
    let mut terminal = Terminal::open()?;
    let (mut before, mut now) = (None, first);
    loop {
        let watch = Stopwatch::start();
        terminal.show(&Looks::new(before.as_ref(), &now), interval)?;
        let next = loop {
            let (directory, left) = (directory.to_owned(), interval.saturating_sub(watch.elapsed()));
            // Apart: signals are heard while the keys are waited for, and the node.
            let step = tokio::task::spawn_blocking(move || step(directory, left));
            let Some(step) = stop.or(step).await else { return Ok(Ended::Wished) };
            match step.map_err(|error| Failure::io("look at the node", &error.into()))?? {
                Step::End(ended) => return Ok(ended),
                Step::Draw => terminal.show(&Looks::new(before.as_ref(), &now), interval)?,
                Step::Seen(look) => break *look,
            }
        };
        before = Some(std::mem::replace(&mut now, next));
    }
}

/// What came of waiting for the time of the next look.
enum Step {
    End(Ended),
    Draw,
    Seen(Box<Look>),
}

fn step(directory: PathBuf, left: Duration) -> Result<Step, Failure> {
    match wish(left)? {
        Wish::End => return Ok(Step::End(Ended::Wished)),
        Wish::Draw => return Ok(Step::Draw),
        Wish::Look => {}
    }
    match Look::take(&directory) {
        Ok(look) => Ok(Step::Seen(Box::new(look))),
        Err(_) if matches!(holder(&directory), Ok(Holder::Nobody)) => Ok(Step::End(Ended::Closed)),
        Err(error) => Err(error.into()),
    }
}
