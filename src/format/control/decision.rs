//! What somebody decided by hand about others.

use super::list::{list, put_list};
use crate::format::body::{BodyDefect, BodyReader, BodyWriter};
use crate::time::Wall;

/// What was decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decided {
    /// Nothing is sent to a peer for now.
    Paused = 0,
    /// What it is owed goes out again.
    Resumed = 1,
    /// It is forgotten, with all that it is owed and all that is wanted of it.
    Forgotten = 2,
    /// Topics of it are wanted.
    Subscribed = 3,
    /// They no longer are.
    Unsubscribed = 4,
    /// It may have so much waiting for it, and for so long.
    Limited = 5,
    /// It was unseen for its lease: it is owed nothing more, and wants nothing until it comes back.
    Evicted = 6,
}

/// Who decided it, and when. What it does is in the records behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// When.
    pub at: Wall,
    /// Who, in words.
    pub who: String,
    /// What.
    pub what: Decided,
    /// The peer or the address, as it was named.
    pub about: String,
    /// The topics, if it is about some.
    pub topics: Vec<String>,
}

pub(super) fn put_decision(out: &mut BodyWriter, decision: &Decision) {
    let Decision { at, who, what, about, topics } = decision;
    out.u64(at.0).text(who).u8(*what as u8).text(about);
    put_list(out, topics, |out, topic| {
        out.text(topic);
    });
}

pub(super) fn decision(r: &mut BodyReader<'_>) -> Result<Decision, BodyDefect> {
    let (at, who) = (Wall(r.u64()?), r.text()?.to_owned());
    let what = match r.u8()? {
        0 => Decided::Paused,
        1 => Decided::Resumed,
        2 => Decided::Forgotten,
        3 => Decided::Subscribed,
        4 => Decided::Unsubscribed,
        5 => Decided::Limited,
        6 => Decided::Evicted,
        _ => return Err(BodyDefect::Value("decided")),
    };
    Ok(Decision {
        at,
        who,
        what,
        about: r.text()?.to_owned(),
        topics: list(r, |r| Ok(r.text()?.to_owned()))?,
    })
}
