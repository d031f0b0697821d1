//! Messages as lines of JSON.

use std::collections::BTreeMap;
use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::{Value, json};

use crate::bus::Envelope;

/// One message, as `subscribe` and the lists write it.
#[derive(Debug, Serialize)]
pub struct MessageLine {
    /// Null if it is not known who published it, which is only so in what is left of a damaged log.
    id: Option<String>,
    topics: Vec<String>,
    published_at: String,
    headers: BTreeMap<String, Value>,
    data: String,
    /// Only if `data` is not the text itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    encoding: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reply_to: Option<String>,
    /// Only of commands: sent to this node, not published.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    command: bool,
}

impl MessageLine {
    pub fn new(message: &Envelope) -> MessageLine {
        MessageLine { id: Some(message.id().to_string()), ..MessageLine::nameless(message) }
    }

    /// All of it but its name.
    pub fn nameless(message: &Envelope) -> MessageLine {
        let (data, encoding) = match std::str::from_utf8(message.payload()) {
            Ok(text) => (text.to_owned(), None),
            Err(_) => (STANDARD.encode(message.payload()), Some("base64")),
        };
        MessageLine {
            id: None,
            topics: message.topics().map(str::to_owned).collect(),
            published_at: time(message.published_at()),
            headers: headers(message),
            data,
            encoding,
            reply_to: message.reply_to().map(str::to_owned),
            command: message.is_command(),
        }
    }
}

/// By name: a text, or `{"base64": …}` where the value is none; a list of these where a name comes more than once.
fn headers(message: &Envelope) -> BTreeMap<String, Value> {
    let mut found: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for header in message.headers() {
        let value = match std::str::from_utf8(header.value) {
            Ok(text) => Value::from(text),
            Err(_) => json!({ "base64": STANDARD.encode(header.value) }),
        };
        found.entry(header.name.to_owned()).or_default().push(value);
    }
    let one = |mut values: Vec<Value>| if values.len() == 1 { values.remove(0) } else { Value::from(values) };
    found.into_iter().map(|(name, values)| (name, one(values))).collect()
}

/// A time as RFC 3339 has it, in UTC.
pub fn time(at: SystemTime) -> String {
    // A stamp that a log holds may be any number of nanoseconds; what no calendar has is shown as the number.
    match jiff::Timestamp::try_from(at) {
        Ok(at) => at.to_string(),
        Err(_) => format!("{at:?}"),
    }
}
