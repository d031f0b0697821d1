//! A wish to get topics, or to get them no longer.

use super::{Bus, Error};
use crate::engine::request::Request;

/// A wish that is on stable storage here. It holds on its own: dropping this changes nothing.
#[derive(Clone, Debug)]
pub struct Subscription {
    bus: Bus,
    address: String,
    topics: Vec<String>,
}

impl Subscription {
    pub(super) fn new(bus: Bus, address: String, topics: Vec<String>) -> Subscription {
        Subscription { bus, address, topics }
    }

    /// The node it is about.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The topics it is about.
    #[must_use]
    pub fn topics(&self) -> &[String] {
        &self.topics
    }

    /// Resolves when the publisher has the wish on stable storage: from then on every message of these topics comes, or
    /// after an unsubscription none. It waits for as long as the publisher is away.
    ///
    /// # Errors
    /// [`Error::Closed`], [`Error::Storage`].
    pub async fn confirmed(&self) -> Result<(), Error> {
        let (address, topics) = (self.address.clone(), self.topics.clone());
        self.bus.request(Request::Confirmed { address, topics }).await
    }
}
