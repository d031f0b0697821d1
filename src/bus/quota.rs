//! How much a subscriber may have waiting for it, and for how long.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::OptionOutOfRange;
use crate::format::control;
use crate::limits::{BACKLOG_BYTES_DEFAULT, BACKLOG_BYTES_MIN};

/// What happens when a subscriber has as much waiting for it as it may have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum AtLimit {
    /// Nothing is published that it would get: [`Error::Backlog`](crate::Error::Backlog), until an eighth of its quota is free again.
    #[default]
    Refuse,
    /// What is published is not kept for it, until an eighth of its quota is free again. It is told how many messages it missed,
    /// and shows them as lost. Commands to it are refused.
    Park,
    /// As [`AtLimit::Refuse`], until it was not connected for its lease: then it is evicted.
    Evict,
}

const NAMES: [(AtLimit, &str); 3] =
    [(AtLimit::Refuse, "refuse"), (AtLimit::Park, "park"), (AtLimit::Evict, "evict")];

impl fmt::Display for AtLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = NAMES.iter().find(|(known, _)| known == self).map_or("", |(_, name)| name);
        f.pad(name)
    }
}

impl FromStr for AtLimit {
    type Err = OptionOutOfRange;

    fn from_str(text: &str) -> Result<AtLimit, OptionOutOfRange> {
        let known = NAMES.iter().find(|(_, name)| *name == text).map(|(known, _)| *known);
        known.ok_or_else(|| OptionOutOfRange {
            option: "at_limit",
            value: text.to_owned(),
            range: "refuse, park or evict".to_owned(),
        })
    }
}

impl From<AtLimit> for control::AtLimit {
    fn from(at_limit: AtLimit) -> control::AtLimit {
        match at_limit {
            AtLimit::Refuse => control::AtLimit::Refuse,
            AtLimit::Park => control::AtLimit::Park,
            AtLimit::Evict => control::AtLimit::Evict,
        }
    }
}

impl From<control::AtLimit> for AtLimit {
    fn from(at_limit: control::AtLimit) -> AtLimit {
        match at_limit {
            control::AtLimit::Refuse => AtLimit::Refuse,
            control::AtLimit::Park => AtLimit::Park,
            control::AtLimit::Evict => AtLimit::Evict,
        }
    }
}

/// How much a subscriber may have waiting for it, what happens then, and for how long it may be unseen.
///
/// Events and commands count alike, with their bytes in the log. A subscriber may come to have a little more waiting than it may:
/// what is in the batches that are being filled and written, at most a few MiB, is not counted yet.
///
/// Whoever is evicted is owed nothing more and subscribes to nothing; that is written in the log, and
/// [`View::changes`](crate::inspect::View::changes) shows it. If it comes back it is told how many messages it missed, and
/// subscribes anew by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quota {
    /// Bytes that may wait: at least 4 MiB. Default: 16 GiB.
    pub backlog_bytes: u64,
    /// What happens then. Default: publishing is refused. An address where nobody has answered yet can have no other.
    pub at_limit: AtLimit,
    /// For how long it may be not connected, with millisecond precision; `None` for ever. Default: for ever. Then it is evicted, whatever
    /// waits for it; with [`AtLimit::Evict`] only if it has as much waiting as it may. The time during which this node was open
    /// and it was not connected counts, and after that the time of day between two openings of this node; but it has at least a minute
    /// of an opening, or the lease if that is less, to come back.
    pub lease: Option<Duration>,
}

impl Default for Quota {
    fn default() -> Quota {
        Quota { backlog_bytes: BACKLOG_BYTES_DEFAULT, at_limit: AtLimit::Refuse, lease: None }
    }
}

impl Quota {
    pub(super) fn check(&self) -> Result<(), OptionOutOfRange> {
        let change = QuotaChange {
            resets: false,
            backlog_bytes: Some(self.backlog_bytes),
            at_limit: Some(self.at_limit),
            lease: self.lease,
        };
        change.check()?;
        if self.lease == Some(Duration::ZERO) {
            let range = "at least 1 ms, or none".to_owned();
            return Err(OptionOutOfRange { option: "lease", value: "0 s".to_owned(), range });
        }
        if self.at_limit == AtLimit::Evict && self.lease.is_none() {
            let (value, range) = (self.at_limit.to_string(), "refuse or park without a lease".to_owned());
            return Err(OptionOutOfRange { option: "at_limit", value, range });
        }
        Ok(())
    }
}

impl From<Quota> for control::Quota {
    fn from(quota: Quota) -> control::Quota {
        let Quota { backlog_bytes, at_limit, lease } = quota;
        control::Quota { backlog_bytes, at_limit: at_limit.into(), lease_ms: millis(lease) }
    }
}

impl From<control::Quota> for Quota {
    fn from(quota: control::Quota) -> Quota {
        let control::Quota { backlog_bytes, at_limit, lease_ms } = quota;
        let lease = (lease_ms > 0).then(|| Duration::from_millis(lease_ms));
        Quota { backlog_bytes, at_limit: at_limit.into(), lease }
    }
}

fn millis(lease: Option<Duration>) -> u64 {
    lease.map_or(0, |lease| u64::try_from(lease.as_millis()).unwrap_or(u64::MAX))
}

/// What is to be otherwise of the quota of a subscriber: see [`Administrator::limit`](crate::Administrator::limit). What is `None` stays
/// as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuotaChange {
    /// Whether what the node is opened with holds for it again, but for what follows.
    pub resets: bool,
    /// See [`Quota::backlog_bytes`].
    pub backlog_bytes: Option<u64>,
    /// See [`Quota::at_limit`].
    pub at_limit: Option<AtLimit>,
    /// See [`Quota::lease`]; [`Duration::ZERO`] takes it away.
    pub lease: Option<Duration>,
}

impl QuotaChange {
    pub(super) fn check(&self) -> Result<(), OptionOutOfRange> {
        let out = |option, value: String, range: String| Err(OptionOutOfRange { option, value, range });
        if let Some(bytes) = self.backlog_bytes.filter(|bytes| *bytes < BACKLOG_BYTES_MIN) {
            return out("backlog_bytes", bytes.to_string(), format!("{BACKLOG_BYTES_MIN} to {}", u64::MAX));
        }
        match self.lease.filter(|lease| (1..1_000_000).contains(&lease.as_nanos())) {
            Some(lease) => out("lease", format!("{lease:?}"), "at least 1 ms, or none".to_owned()),
            None => Ok(()),
        }
    }
}

impl From<QuotaChange> for control::OwnQuota {
    fn from(change: QuotaChange) -> control::OwnQuota {
        let QuotaChange { backlog_bytes, at_limit, lease, .. } = change;
        control::OwnQuota {
            backlog_bytes,
            at_limit: at_limit.map(Into::into),
            lease_ms: lease.map(|lease| millis(Some(lease))),
        }
    }
}

/// What of its quota a subscriber has for itself, and not because of what the node was opened with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct OwnQuota {
    /// See [`Quota::backlog_bytes`].
    pub backlog_bytes: Option<u64>,
    /// See [`Quota::at_limit`].
    pub at_limit: Option<AtLimit>,
    /// See [`Quota::lease`]; zero for none.
    pub lease: Option<Duration>,
}

impl From<control::OwnQuota> for OwnQuota {
    fn from(own: control::OwnQuota) -> OwnQuota {
        OwnQuota {
            backlog_bytes: own.backlog_bytes,
            at_limit: own.at_limit.map(Into::into),
            lease: own.lease_ms.map(Duration::from_millis),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happens_at_the_limit_reads_back() {
        for (known, name) in NAMES {
            assert_eq!(name.parse(), Ok(known));
            assert_eq!(known.to_string(), name);
            assert_eq!(AtLimit::from(control::AtLimit::from(known)), known);
        }
        assert!("drop".parse::<AtLimit>().is_err());
    }

    #[test]
    fn a_quota_reads_back_and_one_that_cannot_be_is_refused() {
        let quota =
            Quota { lease: Some(Duration::from_secs(5)), at_limit: AtLimit::Evict, ..Quota::default() };
        for quota in [Quota::default(), quota] {
            assert_eq!(quota.check(), Ok(()));
            assert_eq!(Quota::from(control::Quota::from(quota)), quota);
        }
        for quota in [
            Quota { lease: None, ..quota },
            Quota { lease: Some(Duration::from_micros(999)), ..quota },
            Quota { lease: Some(Duration::ZERO), ..quota },
            Quota { backlog_bytes: BACKLOG_BYTES_MIN - 1, ..quota },
        ] {
            assert!(quota.check().is_err(), "{quota:?}");
        }
    }
}
