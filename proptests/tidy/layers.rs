//! The layers of the source and what each may see: an import only ever points down.

/// One layer.
pub struct Layer {
    /// A folder or a file below `src`.
    pub name: &'static str,
    /// Whether it has no clock, randomness, system call, thread, async or unordered map.
    pub pure: bool,
    /// The other layers it may name.
    pub below: &'static [&'static str],
}

const fn layer(name: &'static str, pure: bool, below: &'static [&'static str]) -> Layer {
    Layer { name, pure, below }
}

/// Every layer, from the bottom. A new folder below `src` needs a row.
pub const LAYERS: [Layer; 15] = [
    layer("limits", true, &[]),
    layer("ids", true, &["limits"]),
    layer("time", true, &["limits"]),
    layer("format", true, &["limits", "ids", "time"]),
    layer("log", true, &["limits", "ids", "time", "format"]),
    layer("wire", true, &["limits", "ids", "time", "format"]),
    layer("engine", true, &["limits", "ids", "time", "format", "log", "wire"]),
    layer("store", true, &["limits", "ids", "time", "format", "log"]),
    layer("io", false, &["limits", "ids", "time", "format", "log", "wire", "engine", "store"]),
    layer("bus", false, &["limits", "ids", "time", "format", "log", "wire", "engine", "store", "io"]),
    layer("stores", false, &["limits", "ids", "time", "format", "log", "store", "io", "bus"]),
    layer("cli", false, &["limits", "ids", "time", "format", "log", "bus", "stores"]),
    layer("manual", false, &[]),
    layer("lib", false, EVERYTHING),
    layer("main", false, EVERYTHING),
];

const EVERYTHING: &[&str] = &[
    "limits", "ids", "time", "format", "log", "wire", "engine", "store", "io", "bus", "stores", "cli",
    "manual",
];

/// The layer of that name.
pub fn find(name: &str) -> Option<&'static Layer> {
    LAYERS.iter().find(|layer| layer.name == name)
}
