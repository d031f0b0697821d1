//! The nodes, what they lie on, and what is between them.

use std::path::PathBuf;

use super::cast::{CAST, ON_THE_SMALL_DISK};
use super::fault::{Fault, Tally};
use super::namespaces::Namespaces;
use super::network::Network;
use super::process::Process;
use super::setup::Setup;
use super::small_disk::SmallDisk;
use super::work::Work;

/// Everything that is to be cleaned up, in the order in which that must be done.
pub struct Scene {
    pub nodes: Vec<Process>,
    pub network: Network,
    pub disk: Option<SmallDisk>,
    pub work: Work,
    program: PathBuf,
}

impl Scene {
    /// A scene as good as the system lets us have it; what cannot be had is missed, with the reason.
    pub fn set(seed: u64, on_loopback: bool, tally: &mut Tally) -> Result<Scene, String> {
        let program = std::env::current_exe().map_err(|error| error.to_string())?;
        let work = Work::new()?;
        let network = network(on_loopback)?;
        for fault in [Fault::Cut, Fault::OneWay, Fault::Reset] {
            if let Err(why) = network.try_out(fault) {
                tally.miss(fault, &why);
            }
        }
        let disk = SmallDisk::new(work.path());
        if let Err(why) = &disk {
            tally.miss(Fault::Fill, why);
        }
        let disk = disk.ok();
        let nodes = (0..CAST.len()).map(|node| {
            let directory = disk.as_ref().filter(|_| node == ON_THE_SMALL_DISK);
            let directory = directory.map_or(work.path(), SmallDisk::path).join(CAST[node].name);
            let setup = Setup {
                node,
                life: 0,
                is_last: false,
                seed,
                directory,
                journals: work.journals(),
                bind: network.bind(node),
                advertise: network.address(node),
                addresses: (0..CAST.len()).map(|of| network.address(of)).collect(),
                driver: std::process::id(),
            };
            Process::new(setup, work.path())
        });
        Ok(Scene { nodes: nodes.collect(), network, disk, work, program })
    }

    /// Begins the next life of a node.
    pub fn start(&mut self, node: usize) -> Result<(), String> {
        let command = self.network.command(node, &self.program);
        self.nodes[node].start(command)
    }

    /// What was acknowledged, and how often handlers were called, by all nodes.
    pub fn totals(&self) -> (u64, u64) {
        let totals = self.nodes.iter().map(Process::totals);
        totals.fold((0, 0), |sum, of| (sum.0 + of.0, sum.1 + of.1))
    }

    /// Ends all of it, and keeps the directory.
    pub fn keep(self) -> PathBuf {
        let Scene { nodes, network, disk, work, .. } = self;
        drop((nodes, network));
        drop(disk);
        work.keep()
    }
}

fn network(on_loopback: bool) -> Result<Network, String> {
    let namespaces = if on_loopback { Err("loopback was asked for".to_owned()) } else { Namespaces::new() };
    match namespaces {
        Ok(namespaces) => Ok(Network::Namespaces(namespaces)),
        Err(why) => {
            println!("torture: on loopback, with doors before the nodes: {why}");
            Network::on_loopback()
        }
    }
}
