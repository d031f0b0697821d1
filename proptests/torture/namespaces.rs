//! A network of our own: each node in a network namespace, and all of them on a bridge in one more. Nothing of it is seen
//! outside, and the names carry the number of the process, so that a later run knows whose they were.

use std::process::Command;

use super::cast::CAST;
use super::tool;

const PORT: u16 = 7450;

/// What is in a node's way out when nothing gets out: packets are larger than what passes.
const NOTHING_PASSES: &str = "tbf rate 8bit burst 1b limit 1";

/// What all names begin with.
pub const PREFIX: &str = "resolute-torture-";

/// See the module. Gone when this is dropped.
pub struct Namespaces {
    driver: u32,
}

impl Namespaces {
    pub fn new() -> Result<Namespaces, String> {
        tool::must_be_root()?;
        // What was made is removed again if the rest cannot be.
        let made = Namespaces { driver: std::process::id() };
        let hub = made.hub();
        tool::run(&format!("ip netns add {hub}"))?;
        tool::run(&format!("ip -n {hub} link add bridge type bridge"))?;
        tool::run(&format!("ip -n {hub} link set bridge up"))?;
        for (node, part) in CAST.iter().enumerate() {
            let (inside, port) = (made.of(node), part.name);
            tool::run(&format!("ip netns add {inside}"))?;
            tool::run(&format!("ip -n {inside} link set lo up"))?;
            tool::run(&format!("ip -n {hub} link add {port} type veth peer name out netns {inside}"))?;
            tool::run(&format!("ip -n {hub} link set {port} master bridge"))?;
            tool::run(&format!("ip -n {hub} link set {port} up"))?;
            tool::run(&format!("ip -n {inside} addr add {}/24 dev out", host(node)))?;
            tool::run(&format!("ip -n {inside} link set out up"))?;
        }
        Ok(made)
    }

    fn hub(&self) -> String {
        format!("{PREFIX}{}-hub", self.driver)
    }

    fn of(&self, node: usize) -> String {
        format!("{PREFIX}{}-{}", self.driver, CAST[node].name)
    }

    pub fn address(node: usize) -> String {
        format!("tcp://{}:{PORT}", host(node))
    }

    /// A command that runs in the node's namespace, under the process number that it is started with.
    pub fn command(&self, node: usize, program: &std::path::Path) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.of(node)]).arg(program);
        command
    }

    /// Takes the cable out, or puts it back.
    pub fn set_link(&self, node: usize, is_up: bool) -> Result<(), String> {
        let state = if is_up { "up" } else { "down" };
        tool::run(&format!("ip -n {} link set {} {state}", self.hub(), CAST[node].name)).map(drop)
    }

    /// Lets nothing out of the node.
    pub fn mute(&self, node: usize) -> Result<(), String> {
        tool::run(&format!("tc -n {} qdisc replace dev out root {NOTHING_PASSES}", self.of(node))).map(drop)
    }

    /// Lets everything out again; says how many packets were dropped.
    pub fn unmute(&self, node: usize) -> Result<u64, String> {
        let inside = self.of(node);
        let told = tool::run(&format!("tc -n {inside} -s qdisc show dev out"))?;
        tool::run(&format!("tc -n {inside} qdisc del dev out root"))?;
        let dropped = told.split_once("(dropped ").and_then(|(_, rest)| rest.split(',').next()?.parse().ok());
        dropped.ok_or_else(|| format!("tc does not say what was dropped: {told}"))
    }

    /// Ends the node's connections; says how many there were.
    pub fn reset(&self, node: usize) -> Result<usize, String> {
        let told = tool::run(&format!("ip netns exec {} ss -K -H -t state established", self.of(node)))?;
        Ok(told.lines().count())
    }
}

impl Drop for Namespaces {
    fn drop(&mut self) {
        remove(self.driver);
    }
}

fn host(node: usize) -> String {
    format!("10.77.0.{}", node + 1)
}

/// Removes the namespaces of one driver, and with them the links between.
pub fn remove(driver: u32) {
    for name in names() {
        if name.starts_with(&format!("{PREFIX}{driver}-"))
            && let Err(why) = tool::run(&format!("ip netns del {name}"))
        {
            println!("{name} stays: {why}");
        }
    }
}

/// The drivers that have namespaces, by the names of those.
pub fn drivers() -> Vec<u32> {
    let driver = |name: &String| name.strip_prefix(PREFIX)?.split('-').next()?.parse().ok();
    names().iter().filter_map(driver).collect()
}

fn names() -> Vec<String> {
    let listed = tool::run("ip netns list").unwrap_or_default();
    listed.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
}
