//! The three maps of one of the ancestor's nodes.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use super::envelope::{Meaning, Wish, meaning};
use super::source::{Complaints, Source};
use crate::cli::exit::{Exit, Failure, chain};
use crate::cli::import::intake::{Incoming, Intake};
use crate::cli::import::ledger::Key;
use crate::cli::import::{as_json, sentence, warn_of_doubles};
use crate::cli::output::Output;
use crate::cli::runtime::block_on;
use crate::cli::table::plain;
use crate::cli::transfer_arguments::ImportLegacy;
use crate::stores::legacy::Map;

/// Who subscribed to what at the node: topics by address.
type Subscriptions = BTreeMap<String, BTreeSet<String>>;

/// A node that is taken over.
struct TakeOver {
    intake: Intake,
    complaints: Complaints,
    subscriptions: Subscriptions,
    /// Topics that the node had asked others for, or to be rid of.
    wishes: u64,
}

pub fn run(arguments: &ImportLegacy) -> Result<(), Failure> {
    let read = |name: &str| Source::read(&arguments.from.join(name));
    let (subscriptions, outgoing, incoming) =
        (read("subscriptions.shulz")?, read("outgoing.shulz")?, read("incoming.shulz")?);
    if subscriptions.is_none() && outgoing.is_none() && incoming.is_none() {
        let text = format!(
            "there is neither a subscriptions.shulz, nor an outgoing.shulz, nor an incoming.shulz in {}",
            arguments.from.display()
        );
        return Err(Failure::new(Exit::NotFound, text));
    }
    let mut node = TakeOver {
        intake: Intake::open(&arguments.dir, arguments.how.check, arguments.how.again)?,
        complaints: Complaints::default(),
        subscriptions: Subscriptions::new(),
        wishes: 0,
    };
    block_on(async {
        let outcome = node.all(subscriptions.as_ref(), outgoing.as_ref(), incoming.as_ref()).await;
        let address = node.intake.address().await;
        let TakeOver { intake, complaints, subscriptions, wishes } = node;
        let counts = intake.counts();
        let closed = intake.close().await;
        outcome.map_err(|failure| {
            failure.while_doing(&format!("after {} messages were imported", counts.imported))
        })?;
        closed?;
        let commands = commands(&subscriptions, address?.as_deref());
        let mut out = Output::new();
        if arguments.how.json {
            let more = json!({
                "wishes": wishes,
                "refused": complaints.refused,
                "damaged": complaints.damaged,
                "subscriptions": commands.iter().map(|(address, topics, command)| {
                    json!({ "address": address, "topics": topics, "command": command })
                }).collect::<Vec<_>>(),
            });
            out.json(&as_json(counts, &arguments.how, more))?;
        } else {
            out.line(&sentence(counts, arguments.how.check, "message"))?;
            if wishes > 0 {
                out.line(&format!("{wishes} wishes that the node had told nobody yet are its own again"))?;
            }
            if !commands.is_empty() {
                out.line("these subscribed here, and must do so again:")?;
            }
            for (_, _, command) in &commands {
                out.line(&format!("  {}", plain(command)))?;
            }
        }
        out.finish()?;
        warn_of_doubles(counts);
        complaints.verdict()
    })
}

/// What each of those who subscribed has to run. A node takes a subscription of nobody but the node that subscribes and has proved
/// to be it, so that nobody can do it for them.
fn commands<'s>(
    subscriptions: &'s Subscriptions,
    here: Option<&str>,
) -> Vec<(&'s String, &'s BTreeSet<String>, String)> {
    let here = here.unwrap_or("ADDRESS_OF_THIS_NODE");
    let each = subscriptions.iter().map(|(address, topics)| {
        let topics_quoted: Vec<String> = topics.iter().map(|topic| quoted(topic)).collect();
        let (bind, from, wanted) = (quoted(address), quoted(here), topics_quoted.join(" "));
        (
            address,
            topics,
            format!("resolute subscribe --dir ITS_DIRECTORY --bind {bind} --from {from} -- {wanted}"),
        )
    });
    each.collect()
}

/// As a shell takes it for one word.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:,+@%=".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

impl TakeOver {
    async fn all(
        &mut self,
        subscriptions: Option<&Source>,
        outgoing: Option<&Source>,
        incoming: Option<&Source>,
    ) -> Result<(), Failure> {
        self.intake.settle().await?;
        if let Some(source) = subscriptions {
            self.subscriptions(source);
        }
        if let Some(source) = outgoing {
            self.outgoing(source).await?;
        }
        if let Some(source) = incoming {
            self.incoming(source).await?;
        }
        self.intake.flush().await
    }

    /// Topics, each with the addresses that subscribed to it.
    fn subscriptions(&mut self, source: &Source) {
        let map = Map::read(&source.bytes);
        self.complaints.damaged(source, &map.damage);
        for entry in map.entries {
            match serde_json::from_str::<BTreeMap<String, serde::de::IgnoredAny>>(entry.value) {
                Ok(addresses) => {
                    for address in addresses.into_keys() {
                        self.subscriptions.entry(address).or_default().insert(entry.key.to_owned());
                    }
                }
                Err(error) => {
                    let why = format!("no addresses are subscribed to {:?}: {error}", entry.key);
                    self.complaints.refused(source, entry.offset, &why);
                }
            }
        }
    }

    async fn outgoing(&mut self, source: &Source) -> Result<(), Failure> {
        let map = Map::read(&source.bytes);
        self.complaints.damaged(source, &map.damage);
        for entry in map.entries {
            match meaning(entry.value) {
                Ok(Meaning::Message(sent)) => {
                    if sent.addresses.is_empty() {
                        self.complaints.refused(source, entry.offset, "it is sent to no address");
                    }
                    for address in &sent.addresses {
                        self.take(source, entry.offset, sent.to(Some(address))).await?;
                    }
                }
                Ok(Meaning::Wish(wish)) => self.wish(source, entry.offset, &wish).await?,
                Err(why) => self.complaints.refused(source, entry.offset, &why),
            }
        }
        Ok(())
    }

    async fn incoming(&mut self, source: &Source) -> Result<(), Failure> {
        let map = Map::read(&source.bytes);
        self.complaints.damaged(source, &map.damage);
        for entry in map.entries {
            match meaning(entry.value) {
                Ok(Meaning::Message(sent)) => self.take(source, entry.offset, sent.to(None)).await?,
                // Somebody's, that the node had not come to yet.
                Ok(Meaning::Wish(Wish { from: Some(from), topics, is_wanted, .. })) => {
                    let theirs = self.subscriptions.entry(from).or_default();
                    for topic in topics {
                        if is_wanted {
                            theirs.insert(topic)
                        } else {
                            theirs.remove(&topic)
                        };
                    }
                }
                Ok(Meaning::Wish(_)) => {
                    self.complaints.refused(source, entry.offset, "it does not say who subscribes");
                }
                Err(why) => self.complaints.refused(source, entry.offset, &why),
            }
        }
        self.subscriptions.retain(|_, topics| !topics.is_empty());
        Ok(())
    }

    async fn take(&mut self, source: &Source, offset: usize, incoming: Incoming) -> Result<(), Failure> {
        // Each has its id.
        let nameless = || Key::of(&[]);
        if let Err(error) = self.intake.take(incoming, &nameless).await? {
            self.complaints.refused(source, offset, &chain(&error));
        }
        Ok(())
    }

    async fn wish(&mut self, source: &Source, offset: usize, wish: &Wish) -> Result<(), Failure> {
        for address in &wish.addresses {
            match self.intake.wish(&wish.id, address, &wish.topics, wish.is_wanted).await? {
                Ok(is_new) => self.wishes += u64::from(is_new),
                Err(error) => self.complaints.refused(source, offset, &chain(&error)),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_written_as_a_shell_takes_it() {
        let topics = |topics: &[&str]| topics.iter().map(|topic| (*topic).to_owned()).collect();
        let subscriptions =
            Subscriptions::from([("tcp://a:1".to_owned(), topics(&["it's", "weather update"]))]);
        let (_, _, command) = commands(&subscriptions, None).remove(0);
        let expected = "resolute subscribe --dir ITS_DIRECTORY --bind tcp://a:1 --from ADDRESS_OF_THIS_NODE -- 'it'\\''s' 'weather update'";
        assert_eq!(command, expected);
    }
}
