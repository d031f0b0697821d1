//! Where the nodes of one history lie, and where they listen.

use std::path::{Path, PathBuf};

use resolute::{Builder, Bus};

use super::addresses::free_port;

/// The publisher's messages.
pub const TOPIC: &str = "tick";

/// Names of the data directories.
const PUBLISHER: &str = "publisher";
const SUBSCRIBER: &str = "subscriber";

/// Which nodes lie on the disk that loses its power. The other one, if there is one, has an ordinary directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    PublisherAlone,
    SubscriberAlone,
    Both,
}

impl Layout {
    /// Each has its turn.
    pub fn of(seed: u64) -> Layout {
        [Layout::PublisherAlone, Layout::SubscriberAlone, Layout::Both][(seed % 3) as usize]
    }

    /// What a cut is counted as.
    pub fn counted_as(self) -> &'static str {
        match self {
            Layout::PublisherAlone => "cuts of the publisher alone",
            Layout::SubscriberAlone => "cuts of the subscriber alone",
            Layout::Both => "cuts of both",
        }
    }
}

/// One node's place.
#[derive(Clone, Debug)]
pub struct Place {
    pub directory: PathBuf,
    pub port: u16,
    /// Whether it lies on the disk that loses its power.
    pub is_mounted: bool,
}

impl Place {
    /// A node with segments as small as they may be: the log rolls, is freed and recycled while all this goes on.
    pub fn builder(&self) -> Builder {
        Bus::builder(&self.directory).bind(self.address()).segment_bytes(resolute::limits::SEGMENT_BYTES_MIN)
    }

    pub fn address(&self) -> String {
        format!("tcp://127.0.0.1:{}", self.port)
    }

    /// Whether `file`, as the disk calls it, is a segment of this node's log.
    pub fn has_segment(&self, file: &str) -> bool {
        let name = self.directory.file_name().and_then(|name| name.to_str());
        file.split_once('/').is_some_and(|(directory, file)| {
            Some(directory) == name && resolute::format::segment::segment_number(file).is_some()
        })
    }
}

/// Both nodes' places.
#[derive(Clone, Debug)]
pub struct Scene {
    pub layout: Layout,
    pub publisher: Place,
    pub subscriber: Place,
}

impl Scene {
    pub fn new(layout: Layout, mounted: &Path, ordinary: &Path) -> Scene {
        let place = |name: &str, is_mounted: bool| {
            let directory = if is_mounted { mounted } else { ordinary }.join(name);
            Place { directory, port: free_port(), is_mounted }
        };
        Scene {
            layout,
            publisher: place(PUBLISHER, layout != Layout::SubscriberAlone),
            subscriber: place(SUBSCRIBER, layout != Layout::PublisherAlone),
        }
    }
}
