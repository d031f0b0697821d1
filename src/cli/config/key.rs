//! What can be set, and the names that it has.

/// What a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The path of a directory. One that is not absolute and stands in a file begins where the file lies.
    Directory,
    /// A text.
    Text,
    /// A number of bytes.
    Bytes,
}

/// One setting.
#[derive(Debug, PartialEq, Eq)]
pub struct Key {
    /// Its name in the file, and the id of the argument that sets it.
    pub name: &'static str,
    /// What its value is.
    pub kind: Kind,
    /// What it is for.
    pub about: &'static str,
    /// What holds if it is not set, in words.
    pub default: &'static str,
    /// A value that it may have, as it stands in the file.
    pub example: &'static str,
}

impl Key {
    /// The variable of the environment.
    pub fn variable(&self) -> String {
        format!("{PREFIX}{}", self.name.to_uppercase())
    }

    /// The flag.
    pub fn flag(&self) -> String {
        format!("--{}", self.name.replace('_', "-"))
    }
}

/// How the variables begin.
pub const PREFIX: &str = "RESOLUTE_";

/// The variable that names the file.
pub const FILE_VARIABLE: &str = "RESOLUTE_CONFIG";

/// All of them.
pub const KEYS: [Key; 11] = [
    Key {
        name: "dir",
        kind: Kind::Directory,
        about: "The data directory of the node; in the file, beginning where the file lies if it is not absolute.",
        default: "none: it must be given",
        example: "\"/var/lib/orders\"",
    },
    Key {
        name: "bind",
        kind: Kind::Text,
        about: "Where the node listens, as tcp://host:port; port 0 takes a free one.",
        default: "must be given to publish and subscribe; tcp://127.0.0.1:0 for send",
        example: "\"tcp://0.0.0.0:7450\"",
    },
    Key {
        name: "advertise",
        kind: Kind::Text,
        about: "Where peers can reach the node, if that is not where it listens.",
        default: "where it listens",
        example: "\"tcp://orders.internal:7450\"",
    },
    Key {
        name: "name",
        kind: Kind::Text,
        about: "What the node calls itself, for people: at most 128 bytes.",
        default: "the name of its directory",
        example: "\"orders\"",
    },
    Key {
        name: "segment_bytes",
        kind: Kind::Bytes,
        about: "Bytes of a new segment of the log: 8 MiB to 1 GiB, a multiple of 4 KiB.",
        default: "67108864 (64 MiB)",
        example: "67_108_864",
    },
    Key {
        name: "inbox_bytes",
        kind: Kind::Bytes,
        about: "Bytes of messages accepted and not yet handled, above which peers must wait: at least 4 MiB.",
        default: "4294967296 (4 GiB)",
        example: "4_294_967_296",
    },
    Key {
        name: "disk_bytes",
        kind: Kind::Bytes,
        about: "Bytes of the disk that the segments of the log may take: at least four of them.",
        default: "68719476736 (64 GiB)",
        example: "68_719_476_736",
    },
    Key {
        name: "sender_bytes",
        kind: Kind::Bytes,
        about: "Bytes of the inbox that the messages of one peer may have, above which it must wait: at least 4 MiB.",
        default: "2147483648 (2 GiB)",
        example: "2_147_483_648",
    },
    Key {
        name: "backlog_bytes",
        kind: Kind::Bytes,
        about: "Bytes that may wait for one subscriber: at least 4 MiB.",
        default: "17179869184 (16 GiB)",
        example: "17_179_869_184",
    },
    Key {
        name: "at_limit",
        kind: Kind::Text,
        about: "What happens then: refuse what would be published to it, park it, or evict it after its lease.",
        default: "refuse",
        example: "\"refuse\"",
    },
    Key {
        name: "lease",
        kind: Kind::Text,
        about: "For how long a subscriber may be not connected before it is evicted: 90s, 15m, 12h or 7d.",
        default: "for ever",
        example: "\"30d\"",
    },
];

/// The setting of that name.
pub fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::{
        BACKLOG_BYTES_DEFAULT, DISK_BYTES_DEFAULT, INBOX_BYTES_DEFAULT, NAME_BYTES_MAX,
        SEGMENT_BYTES_DEFAULT, SENDER_BYTES_DEFAULT,
    };

    #[test]
    fn what_is_said_of_defaults_is_so() {
        let default = |name| find(name).unwrap().default;
        assert_eq!(default("segment_bytes"), format!("{SEGMENT_BYTES_DEFAULT} (64 MiB)"));
        assert_eq!(default("inbox_bytes"), format!("{INBOX_BYTES_DEFAULT} (4 GiB)"));
        assert_eq!(default("disk_bytes"), format!("{DISK_BYTES_DEFAULT} (64 GiB)"));
        assert_eq!(default("sender_bytes"), format!("{SENDER_BYTES_DEFAULT} (2 GiB)"));
        assert_eq!(default("backlog_bytes"), format!("{BACKLOG_BYTES_DEFAULT} (16 GiB)"));
        assert!(find("name").unwrap().about.contains(&format!("{NAME_BYTES_MAX} bytes")));
    }
}
