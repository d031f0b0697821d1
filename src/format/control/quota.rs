//! How much a subscriber may have waiting for it, and for how long.

use crate::format::body::{BodyDefect, BodyReader, BodyWriter};
use crate::time::Wall;

/// What happens when a subscriber has as much waiting for it as it may have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AtLimit {
    /// What would be owed to it is not published, and the publisher is told.
    #[default]
    Refuse = 0,
    /// What is published is not owed to it, and it is told how many messages it missed.
    Park = 1,
    /// As with `Refuse`, until it was unseen for its lease: then it is evicted.
    Evict = 2,
}

/// How much a subscriber may have waiting for it, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// Bytes.
    pub backlog_bytes: u64,
    /// What happens then.
    pub at_limit: AtLimit,
    /// For how long it may be unseen, in milliseconds; 0 for ever.
    pub lease_ms: u64,
}

impl Quota {
    /// Nobody ever has as much waiting for it, or is unseen for too long.
    pub const UNLIMITED: Quota = Quota { backlog_bytes: u64::MAX, at_limit: AtLimit::Refuse, lease_ms: 0 };
}

/// How a subscriber stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Since when it is unseen; 0 if it is connected, or nobody counts.
    pub unseen_since: Wall,
    /// Whether what is published is not owed to it.
    pub parked: bool,
}

/// What of that holds for one subscriber alone. What is not set is as the node was opened with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OwnQuota {
    /// See [`Quota::backlog_bytes`].
    pub backlog_bytes: Option<u64>,
    /// See [`Quota::at_limit`].
    pub at_limit: Option<AtLimit>,
    /// See [`Quota::lease_ms`].
    pub lease_ms: Option<u64>,
}

impl OwnQuota {
    /// The quota that comes of it.
    #[must_use]
    pub fn over(self, default: Quota) -> Quota {
        Quota {
            backlog_bytes: self.backlog_bytes.unwrap_or(default.backlog_bytes),
            at_limit: self.at_limit.unwrap_or(default.at_limit),
            lease_ms: self.lease_ms.unwrap_or(default.lease_ms),
        }
    }
}

pub(super) fn put_quota(out: &mut BodyWriter, quota: OwnQuota) {
    let OwnQuota { backlog_bytes, at_limit, lease_ms } = quota;
    let number = |out: &mut BodyWriter, number: Option<u64>| {
        out.flag(number.is_some());
        if let Some(number) = number {
            out.u64(number);
        }
    };
    number(out, backlog_bytes);
    out.flag(at_limit.is_some());
    if let Some(at_limit) = at_limit {
        out.u8(at_limit as u8);
    }
    number(out, lease_ms);
}

pub(super) fn quota(r: &mut BodyReader<'_>) -> Result<OwnQuota, BodyDefect> {
    let backlog_bytes = r.flag("backlog bytes")?.then(|| r.u64()).transpose()?;
    let at_limit = r.flag("at limit")?.then(|| at_limit(r)).transpose()?;
    let lease_ms = r.flag("lease")?.then(|| r.u64()).transpose()?;
    Ok(OwnQuota { backlog_bytes, at_limit, lease_ms })
}

fn at_limit(r: &mut BodyReader<'_>) -> Result<AtLimit, BodyDefect> {
    match r.u8()? {
        0 => Ok(AtLimit::Refuse),
        1 => Ok(AtLimit::Park),
        2 => Ok(AtLimit::Evict),
        _ => Err(BodyDefect::Value("at limit")),
    }
}
