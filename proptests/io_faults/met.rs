//! What went wrong, and what must come of it.

use std::collections::BTreeSet;
use std::str::FromStr;

use super::case::Case;
use super::kind::Kind;
use super::trouble::Instead;

/// The requests that got something else than they asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Met {
    pub count: u64,
    /// The first of them: what it was, and about which file.
    pub first: Option<(Kind, String)>,
    /// What they all were.
    pub kinds: BTreeSet<Kind>,
}

impl FromStr for Met {
    type Err = String;

    /// Reads what the disk says.
    fn from_str(text: &str) -> Result<Met, String> {
        let nonsense = || format!("the disk says {text:?}");
        let mut words = text.split_whitespace();
        let count = words.next().and_then(|word| word.parse().ok()).ok_or_else(nonsense)?;
        let file = words.next().unwrap_or_default().to_owned();
        let kinds: Vec<Kind> = words.map(str::parse).collect::<Result<_, ()>>().map_err(|()| nonsense())?;
        let first = kinds.first().map(|kind| (*kind, file));
        Ok(Met { count, first, kinds: kinds.into_iter().collect() })
    }
}

/// What must come of it, from the best to the worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// Nothing went wrong: all is well.
    Well,
    /// Nobody notices.
    Continued,
    /// Room is asked for again, and the log stays as good as it was.
    Bearable,
    /// It is refused, or borne, or final: that depends on what it was for.
    Any,
    /// Nobody notices or it is final: the kernel may have tried again by itself, what follows the beginning of a long write, or a read.
    ContinuedOrFinal,
    /// The node stops accepting, or is not opened.
    Final,
}

/// What must come of it if requests of these kinds were answered so.
pub fn outcome(case: &Case, kinds: &BTreeSet<Kind>) -> Outcome {
    let outcomes: BTreeSet<Outcome> = kinds.iter().map(|kind| outcome_of(case, *kind)).collect();
    // The worst comes last.
    outcomes.last().copied().unwrap_or(Outcome::Well)
}

fn outcome_of(case: &Case, kind: Kind) -> Outcome {
    let is_for_ever = case.trouble.is_for_ever;
    match (kind, case.trouble.instead) {
        (Kind::LogWrite, Instead::Half) => Outcome::Continued,
        (Kind::LogWrite, Instead::Eio | Instead::Enospc) if !is_for_ever => Outcome::ContinuedOrFinal,
        (Kind::LogWrite | Kind::LogFlush, Instead::Eio | Instead::Enospc) => Outcome::Final,
        (Kind::LogWrite | Kind::LogFlush, _) if is_for_ever => Outcome::Final,
        // To read the end of the log back at an opening is no write, and may be refused.
        (Kind::LogWrite | Kind::LogFlush, Instead::Eagain) if case.scenario.closes() => Outcome::Any,
        (Kind::LogWrite | Kind::LogFlush, _) => Outcome::Continued,
        // What the kernel reads ahead and cannot have, it reads again when it is asked for.
        (Kind::LogRead, Instead::Eio | Instead::Enospc) if !is_for_ever => Outcome::ContinuedOrFinal,
        // What was promised can no longer be read: the node must not go on as if it were not there.
        (Kind::LogRead, _) if is_for_ever => Outcome::Final,
        (Kind::LogRead, Instead::Eagain) if case.scenario.closes() => Outcome::Any,
        (Kind::LogRead, _) => Outcome::Continued,
        (Kind::LogOther, _) => Outcome::Any,
        _ if case.scenario.closes() => Outcome::Any,
        _ => Outcome::Bearable,
    }
}
