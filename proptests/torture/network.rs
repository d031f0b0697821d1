//! How the nodes reach each other, and what can be done to that.

use std::path::Path;
use std::process::Command;

use super::cast::CAST;
use super::door::{Door, Passes};
use super::fault::Fault;
use super::namespaces::Namespaces;

/// See the module.
pub enum Network {
    Namespaces(Namespaces),
    /// Loopback; before each node is a door, and its own port behind it.
    Loopback(Vec<(Door, u16, u16)>),
}

impl Network {
    pub fn on_loopback() -> Result<Network, String> {
        let doors = CAST.iter().map(|_| {
            let (outside, inside) = (free_port()?, free_port()?);
            Ok((Door::open(outside, inside)?, outside, inside))
        });
        Ok(Network::Loopback(doors.collect::<Result<_, String>>()?))
    }

    /// Where a node listens.
    pub fn bind(&self, node: usize) -> String {
        match self {
            Network::Namespaces(_) => Namespaces::address(node),
            Network::Loopback(doors) => format!("tcp://127.0.0.1:{}", doors[node].2),
        }
    }

    /// Where others find it.
    pub fn address(&self, node: usize) -> String {
        match self {
            Network::Namespaces(_) => Namespaces::address(node),
            Network::Loopback(doors) => format!("tcp://127.0.0.1:{}", doors[node].1),
        }
    }

    pub fn command(&self, node: usize, program: &Path) -> Command {
        match self {
            Network::Namespaces(namespaces) => namespaces.command(node, program),
            Network::Loopback(_) => Command::new(program),
        }
    }

    /// Whether that can be done at all.
    pub fn try_out(&self, fault: Fault) -> Result<(), String> {
        match (self, fault) {
            (Network::Namespaces(namespaces), Fault::OneWay) => {
                namespaces.mute(0).and_then(|()| namespaces.unmute(0)).map(drop)
            }
            (Network::Namespaces(namespaces), Fault::Reset) => namespaces.reset(0).map(drop),
            _ => Ok(()),
        }
    }

    /// Cuts a node off, or breaks its connections. Says whether there was anything to do that to.
    pub fn begin(&self, fault: Fault, node: usize) -> Result<bool, String> {
        match self {
            Network::Namespaces(namespaces) => match fault {
                Fault::Cut => namespaces.set_link(node, false).map(|()| true),
                // What is dropped is known in the end.
                Fault::OneWay => namespaces.mute(node).map(|()| false),
                _ => namespaces.reset(node).map(|broken| broken > 0),
            },
            Network::Loopback(doors) => {
                let door = &doors[node].0;
                let is_there = door.connections() > 0;
                match fault {
                    Fault::Cut => door.set(Passes::Nothing),
                    Fault::OneWay => door.set(Passes::Inwards),
                    _ => return Ok(door.reset() > 0),
                }
                Ok(is_there)
            }
        }
    }

    /// Makes the link of a node whole again. Says whether only now is known that it had not been.
    pub fn heal(&self, fault: Fault, node: usize) -> Result<bool, String> {
        match self {
            Network::Namespaces(namespaces) => match fault {
                Fault::OneWay => namespaces.unmute(node).map(|dropped| dropped > 0),
                _ => namespaces.set_link(node, true).map(|()| false),
            },
            Network::Loopback(doors) => {
                doors[node].0.set(Passes::All);
                Ok(false)
            }
        }
    }
}

/// Below those that the system gives to connections: one of them could be there when a process comes back.
fn free_port() -> Result<u16, String> {
    static TAKEN: std::sync::Mutex<Vec<u16>> = std::sync::Mutex::new(Vec::new());
    let start = (std::process::id() * 61 % 2_000) as u16;
    let mut taken = TAKEN.lock().unwrap();
    let is_free =
        |port: &u16| !taken.contains(port) && std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok();
    let port = (0..2_000).map(|offset| 30_000 + (start + offset) % 2_000).find(is_free);
    let port = port.ok_or("no port is free")?;
    taken.push(port);
    Ok(port)
}
