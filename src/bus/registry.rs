//! The handlers of a node, and which of them a message is for.

use std::collections::{BTreeMap, HashMap};

use super::handler::Erased;
use crate::ids::Lsn;

/// For which messages a handler is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// For each.
    Every,
    /// For the first one, in each run of the process.
    First,
    /// Once, for the first one of each of its topics together, in each run of the process.
    All,
}

/// One handler.
pub(super) struct Registration {
    /// The name under which its progress is kept.
    pub(super) name: String,
    pub(super) topics: Vec<String>,
    pub(super) kind: Kind,
    pub(super) handler: Box<dyn Erased>,
}

impl std::fmt::Debug for Registration {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Registration")
            .field("name", &self.name)
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

/// What `First` and `All` handlers have had in this run.
#[derive(Debug, Default)]
struct Had {
    /// For `First`: the message it is called for.
    claimed: Option<Lsn>,
    /// For `All`: the message held for each topic.
    held: BTreeMap<String, Lsn>,
    /// It succeeded, and is not called again.
    done: bool,
}

/// The handlers of one node.
#[derive(Debug)]
pub(super) struct Registry {
    handlers: Vec<Registration>,
    by_topic: HashMap<String, Vec<usize>, foldhash::fast::RandomState>,
    had: Vec<Had>,
    pub(super) concurrency: usize,
    pub(super) timeout: Option<std::time::Duration>,
}

impl Registry {
    pub(super) fn new(
        handlers: Vec<Registration>,
        concurrency: usize,
        timeout: Option<std::time::Duration>,
    ) -> Registry {
        let mut by_topic: HashMap<String, Vec<usize>, _> = HashMap::default();
        for (index, handler) in handlers.iter().enumerate() {
            for topic in &handler.topics {
                by_topic.entry(topic.clone()).or_default().push(index);
            }
        }
        let had = handlers.iter().map(|_| Had::default()).collect();
        Registry { handlers, by_topic, had, concurrency, timeout }
    }

    pub(super) fn handler(&self, index: usize) -> &Registration {
        &self.handlers[index]
    }

    /// The handler of that index, to be called.
    pub(super) fn handler_mut(&mut self, index: usize) -> &mut Registration {
        &mut self.handlers[index]
    }

    /// Nobody polls any more: what was held is no longer.
    pub(super) fn reset(&mut self) {
        for had in &mut self.had {
            had.held.clear();
            if !had.done {
                had.claimed = None;
            }
        }
    }

    /// The handlers that are to be called for message `lsn` with those topics, and are not in `skip`.
    pub(super) fn matching<'t>(
        &mut self,
        lsn: Lsn,
        topics: impl Iterator<Item = &'t str>,
        skip: &[String],
        out: &mut Vec<usize>,
    ) {
        out.clear();
        for topic in topics {
            let Some(indexes) = self.by_topic.get(topic) else { continue };
            for index in indexes {
                let (handler, had) = (&self.handlers[*index], &mut self.had[*index]);
                if out.contains(index) && handler.kind != Kind::All || skip.contains(&handler.name) {
                    continue;
                }
                let wants = match handler.kind {
                    Kind::Every => true,
                    Kind::First => !had.done && *had.claimed.get_or_insert(lsn) == lsn,
                    Kind::All => !had.done && *had.held.entry(topic.to_owned()).or_insert(lsn) == lsn,
                };
                if wants && !out.contains(index) {
                    out.push(*index);
                }
            }
        }
    }

    /// For an `All` handler: the messages to call it for, in the order of its topics, once each has come.
    pub(super) fn complete(&self, index: usize) -> Option<Vec<Lsn>> {
        let (handler, had) = (&self.handlers[index], &self.had[index]);
        handler.topics.iter().map(|topic| had.held.get(topic).copied()).collect()
    }

    /// A handler was called for a message, or several, and succeeded or not.
    pub(super) fn called(&mut self, index: usize, succeeded: bool) {
        let (kind, had) = (self.handlers[index].kind, &mut self.had[index]);
        match kind {
            Kind::Every => {}
            // A failed message comes again, and is still the first.
            Kind::First => had.done |= succeeded,
            Kind::All => {
                had.done |= succeeded;
                had.held.clear();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Envelope;
    use super::super::handler::erase;
    use super::*;

    fn registry(kind: Kind, topics: &[&str]) -> Registry {
        let handler = Registration {
            name: "h".into(),
            topics: topics.iter().map(|t| (*t).to_owned()).collect(),
            kind,
            handler: erase(|_: Envelope| std::future::ready(Ok::<(), String>(()))),
        };
        Registry::new(vec![handler], 1, None)
    }

    fn matching(registry: &mut Registry, lsn: u64, topic: &str) -> usize {
        let mut out = Vec::new();
        registry.matching(Lsn(lsn), std::iter::once(topic), &[], &mut out);
        out.len()
    }

    #[test]
    fn the_first_message_is_first_until_it_succeeds_and_then_there_is_no_other() {
        let mut registry = registry(Kind::First, &["a", "b"]);
        assert_eq!(matching(&mut registry, 1, "b"), 1);
        assert_eq!(matching(&mut registry, 2, "a"), 0);
        registry.called(0, false);
        assert_eq!(matching(&mut registry, 1, "b"), 1);
        registry.called(0, true);
        assert_eq!(matching(&mut registry, 3, "a"), 0);
    }

    #[test]
    fn all_is_complete_when_each_topic_has_come_and_later_ones_are_not_for_it() {
        let mut registry = registry(Kind::All, &["a", "b"]);
        assert_eq!(matching(&mut registry, 1, "b"), 1);
        assert_eq!(matching(&mut registry, 2, "b"), 0);
        assert_eq!(registry.complete(0), None);
        assert_eq!(matching(&mut registry, 3, "a"), 1);
        assert_eq!(registry.complete(0), Some(vec![Lsn(3), Lsn(1)]));
    }

    #[test]
    fn a_handler_of_two_topics_is_called_once_for_a_message_of_both() {
        let mut registry = registry(Kind::Every, &["a", "b"]);
        let mut out = Vec::new();
        registry.matching(Lsn(1), ["a", "b"].into_iter(), &[], &mut out);
        assert_eq!(out, [0]);
        registry.matching(Lsn(1), ["a", "b"].into_iter(), &["h".to_owned()], &mut out);
        assert!(out.is_empty(), "it has succeeded before");
    }
}
