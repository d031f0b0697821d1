//! The terminal while the screen is shown, and what it is put back to.

use std::io;
use std::time::Duration;

use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::look::Looks;
use super::screen;
use crate::cli::exit::Failure;

/// A terminal that shows screens. However it goes, by a panic too, the terminal is as it was before.
pub struct Terminal {
    terminal: DefaultTerminal,
}

impl Terminal {
    pub fn open() -> Result<Terminal, Failure> {
        let opened = ratatui::try_init();
        if opened.is_err() {
            // Half of it may have been done.
            restore();
        }
        let terminal = opened.map_err(|error| Failure::io("use the terminal", &error))?;
        Ok(Terminal { terminal })
    }

    pub fn show(&mut self, looks: &Looks<'_>, interval: Duration) -> Result<(), Failure> {
        let shown = self
            .terminal
            .draw(|frame| screen::draw(looks, interval, frame.area(), frame.buffer_mut()))
            .map(drop);
        shown.map_err(|error| Failure::io("write to the terminal", &error))
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        restore();
    }
}

fn restore() {
    // A terminal that is gone cannot be put back to anything, and there is nobody left to be told.
    let _: io::Result<()> = ratatui::try_restore();
}

/// What is to be done next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// To end.
    End,
    /// To draw again what is known: the terminal has another size.
    Draw,
    /// To look again: nobody wished for anything.
    Look,
}

/// Waits for a wish of whoever sits at the terminal, at most so long.
pub fn wish(patience: Duration) -> Result<Wish, Failure> {
    let failed = |error| Failure::io("read from the terminal", &error);
    if !event::poll(patience).map_err(failed)? {
        return Ok(Wish::Look);
    }
    Ok(match event::read().map_err(failed)? {
        Event::Key(key) if ends(key) => Wish::End,
        _ => Wish::Draw,
    })
}

fn ends(key: KeyEvent) -> bool {
    let is_interrupt = key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
    key.kind != KeyEventKind::Release
        && (is_interrupt || matches!(key.code, KeyCode::Char('q' | 'Q') | KeyCode::Esc))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_keys_end_it() {
        let key = |code, modifiers| ends(KeyEvent::new(code, modifiers));
        assert!(key(KeyCode::Char('q'), KeyModifiers::NONE));
        assert!(key(KeyCode::Esc, KeyModifiers::NONE));
        assert!(key(KeyCode::Char('c'), KeyModifiers::CONTROL));
        assert!(!key(KeyCode::Char('c'), KeyModifiers::NONE));
        assert!(!key(KeyCode::Enter, KeyModifiers::NONE));
    }
}
