//! Who takes part: what each node publishes, and whose messages it subscribes to.

/// One node.
pub struct Part {
    pub name: &'static str,
    /// Whose topics it subscribes to.
    pub sources: &'static [&'static str],
    pub publishes: bool,
}

/// A publisher, two that publish and subscribe to each other, and one that only subscribes.
pub const CAST: [Part; 4] = [
    Part { name: "orders", sources: &[], publishes: true },
    Part { name: "stock", sources: &["orders", "billing"], publishes: true },
    Part { name: "billing", sources: &["orders", "stock"], publishes: true },
    Part { name: "audit", sources: &["orders", "stock", "billing"], publishes: false },
];

/// Whose directory lies on the small disk: it publishes and subscribes, so both are met by a full disk.
pub const ON_THE_SMALL_DISK: usize = 2;

/// Who stands still while that disk fills up: what it is owed keeps the log from being freed.
pub const OWED_MEANWHILE: usize = 3;

/// The place of a node in the cast.
pub fn index(name: &str) -> usize {
    CAST.iter().position(|part| part.name == name).unwrap()
}

/// How many subscribe to what a node publishes.
pub fn subscribers(name: &str) -> usize {
    CAST.iter().filter(|part| part.sources.contains(&name)).count()
}

/// The topic of what is handled as it comes.
pub fn topic(publisher: &str) -> String {
    publisher.to_owned()
}

/// The topic of what nobody handles before the end.
pub fn kept_topic(publisher: &str) -> String {
    format!("{publisher}.kept")
}
