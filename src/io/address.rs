//! Addresses as people write them: `tcp://host:port`.

use std::fmt;
use std::net::{SocketAddr, ToSocketAddrs};
use std::str::FromStr;

use crate::limits::ADDRESS_BYTES_MAX;

/// Why a text is not an address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not an address: {reason} (an address is written tcp://host:port)")]
pub struct NotAnAddress {
    /// The text.
    pub text: String,
    /// What is wrong with it.
    pub reason: &'static str,
}

/// An address of a node, checked.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    host: String,
    port: u16,
}

impl FromStr for Address {
    type Err = NotAnAddress;

    fn from_str(text: &str) -> Result<Address, NotAnAddress> {
        let not = |reason| NotAnAddress { text: text.to_owned(), reason };
        if text.len() > ADDRESS_BYTES_MAX {
            return Err(not("it is too long"));
        }
        let rest = text.strip_prefix("tcp://").ok_or_else(|| not("it does not begin with tcp://"))?;
        let (host, port) = rest.rsplit_once(':').ok_or_else(|| not("the port is missing"))?;
        let port = port.parse().map_err(|_| not("the port is no number up to 65535"))?;
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let odd = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '/' | '@' | '[' | ']');
        if bare.is_empty() || bare.contains(odd) || bare.contains(':') && bare == host {
            return Err(not("the host is missing or odd"));
        }
        Ok(Address { host: bare.to_owned(), port })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "tcp://[{}]:{}", self.host, self.port)
        } else {
            write!(f, "tcp://{}:{}", self.host, self.port)
        }
    }
}

impl Address {
    /// This machine, for itself alone, at any port.
    #[must_use]
    pub fn loopback() -> Address {
        Address { host: "127.0.0.1".to_owned(), port: 0 }
    }

    /// The same host with another port.
    #[must_use]
    pub fn with_port(&self, port: u16) -> Address {
        Address { port, ..self.clone() }
    }

    /// The port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Whether it stands for every address of the machine, so that no peer can dial it.
    #[must_use]
    pub fn is_unspecified(&self) -> bool {
        self.host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_unspecified())
    }

    /// The socket addresses it stands for now. Blocks while names are looked up.
    ///
    /// # Errors
    /// The name cannot be looked up.
    pub fn resolve(&self) -> std::io::Result<Vec<SocketAddr>> {
        (self.host.as_str(), self.port).to_socket_addrs().map(Iterator::collect)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_read_back_as_they_are_written() {
        for text in ["tcp://127.0.0.1:7450", "tcp://web.internal:1", "tcp://[::1]:65535"] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_no_address_is_told_why() {
        for text in [
            "",
            "tcp://",
            "http://a:1",
            "tcp://a",
            "tcp://a:x",
            "tcp://a:70000",
            "tcp://:1",
            "tcp://a/b:1",
            "tcp://::1:1",
        ] {
            assert!(text.parse::<Address>().is_err(), "{text}");
        }
        let error = "a:1".parse::<Address>().unwrap_err().to_string();
        assert!(error.contains("tcp://host:port"), "{error}");
    }
}
