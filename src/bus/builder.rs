//! Configuring a node.

use std::collections::BTreeSet;
use std::future::Future;
use std::path::PathBuf;
use std::time::Duration;

use super::handler::{Handler, HandlerError, erase, erase_all};
use super::registry::{Kind, Registration, Registry};
use super::{Bus, Envelope, Error, IntoTopics, OptionOutOfRange, Quota, message};
use crate::engine::config::Retry;
use crate::io::address::Address;
use crate::io::node::{NodeOptions, open};
use crate::limits::{
    ADDRESS_BYTES_MAX, BLOCK_BYTES, CONCURRENCY_DEFAULT, CREDIT_BYTES, DISK_BYTES_DEFAULT, DISK_SEGMENTS_MIN,
    INBOX_BYTES_DEFAULT, NAME_BYTES_MAX, SEGMENT_BYTES_DEFAULT, SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN,
    SENDER_BYTES_DEFAULT,
};

/// A node that is being configured. Everything has a default; [`Builder::open`] checks it all.
#[must_use = "nothing happens before `open`"]
#[derive(Debug)]
pub struct Builder {
    directory: PathBuf,
    name: Option<String>,
    bind: String,
    advertise: Option<String>,
    retry: Retry,
    concurrency: usize,
    timeout: Option<Duration>,
    segment_bytes: u64,
    inbox_bytes_max: u64,
    disk_bytes_max: u64,
    sender_bytes_max: u64,
    quota: Quota,
    handlers: Vec<(Registration, bool)>,
}

impl Builder {
    pub(super) fn new(directory: PathBuf) -> Builder {
        Builder {
            directory,
            name: None,
            bind: "tcp://127.0.0.1:0".to_owned(),
            advertise: None,
            retry: Retry::default(),
            concurrency: CONCURRENCY_DEFAULT,
            timeout: Some(Duration::from_secs(60)),
            segment_bytes: SEGMENT_BYTES_DEFAULT,
            inbox_bytes_max: INBOX_BYTES_DEFAULT,
            disk_bytes_max: DISK_BYTES_DEFAULT,
            sender_bytes_max: SENDER_BYTES_DEFAULT,
            quota: Quota::default(),
            handlers: Vec::new(),
        }
    }

    /// What the node calls itself, for people: at most 128 bytes. Default: the name of its directory.
    pub fn name(mut self, name: impl Into<String>) -> Builder {
        self.name = Some(name.into());
        self
    }

    /// Where the node listens, as `tcp://host:port`; port 0 takes a free one. Default: a free port of 127.0.0.1, which
    /// no other machine can reach, and which is another one at the next opening.
    pub fn bind(mut self, address: impl Into<String>) -> Builder {
        self.bind = address.into();
        self
    }

    /// Where peers can reach the node, if that is not where it listens: behind NAT, or bound to every address of the
    /// machine. Port 0 stands for the port that it listens at. Default: where it listens.
    pub fn advertise(mut self, address: impl Into<String>) -> Builder {
        self.advertise = Some(address.into());
        self
    }

    /// How failed handlers are called again. Default: after 500 ms, then 1.5 times as long each time up to 60 s, with up
    /// to a fifth less by jitter; a dead letter after 25 attempts.
    pub fn retry(mut self, retry: Retry) -> Builder {
        self.retry = retry;
        self
    }

    /// How many handlers run at once, 1 to 65,536. Default: 64. With 1, messages are handled in the order in which they
    /// were accepted, but for those that fail.
    pub fn concurrency(mut self, concurrency: usize) -> Builder {
        self.concurrency = concurrency;
        self
    }

    /// How long a handler may take before the attempt counts as failed and is dropped where it is; `None` for as long as
    /// it wants. Default: 60 s; at least 1 ms.
    pub fn handler_timeout(mut self, timeout: Option<Duration>) -> Builder {
        self.timeout = timeout;
        self
    }

    /// Bytes of a new segment of the log: 8 MiB to 1 GiB, a multiple of 4 KiB. Default: 64 MiB. Larger ones are freed
    /// later and roll less often.
    pub fn segment_bytes(mut self, bytes: u64) -> Builder {
        self.segment_bytes = bytes;
        self
    }

    /// Bytes of messages that were accepted and not yet handled, above which peers must wait: at least 4 MiB. Default:
    /// 4 GiB.
    pub fn inbox_bytes(mut self, bytes: u64) -> Builder {
        self.inbox_bytes_max = bytes;
        self
    }

    /// Bytes of the disk that the segments of the log may take together: at least four segments. Default: 64 GiB. Each counts with the
    /// size of a new one. Up to two spare files come beside it, which wait to become segments, and where nothing else helps up to two
    /// segments for what frees the log. Where it is reached, publishing ends with [`Error::DiskQuota`] and peers
    /// must wait; what is there is delivered and handled, and when a segment is free, all goes on.
    pub fn disk_bytes(mut self, bytes: u64) -> Builder {
        self.disk_bytes_max = bytes;
        self
    }

    /// Bytes of the inbox that the messages of one peer may have: above it that peer must wait, and no other. At least 4 MiB.
    /// Default: 2 GiB.
    pub fn sender_bytes(mut self, bytes: u64) -> Builder {
        self.sender_bytes_max = bytes;
        self
    }

    /// What each subscriber may have waiting for it that has no quota of its own, which
    /// [`Administrator::limit`](crate::Administrator::limit) gives it. Default: [`Quota::default`].
    pub fn quota(mut self, quota: Quota) -> Builder {
        self.quota = quota;
        self
    }

    /// Calls `handler` for each message of these topics.
    ///
    /// Its progress is kept under the name `every:topic`, with several topics joined by `+`;
    /// [`Builder::every_named`] gives it another. A handler whose name changes is called again for messages that it had
    /// not finished.
    pub fn every<T: 'static>(self, topics: impl IntoTopics, handler: impl Handler<T>) -> Builder {
        self.add("every", None, topics, Kind::Every, erase(handler))
    }

    /// As [`Builder::every`], under a name of your own.
    pub fn every_named<T: 'static>(
        self,
        name: &str,
        topics: impl IntoTopics,
        handler: impl Handler<T>,
    ) -> Builder {
        self.add("every", Some(name), topics, Kind::Every, erase(handler))
    }

    /// Calls `handler` for the first message of the topic, once in each run of the process. Later ones go to other
    /// handlers, or are parked.
    pub fn once<T: 'static>(self, topic: &str, handler: impl Handler<T>) -> Builder {
        self.add("once", None, topic, Kind::First, erase(handler))
    }

    /// Calls `handler` for the first message of any of these topics, once in each run of the process. Later ones go to
    /// other handlers, or are parked.
    pub fn any<T: 'static>(self, topics: impl IntoTopics, handler: impl Handler<T>) -> Builder {
        self.add("any", None, topics, Kind::First, erase(handler))
    }

    /// Calls `handler` when a message of each of these topics has come, with the first of each in the order of the
    /// topics; once in each run of the process. Until then they wait unhandled, and are delivered again after a restart;
    /// then all of them are done together.
    pub fn all<F, Fut, E>(self, topics: impl IntoTopics, handler: F) -> Builder
    where
        F: Fn(Vec<Envelope>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<HandlerError> + 'static,
    {
        self.add("all", None, topics, Kind::All, erase_all(handler))
    }

    fn add(
        mut self,
        prefix: &str,
        name: Option<&str>,
        topics: impl IntoTopics,
        kind: Kind,
        handler: Box<dyn super::handler::Erased>,
    ) -> Builder {
        let topics = message::collected(&topics);
        let named = name.is_some();
        let name = name.map_or_else(|| default_name(prefix, &topics), str::to_owned);
        self.handlers.push((Registration { name, topics, kind, handler }, named));
        self
    }

    /// Opens the node: takes the directory, recovers its log, listens. Resolves when all that is durable.
    ///
    /// # Errors
    /// [`Error::Option`], [`Error::InvalidAddress`], [`Error::InvalidMessage`] for a handler's topic,
    /// [`Error::DuplicateHandler`], and [`Error::Open`] with what keeps it from opening as its source.
    pub async fn open(self) -> Result<Bus, Error> {
        self.checked()?;
        let name = self.name.clone().unwrap_or_else(|| self.directory_name());
        let directory = self.directory.clone();
        let options = NodeOptions {
            directory: self.directory,
            name,
            bind: self.bind.parse::<Address>()?,
            advertise: self.advertise.map(|address| address.parse::<Address>()).transpose()?,
            retry: self.retry,
            segment_bytes: self.segment_bytes,
            inbox_bytes_max: self.inbox_bytes_max,
            disk_bytes_max: self.disk_bytes_max,
            sender_bytes_max: self.sender_bytes_max,
            quota: self.quota.into(),
            is_alone: false,
            begins_life: false,
        };
        let handlers = self.handlers.into_iter().map(|(registration, _)| registration).collect();
        let registry = Registry::new(handlers, self.concurrency, self.timeout);
        Ok(Bus::new(open(options).await?, &directory, registry))
    }

    /// Whether a node could be opened with these options, as far as that can be said without opening one.
    pub(crate) fn checked(&self) -> Result<(), Error> {
        self.check()?;
        let addresses = [Some(&self.bind), self.advertise.as_ref()];
        addresses.into_iter().flatten().try_for_each(|address| address.parse::<Address>().map(drop))?;
        Ok(())
    }

    fn directory_name(&self) -> String {
        let name = self.directory.file_name().map(|name| name.to_string_lossy().into_owned());
        let mut name = name.unwrap_or_else(|| "node".to_owned());
        while name.len() > NAME_BYTES_MAX {
            name.pop();
        }
        name
    }

    fn check(&self) -> Result<(), Error> {
        let named =
            self.name.iter().map(|name| ("name (bytes)", name.len() as u64, 0, NAME_BYTES_MAX as u64));
        let ranges = [
            ("concurrency", self.concurrency as u64, 1, 65_536),
            ("segment_bytes", self.segment_bytes, SEGMENT_BYTES_MIN, SEGMENT_BYTES_MAX),
            ("inbox_bytes", self.inbox_bytes_max, CREDIT_BYTES, u64::MAX),
            ("sender_bytes", self.sender_bytes_max, CREDIT_BYTES, u64::MAX),
            ("disk_bytes", self.disk_bytes_max, DISK_SEGMENTS_MIN * self.segment_bytes, u64::MAX),
            ("retry.initial_ms", self.retry.initial_ms, 1, 86_400_000),
            ("retry.max_ms", self.retry.max_ms, self.retry.initial_ms, 30 * 86_400_000),
            ("retry.attempts_max", u64::from(self.retry.attempts_max), 1, u64::from(u32::MAX)),
            ("bind (bytes)", self.bind.len() as u64, 1, ADDRESS_BYTES_MAX as u64),
        ];
        for (option, value, min, max) in ranges.into_iter().chain(named) {
            if !(min..=max).contains(&value) {
                let (value, range) = (value.to_string(), format!("{min} to {max}"));
                return Err(OptionOutOfRange { option, value, range }.into());
            }
        }
        let odd = |option, value: String, range: &str| {
            Err(OptionOutOfRange { option, value, range: range.to_owned() }.into())
        };
        if !self.segment_bytes.is_multiple_of(BLOCK_BYTES as u64) {
            return odd("segment_bytes", self.segment_bytes.to_string(), "a multiple of 4096");
        }
        if !(self.retry.factor >= 1.0 && self.retry.factor <= 100.0) {
            return odd("retry.factor", self.retry.factor.to_string(), "1 to 100");
        }
        if self.timeout.is_some_and(|timeout| timeout < Duration::from_millis(1)) {
            return odd("handler_timeout", format!("{:?}", self.timeout), "at least 1 ms, or none");
        }
        self.quota.check()?;
        self.check_handlers()
    }

    fn check_handlers(&self) -> Result<(), Error> {
        let mut names = BTreeSet::new();
        for (handler, named) in &self.handlers {
            message::checked_topics(handler.topics.clone())?;
            if *named && !(1..=NAME_BYTES_MAX).contains(&handler.name.len()) {
                let (value, range) = (handler.name.clone(), format!("1 to {NAME_BYTES_MAX} bytes"));
                return Err(OptionOutOfRange { option: "handler name", value, range }.into());
            }
            if !names.insert(&handler.name) {
                return Err(Error::DuplicateHandler(handler.name.clone()));
            }
        }
        Ok(())
    }
}

/// `every:topic`, cut to what a name may have: with many topics the rest does not matter as long as it is stable.
fn default_name(prefix: &str, topics: &[String]) -> String {
    let mut name = format!("{prefix}:{}", topics.join("+"));
    if name.len() > NAME_BYTES_MAX {
        let tail = format!("~{:08x}", crate::format::checksum::checksum(name.as_bytes()));
        let mut end = NAME_BYTES_MAX - tail.len();
        while !name.is_char_boundary(end) {
            end -= 1;
        }
        name.truncate(end);
        name.push_str(&tail);
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_name_is_cut_and_stays_another_than_its_neighbour() {
        let (a, b) = (vec!["x".repeat(200) + "a"], vec!["x".repeat(200) + "b"]);
        assert_eq!(default_name("every", &a).len(), NAME_BYTES_MAX);
        assert_ne!(default_name("every", &a), default_name("every", &b));
        assert_eq!(default_name("any", &["p".into(), "q".into()]), "any:p+q");
    }
}
