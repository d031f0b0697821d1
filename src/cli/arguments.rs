//! The arguments of every command, with their help.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use super::administer_arguments::{Edit, Remove, Requeue, Retry};
use super::bench::arguments::{Bench, BenchReceiver};
use super::care_arguments::{MakeBackup, Repair, Restore};
use super::config::arguments::ConfigCommand;
use super::demo::arguments::{Demo, DemoNode};
use super::exit::CODES;
use super::list_arguments::{ListArguments, OutgoingArguments, SubscriberArguments};
use super::opening_arguments::Opening;
use super::peer_arguments::{Forget, Limit, Peer, Subscriptions};
use super::store_arguments::{MapCommand, QueueCommand};
use super::top::arguments::Top;
use super::transfer_arguments::{Export, Import, ImportLegacy};

/// A brokerless durable service bus: every message is on disk at both ends before anyone says so.
///
/// `resolute demo` shows it: two nodes in processes of their own, both of them killed half way, and nothing lost.
#[derive(Debug, Parser)]
#[command(name = "resolute", version, after_help = CODES, after_long_help = CODES, max_term_width = 110)]
pub struct Arguments {
    /// Reports more on standard error; up to three times. `RUST_LOG` has the same effect, in detail.
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// The file of settings for commands that open a node or look at one; see `resolute config --help`.
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Runs two nodes, kills each of them half way, and counts whether a message was lost.
    ///
    /// A web node publishes sign-ups, an email node handles each and writes a line for it. Both are processes of their
    /// own with data directories of their own, connected over loopback. Half way email is killed (SIGKILL), later web,
    /// and each is started again. Ends with a report, and with code 1 if a sign-up was lost.
    #[command(after_help = CODES)]
    Demo(Demo),
    /// Publishes one message, or each line of standard input, and waits until the subscribers have it.
    ///
    /// Waits first until enough subscriptions match the topic, whether or not the subscribers are connected: with nobody
    /// subscribed a message goes to nobody. A message is on disk here before it counts as published. What is still owed
    /// when the deadline comes (code 6) stays on disk, and goes out the next time that a node is opened on the
    /// directory.
    #[command(after_help = CODES)]
    Publish(Publish),
    /// Sends one command, or each line of standard input, to the node at an address.
    ///
    /// It need not be running, nor ever have been: what it could not be given before the deadline (code 6) stays on disk,
    /// and goes out the next time that a node is opened on the directory.
    #[command(after_help = CODES)]
    Send(Send),
    /// Subscribes to topics of a node, and writes each message as one line of JSON.
    ///
    /// The keys are id, topics, published_at, headers and data; where the data is not UTF-8 it is in base64, and
    /// "encoding" says so. A message is handled once its line was written and flushed; if the process ends before, it
    /// comes again. The subscription is kept in the directory and at the publisher until --unsubscribe ends it: what is
    /// published meanwhile waits for the next time. Messages of other topics that the directory holds are parked.
    #[command(after_help = CODES)]
    Subscribe(Subscribe),
    /// Shows a node at one look: what it owes, has and wants, and how its log was found or left.
    ///
    /// If a process has the node open, it is asked; if none has, its log is read.
    #[command(after_help = CODES)]
    Status(Inspect),
    /// Lists the ids of all messages that the node still has, and where each of them is.
    #[command(after_help = CODES)]
    Keys(ListArguments),
    /// Lists the subscriptions that the node serves.
    #[command(after_help = CODES)]
    Subscribers(SubscriberArguments),
    /// Lists the messages that wait for a handler, without those that are parked or dead.
    #[command(after_help = CODES)]
    Incoming(ListArguments),
    /// Lists the messages that are owed, by destination.
    #[command(after_help = CODES)]
    Outgoing(OutgoingArguments),
    /// Lists the messages for which there was no handler.
    #[command(after_help = CODES)]
    Parked(ListArguments),
    /// Lists the messages that a handler gave up, and why.
    #[command(after_help = CODES)]
    DeadLetters(ListArguments),
    /// Shows messages as they pass through a node that is open, and consumes none.
    ///
    /// What the node publishes, sends and accepts, once it is on disk, until the node is closed. What nobody subscribes to
    /// passes through no log. The JSON is that of subscribe.
    #[command(after_help = CODES)]
    Tail(Tail),
    /// Shows live what goes on in a node that is open: rates, commits, the log, the inbox, and what is owed to whom.
    ///
    /// Two looks make a rate. What is counted begins with the opening of the node. A commit is one write of the log with its flush; its
    /// latency is from where it was given to the kernel to where it was durable. The oldest message of a peer is the one that has been
    /// owed longest, by this machine's clock. q, Esc and Ctrl-C end it. The code is 1 if no process has the node open.
    #[command(after_help = CODES)]
    Top(Top),
    /// Has messages handled again that failed and wait for that, are parked, or were given up.
    ///
    /// Handlers that succeeded are not called again; those that gave up begin anew. Of incoming messages only those are meant with
    /// which a handler failed: it is called at once instead of after its pause, and its attempts go on to count. A message for which there still is no handler
    /// is parked again. If a process has the node open it does so at once, if none has, the next opening does. Who asked for it is
    /// written to the log.
    #[command(after_help = CODES)]
    Retry(Retry),
    /// Removes messages from the inbox, or from what is owed, for good.
    ///
    /// Without --yes it lists what it would remove, and the code is 2. A handler that has one of the messages already is not
    /// stopped. Of outgoing messages each destination is told that so many do not come, and shows them as lost; one that was sent
    /// already may come all the same. Who asked for it is written to the log.
    #[command(visible_alias = "purge", after_help = CODES)]
    Remove(Remove),
    /// Puts messages at the end, behind all that came or was published before.
    ///
    /// Each is written anew as a message of this node, with another id and what it said before, in place of the old one. All handlers
    /// are called with it as if it had just come; to call only those that failed there is retry. Of outgoing messages each destination is told
    /// that the old one does not come, and gets one of its own. One that is just being handled, or was sent already, may be handled
    /// both times; what is owed to a subscriber that is parked or wants nothing any more is left alone. Who asked for it is written to the log.
    #[command(after_help = CODES)]
    Requeue(Requeue),
    /// Gives messages another payload, and puts them at the end as requeue does.
    ///
    /// Topics and headers stay as they were. Without --yes it lists what would be changed, and the code is 2.
    #[command(after_help = CODES)]
    Edit(Edit),
    /// Sends nothing to a peer that it is owed, until it is resumed.
    ///
    /// What it is owed waits on disk meanwhile, and counts against what the log may take; what comes of the peer is taken as before. It
    /// stays so when the node is closed and opened again. Who asked for it is written to the log.
    #[command(after_help = CODES)]
    Pause(Peer),
    /// Sends a peer again what it is owed.
    #[command(after_help = CODES)]
    Resume(Peer),
    /// Says how much a subscriber may have waiting for it, what happens then, and for how long it may be not connected.
    ///
    /// What is not said stays as it was; what was never said of a subscriber is as the node was opened with. An evicted subscriber is
    /// owed nothing more; if it comes back it is told how many messages it missed, and subscribes anew by itself. Who asked for
    /// it is written to the log.
    #[command(after_help = CODES)]
    Limit(Limit),
    /// Forgets a peer, or an address where nobody has answered yet, with all that it is owed and all that is wanted of it.
    ///
    /// Without --yes it says what that would be, and the code is 2. Messages that were accepted from it stay. One that still wants
    /// something of this node comes back as a stranger; its node is told to forget this one in the same way. Who asked for it is
    /// written to the log.
    #[command(after_help = CODES)]
    Forget(Forget),
    /// Lists or changes what a node wants of others, without its program.
    #[command(subcommand, after_help = CODES)]
    Subscriptions(Subscriptions),
    /// Lists what people changed by hand, with retry, remove, pause, resume, limit, forget and subscriptions, and whom the node itself evicted: when, who, and with what.
    ///
    /// As far as the log still holds it: a segment that is no longer needed takes its records with it. A message that had got elsewhere
    /// by then was left alone, though its record is named.
    #[command(after_help = CODES)]
    Changes(Changes),
    /// Reads every byte of a log, and says whether it is as it was written: each checksum, each link from one batch to the next,
    /// and whether each record says something.
    ///
    /// Of a node, a map or a queue. If a process has the node open, it looks itself at what is on disk by then, up to the first
    /// damage. If none has, all damage is named, and nothing is changed. The code is 0 if all is whole; 8 if what was written
    /// last did not arrive whole, which was never acknowledged to anyone and is cut off by the next opening; 5 if the log is damaged.
    #[command(after_help = CODES)]
    Verify(Inspect),
    /// Copies a data directory as it is at one moment, of a node, a map or a queue, whether or not a process has it open.
    ///
    /// All that is on disk when it begins is in the copy. Segments that are full are not copied but get a second name, where the file
    /// system can do that; a node never uses such a file again in place, so the copy stays as it is. TO is there in whole
    /// or not at all: if the command is killed, what is left is named TO.partial, and the next try takes it up. To open a node of
    /// it, restore it: peers that met the node since refuse a mere copy.
    #[command(after_help = CODES)]
    Backup(MakeBackup),
    /// Makes a data directory of a backup, in which a node begins a new life of its log.
    ///
    /// FROM is a backup, or another copy of a directory that no process had open. It is read through first, and refused if it is
    /// damaged; it stays as it is. Peers notice the new life: what was accepted since the backup was made is a gap, which is counted
    /// and shown, what was handled since is handled again, and what is left of the earlier life is refused.
    #[command(after_help = CODES)]
    Restore(Restore),
    /// Cuts a damaged log of a node before its first damage, so that the node can be opened again.
    ///
    /// Without --yes it shows what it would do, and the code is 2. Everything behind the cut, damaged or not, is kept as it was found in
    /// quarantine/ within the directory, with a report; messages that can be read there are not delivered by themselves: salvage
    /// lists them. The node begins a new life of its log, and its peers notice and count what is gone. If it is killed, no node
    /// is opened there until it is given again.
    #[command(after_help = CODES)]
    Repair(Repair),
    /// Lists every message that can still be read from a damaged log, and names all damage.
    ///
    /// A node is not opened on a damaged log, and the other commands refuse it too. This one passes over what is damaged. It
    /// gives each message that the log still holds, also those that were delivered and handled long ago: as it was
    /// written, or not at all. Messages of an atomic batch are given all or none. Damage is reported on standard error, or
    /// with --json as lines that have the key "damage"; then the code is 5.
    #[command(after_help = CODES)]
    Salvage(Inspect),
    /// Writes the messages of a node as lines of JSON, each with all that import needs.
    ///
    /// One line for a message at each of its places: one that is owed to three destinations has three. The keys are those of
    /// subscribe, with place (incoming, parked, dead, outgoing), destination, and what its handlers have done. If a process has the
    /// node open, it is asked, and a message is as it was when its part of the list was read.
    #[command(after_help = CODES)]
    Export(Export),
    /// Makes lines of JSON, as export writes them, messages of a node.
    ///
    /// What is outgoing is owed to its destination, as a command, whoever answers there; everything else comes into the inbox, and
    /// all its handlers are called. A message keeps its payload, topics, headers and the time when it was published; its id is
    /// another, and the one that it had is in the header resolute-imported-from. The directory notes in the file "imported" what it
    /// was given: a message that was imported before is passed over, so that an import that was killed is just run again. Lines
    /// that are no messages are named, the code is then 2, and the others are imported. The node is opened for it, but speaks to
    /// no peer; while another process has it open the code is 4.
    ///
    /// A line needs topics, data, and a place or a destination.
    #[command(after_help = CODES)]
    Import(Import),
    /// Takes over what resolute's ancestor, the package of Node.js, left in its files.
    ///
    /// Of a directory: what outgoing.shulz holds is owed to each of its addresses, as commands, what incoming.shulz holds comes into
    /// the inbox. A message keeps its topics, the time when it was sent, and its id in the header resolute-imported-from; its payload
    /// is the data as JSON, of a text too, in quotes. What the node had asked others for and not told them yet it wants of them
    /// again. Who had subscribed at the node, by subscriptions.shulz, must do so again: the command for each is written out. A single
    /// .shulz becomes a map, a .seuss a queue.
    ///
    /// The ancestor's service must not run. Its files have no checksums: what makes no sense in them is named, with its place, the
    /// rest is taken over, and the code is 5. What was taken over before is passed over, as by import.
    #[command(after_help = CODES)]
    ImportLegacy(ImportLegacy),
    /// Reads and changes a map on disk, which services keep with resolute::Map.
    #[command(subcommand, after_help = CODES)]
    Map(MapCommand),
    /// Reads and changes a queue on disk, which services keep with resolute::Queue.
    #[command(subcommand, after_help = CODES)]
    Queue(QueueCommand),
    /// Measures what the disk can do, and what the bus makes of it.
    ///
    /// Every result stands beside the yardstick of the same run: raw O_DIRECT writes, each flushed, to the same
    /// directory. Nothing is made less durable for it.
    #[command(after_help = CODES)]
    Bench(Bench),
    /// Looks whether this machine, and the disk under a directory, are fit for a node, and says what would help.
    ///
    /// The directory need not be there: then it is the nearest above it that is. For a moment a file is made in it. The code is 1
    /// if something must be mended before a node can be trusted there.
    #[command(after_help = CODES)]
    Doctor(Inspect),
    /// Says who holds the data directory; there is never anything to unlock.
    ///
    /// The kernel releases the lock with the process that holds it, however that ends, so a crash never leaves one.
    /// While a process holds it, its pid is named and the code is 4.
    #[command(after_help = CODES)]
    Unlock(Inspect),
    /// Checks or shows the settings of a node: dir, bind, advertise, name, segment_bytes, inbox_bytes, disk_bytes, sender_bytes, backlog_bytes, at_limit and lease.
    ///
    /// Each is a key of a file, a variable of the environment (RESOLUTE_DIR and so on; an empty one counts for nothing) and a flag.
    /// A variable wins over the file, and a flag over both. The file is the one that --config names, else RESOLUTE_CONFIG, else
    /// ./resolute.toml if it is there; `resolute config show --toml` writes one with all that it may say. dir is for all commands that
    /// have the flag --dir and are about a node, the others for those that open one: publish, send and subscribe. Unknown keys,
    /// variables that are like a setting and are none, and values that cannot be are refused by all of them, with code 2.
    #[command(subcommand, after_help = CODES)]
    Config(ConfigCommand),
    /// Writes the script with which a shell completes commands and options.
    ///
    /// For bash: resolute completions bash > ~/.local/share/bash-completion/completions/resolute
    #[command(after_help = CODES)]
    Completions(Completions),
    /// Writes the manual page of the tool or, with --out, those of all commands.
    ///
    /// To read it at once: resolute man | man -l -
    #[command(after_help = CODES)]
    Man(Man),
    #[command(hide = true)]
    BenchReceiver(BenchReceiver),
    #[command(hide = true)]
    DemoWeb(DemoNode),
    #[command(hide = true)]
    DemoEmail(DemoNode),
}

/// The node that a command opens.
#[derive(Debug, Args)]
pub struct NodeArguments {
    /// The data directory; it is made if it is not there.
    #[arg(long, value_name = "DIR")]
    pub dir: PathBuf,
    #[command(flatten)]
    pub opening: Opening,
}

/// What is published or sent.
#[derive(Debug, Args)]
pub struct MessageArguments {
    /// The topic: 1 to 255 bytes.
    pub topic: String,
    /// The payload; each line of standard input if not given.
    pub data: Option<OsString>,
    /// A header of every message.
    #[arg(long = "header", value_name = "NAME=VALUE", value_parser = header)]
    pub headers: Vec<(String, String)>,
    /// Seconds that the other side is waited for after the last message was published.
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    pub deadline: u64,
    /// Writes the report as JSON.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Publish {
    #[command(flatten)]
    pub node: NodeArguments,
    /// Where the node listens, as tcp://host:port; port 0 takes a free one.
    #[arg(long, value_name = "ADDR")]
    pub bind: String,
    /// Subscriptions that must match the topic before anything is published; 0 publishes at once.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub subscribers: usize,
    /// Seconds that these subscriptions are waited for; without it, for ever.
    #[arg(long, value_name = "SECONDS")]
    pub wait: Option<u64>,
    #[command(flatten)]
    pub message: MessageArguments,
}

#[derive(Debug, Args)]
pub struct Send {
    #[command(flatten)]
    pub node: NodeArguments,
    /// Where the node listens, as tcp://host:port; port 0 takes a free one.
    #[arg(long, value_name = "ADDR", default_value = "tcp://127.0.0.1:0")]
    pub bind: String,
    /// The address of the node that the command is for, as tcp://host:port.
    #[arg(long, value_name = "ADDR")]
    pub to: String,
    #[command(flatten)]
    pub message: MessageArguments,
}

#[derive(Debug, Args)]
pub struct Subscribe {
    #[command(flatten)]
    pub node: NodeArguments,
    /// Where the node listens, as tcp://host:port; port 0 takes a free one.
    #[arg(long, value_name = "ADDR")]
    pub bind: String,
    /// The address of the publisher, as tcp://host:port. It need not be running.
    #[arg(long, value_name = "ADDR")]
    pub from: String,
    /// The topics.
    #[arg(required = true, value_name = "TOPIC")]
    pub topics: Vec<String>,
    /// Ends after so many messages; the subscription stays.
    #[arg(long, value_name = "N")]
    pub count: Option<u64>,
    /// Ends the subscription, after --count messages if that is given and without reading any if not, and waits until
    /// the publisher has confirmed that. What was published before still comes into the directory.
    #[arg(long)]
    pub unsubscribe: bool,
    /// Seconds that the publisher has to confirm the end of the subscription.
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    pub deadline: u64,
}

#[derive(Debug, Args)]
pub struct Changes {
    #[command(flatten)]
    pub of: Inspect,
    /// At most so many, from the oldest on.
    #[arg(long, value_name = "N")]
    pub limit: Option<u64>,
}

/// A shell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ShellName {
    Bash,
    Zsh,
    Fish,
}

#[derive(Debug, Args)]
pub struct Completions {
    /// The shell.
    pub shell: ShellName,
}

#[derive(Debug, Args)]
pub struct Man {
    /// A directory that is there: a file for each command is written to it, resolute.1 and so on.
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
}

/// A data directory that is looked at.
#[derive(Debug, Args)]
pub struct Inspect {
    /// The data directory of the node.
    #[arg(long, value_name = "DIR")]
    pub dir: PathBuf,
    /// Writes JSON: an object, or for lists one line for each entry.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Tail {
    #[command(flatten)]
    pub of: Inspect,
    /// The topics; all if none is given.
    #[arg(value_name = "TOPIC")]
    pub topics: Vec<String>,
    /// Shows first what the log still holds, but for messages that were carried forward from a segment that is freed: see `keys`.
    #[arg(long)]
    pub from_start: bool,
    /// Ends after so many messages.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub count: Option<u64>,
}

fn header(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("a header is written NAME=VALUE".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_arguments_fit_together() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn every_command_documents_its_exit_codes() {
        for command in Arguments::command().get_subcommands().filter(|command| !command.is_hide_set()) {
            let help = command.clone().render_long_help().to_string();
            assert!(help.contains("Exit codes"), "{}", command.get_name());
        }
    }
}
