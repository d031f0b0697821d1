//! The bodies of the records that a node logs for itself.
