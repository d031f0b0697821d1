//! A line of NDJSON as a message.

use std::collections::BTreeMap;
use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::intake::{Incoming, ORIGIN};
use crate::bus::Message;

/// A line as `export` writes it. Other keys are refused: what they say would be lost.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    id: Option<String>,
    place: Option<Place>,
    destination: Option<String>,
    topics: Vec<String>,
    published_at: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, Values>,
    data: String,
    encoding: Option<String>,
    reply_to: Option<String>,
    // What concerns only the node that the line comes from, in the words of `export` and of the lists.
    #[serde(rename = "command")]
    _command: Option<IgnoredAny>,
    #[serde(rename = "node")]
    _node: Option<IgnoredAny>,
    #[serde(rename = "stream")]
    _stream: Option<IgnoredAny>,
    #[serde(rename = "position")]
    _position: Option<IgnoredAny>,
    #[serde(rename = "handlers")]
    _handlers: Option<IgnoredAny>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Place {
    Incoming,
    Parked,
    Dead,
    Outgoing,
}

/// The value of a header, or those of several of one name.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Values {
    One(Value),
    Several(Vec<Value>),
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Value {
    Text(String),
    Bytes { base64: String },
}

/// The message that a line is, or why it is none.
pub fn parsed(line: &[u8]) -> Result<Incoming, String> {
    // Which line it is, whoever reads it here does not know.
    let why = |error: serde_json::Error| error.to_string().replace(" at line 1 column ", " at byte ");
    let line: Line = serde_json::from_slice(line).map_err(why)?;
    let to = match (line.place, line.destination) {
        (Some(Place::Outgoing) | None, Some(address)) if !address.is_empty() => Some(address),
        (Some(Place::Outgoing), _) => {
            return Err("it is outgoing, and nobody knows where to: it has no destination".to_owned());
        }
        (Some(_), None) => None,
        (Some(_), Some(_)) => return Err("it has a destination, and is not outgoing".to_owned()),
        (None, _) => return Err("it says neither its place nor a destination".to_owned()),
    };
    let data = match line.encoding.as_deref() {
        None => line.data.into_bytes(),
        Some("base64") => decoded(&line.data)?,
        Some(other) => return Err(format!("the encoding {other:?} is not known: base64 is, or none")),
    };
    let published_at = line.published_at.as_deref().map(time).transpose()?;
    let mut message = Message::new(data);
    let mut origin = line.id.filter(|id| !id.is_empty());
    for (name, values) in line.headers {
        let values = match values {
            Values::One(value) => vec![value],
            Values::Several(values) => values,
        };
        for value in values {
            let value = match value {
                Value::Text(text) => text.into_bytes(),
                Value::Bytes { base64 } => decoded(&base64)?,
            };
            if name == ORIGIN {
                origin = String::from_utf8(value).ok().or(origin);
            } else {
                message = message.header(&name, value);
            }
        }
    }
    if let Some(address) = line.reply_to {
        message = message.reply_to(address);
    }
    Ok(Incoming { origin, to, topics: line.topics, message, published_at })
}

fn decoded(text: &str) -> Result<Vec<u8>, String> {
    STANDARD.decode(text).map_err(|error| format!("what is to be base64 is not: {error}"))
}

/// A time in RFC 3339.
pub fn time(text: &str) -> Result<SystemTime, String> {
    let at: jiff::Timestamp = text.parse().map_err(|error| format!("{text:?} is not a time: {error}"))?;
    let since = u64::try_from(at.as_nanosecond());
    since
        .map(|since| SystemTime::UNIX_EPOCH + std::time::Duration::from_nanos(since))
        .map_err(|_| format!("{text:?} is before 1970 or after 2554, which no message is"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(line: &str) -> String {
        parsed(line.as_bytes()).unwrap_err()
    }

    #[test]
    fn a_line_needs_a_place_topics_and_data() {
        let least = parsed(br#"{"destination":"tcp://a:1","topics":["t"],"data":""}"#).unwrap();
        assert_eq!((least.origin, least.to.as_deref()), (None, Some("tcp://a:1")));
        assert!(parsed(br#"{"place":"parked","topics":["t"],"data":""}"#).unwrap().to.is_none());
        assert!(refused(r#"{"topics":["t"],"data":""}"#).contains("neither its place nor a destination"));
        assert!(
            refused(r#"{"place":"outgoing","destination":"","topics":["t"],"data":""}"#)
                .contains("nobody knows")
        );
        assert!(
            refused(r#"{"place":"dead","destination":"tcp://a:1","topics":[],"data":""}"#)
                .contains("not outgoing")
        );
        assert!(refused(r#"{"place":"incoming","topic":"t","data":""}"#).contains("unknown field `topic`"));
        assert!(refused(r#"{"place":"incoming","topics":["t"]}"#).contains("missing field `data`"));
    }

    #[test]
    fn bytes_and_headers_come_back_as_they_were() {
        let line = br#"{"place":"incoming","topics":["t"],"data":"/wA=","encoding":"base64",
            "headers":{"a":"x","b":[{"base64":"/w=="},"y"]},"reply_to":"tcp://a:1","published_at":"2026-11-23T09:37:59.457Z"}"#;
        let found = parsed(line).unwrap();
        let expected = Message::new(vec![0xff, 0]).header("a", "x").header("b", vec![0xff]).header("b", "y");
        assert_eq!(found.message, expected.reply_to("tcp://a:1"));
        let since = found.published_at.unwrap().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        assert_eq!(since.as_millis(), 1_795_426_679_457);
        for (key, value) in
            [("data", "*"), ("published_at", "yesterday"), ("published_at", "1969-12-31T00:00:00Z")]
        {
            let line = serde_json::json!({"place":"incoming","topics":["t"],"data":"","encoding":"base64", key: value});
            assert!(parsed(line.to_string().as_bytes()).is_err(), "{value}");
        }
    }

    #[test]
    fn what_came_from_elsewhere_before_keeps_its_first_name() {
        let line = br#"{"id":"second","place":"incoming","topics":["t"],"data":"","headers":{"resolute-imported-from":"first"}}"#;
        assert_eq!(parsed(line).unwrap().origin.as_deref(), Some("first"));
    }
}
