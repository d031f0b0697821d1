//! A message as the ancestor kept it.

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::bus::Message;
use crate::cli::import::intake::Incoming;
use crate::cli::import::line::time;

/// The topics with which the ancestor's nodes asked each other for something.
const SUBSCRIBE: &str = "_subscribe";
const UNSUBSCRIBE: &str = "_unsubscribe";
const REMOVE_DESTINATION: &str = "_removedestination";

/// See the module.
#[derive(Debug, Deserialize)]
pub struct Envelope<'a> {
    id: String,
    keys: OneOrMore,
    addresses: OneOrMore,
    sent: Option<String>,
    #[serde(borrow, default, deserialize_with = "written")]
    data: Option<&'a RawValue>,
}

/// What is there, null too.
fn written<'de, D: Deserializer<'de>>(from: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(from).map(Some)
}

/// The ancestor wrote a list, or the one thing that would be in it.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum OneOrMore {
    One(String),
    More(Vec<String>),
}

impl OneOrMore {
    fn into_vec(self) -> Vec<String> {
        match self {
            OneOrMore::One(one) => vec![one],
            OneOrMore::More(more) => more,
        }
    }
}

/// What a node asked another for.
#[derive(Debug, Deserialize)]
struct Asked {
    keys: OneOrMore,
    address: Option<String>,
}

/// What an envelope is to a node of today.
#[derive(Debug)]
pub enum Meaning {
    /// A message.
    Message(Sent),
    /// Who sent it wants topics, or wants them no longer.
    Wish(Wish),
}

/// A message, and the addresses that it was sent to.
#[derive(Debug)]
pub struct Sent {
    pub addresses: Vec<String>,
    id: String,
    topics: Vec<String>,
    message: Message,
    sent: Option<std::time::SystemTime>,
}

/// Topics that somebody asked for.
#[derive(Debug)]
pub struct Wish {
    pub id: String,
    /// Whom they were asked of.
    pub addresses: Vec<String>,
    /// Who asked.
    pub from: Option<String>,
    pub topics: Vec<String>,
    pub is_wanted: bool,
}

impl Sent {
    /// The message, on its way to one of the addresses, or to this node itself.
    pub fn to(&self, address: Option<&str>) -> Incoming {
        Incoming {
            origin: Some(self.id.clone()),
            to: address.map(str::to_owned),
            topics: self.topics.clone(),
            message: self.message.clone(),
            published_at: self.sent,
        }
    }
}

/// What an envelope means, or why nothing.
pub fn meaning(envelope: &str) -> Result<Meaning, String> {
    let why = |error: serde_json::Error| format!("it is no envelope: {error}");
    let Envelope { id, keys, addresses, sent, data } = serde_json::from_str(envelope).map_err(why)?;
    let (topics, addresses) = (keys.into_vec(), addresses.into_vec());
    // Where there was nothing to say, JavaScript says nothing, which is not null.
    let data = data.map_or("", RawValue::get);
    match topics.first().map(String::as_str) {
        Some(asked @ (SUBSCRIBE | UNSUBSCRIBE)) => {
            let Asked { keys, address } = serde_json::from_str(data).map_err(why)?;
            let (topics, is_wanted) = (keys.into_vec(), asked == SUBSCRIBE);
            Ok(Meaning::Wish(Wish { id, addresses, from: address, topics, is_wanted }))
        }
        Some(REMOVE_DESTINATION) => {
            Err("it asks a node to forget who sent it, which is not done with a message".to_owned())
        }
        _ => {
            let sent = sent.as_deref().map(time).transpose()?;
            let message = Message::new(data.to_owned()).header("content-type", "application/json");
            Ok(Meaning::Message(Sent { addresses, id, topics, message, sent }))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_is_taken_as_it_was_written() {
        for (data, payload) in [
            (r#","data":{"b":1,"a":"Zo\u00eb"}"#, r#"{"b":1,"a":"Zo\u00eb"}"#),
            (r#","data":"CLOUDY""#, r#""CLOUDY""#),
            (r#","data":null"#, "null"),
            ("", ""),
        ] {
            let text =
                format!(r#"{{"id":"i","keys":["a","b"],"addresses":["tcp://a:1","tcp://b:1"]{data}}}"#);
            let Ok(Meaning::Message(sent)) = meaning(&text) else { panic!("{text}") };
            assert_eq!(sent.addresses, ["tcp://a:1", "tcp://b:1"]);
            let one = sent.to(Some("tcp://a:1"));
            assert_eq!(
                (one.topics, one.origin.as_deref()),
                (vec!["a".to_owned(), "b".to_owned()], Some("i"))
            );
            assert_eq!(one.message, Message::new(payload).header("content-type", "application/json"));
        }
    }

    #[test]
    fn what_nodes_asked_each_other_for_is_no_message() {
        // The ancestor wrote the address alone here, and not in a list.
        let text = r#"{"id":"i","keys":["_subscribe"],"addresses":"tcp://web:1","data":{"keys":["a"],"address":"tcp://me:1"}}"#;
        let Ok(Meaning::Wish(wish)) = meaning(text) else { panic!() };
        assert_eq!(
            (wish.addresses, wish.topics, wish.is_wanted),
            (vec!["tcp://web:1".to_owned()], vec!["a".to_owned()], true)
        );
        assert_eq!(wish.from.as_deref(), Some("tcp://me:1"));
        assert!(meaning(&text.replace("_subscribe", "_removedestination")).unwrap_err().contains("forget"));
        assert!(meaning(r#"{"id":"i"}"#).unwrap_err().contains("no envelope"));
    }
}
