#![doc = include_str!("../README.md")]
#![deny(unsafe_code)]

pub mod bus;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod cli;
#[doc(hidden)]
pub mod engine;
#[doc(hidden)]
pub mod format;
pub mod ids;
#[doc(hidden)]
pub mod io;
pub mod limits;
#[doc(hidden)]
pub mod log;
pub mod manual;
#[doc(hidden)]
pub mod store;
pub mod stores;
#[doc(hidden)]
pub mod time;
#[doc(hidden)]
pub mod wire;

pub use bus::inspect;
pub use bus::{
    AdministerError, Administrator, AtLimit, Batch, Builder, Bus, Commits, Deliveries, Delivery,
    DestinationStatus, DrainReport, Envelope, Error, ErrorClass, FromEnvelope, Handled, Handler,
    HandlerError, Header, IntoTopics, Json, Message, NotDecoded, OwnQuota, Place, Quota, QuotaChange,
    Receipt, Serve, Status, Subscription, Ticket, Traffic, WantedTopic,
};
pub use engine::config::Retry;

pub use ids::{MessageId, NodeId};
pub use stores::{Map, Queue};
