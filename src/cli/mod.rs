//! The command-line tool: one file for each family of commands.
//!
//! It uses the bus as any service does, looks at nodes through [`crate::bus::inspect`], and changes by hand what is in them
//! through [`crate::bus::Administrator`].
#![forbid(unsafe_code)]

mod administer;
mod administer_arguments;
mod arguments;
mod backup;
mod bench;
mod care_arguments;
mod changes;
mod config;
mod conveniences;
mod demo;
mod doctor;
mod exit;
mod export;
mod import;
mod import_legacy;
mod json;
mod list_arguments;
mod lists;
mod opening_arguments;
mod output;
mod peer_arguments;
mod peers;
mod publish;
mod repair;
mod restore;
mod runtime;
mod salvage;
mod status;
mod store_arguments;
mod stores;
mod subscribe;
mod table;
mod tail;
mod top;
mod transfer_arguments;
mod unlock;
mod verify;

use std::path::Path;
use std::process::ExitCode;

use clap::FromArgMatches;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use arguments::{Arguments, Command};
use config::NoArguments;
use config::arguments::ConfigCommand;
use exit::{Exit, Failure};

/// Runs the tool with the arguments of the process.
#[must_use]
pub fn run() -> ExitCode {
    let given: Vec<_> = std::env::args_os().collect();
    let parsed = config::matches(&given).and_then(|matches| Ok(Arguments::from_arg_matches(&matches)?));
    let arguments = match parsed {
        Ok(arguments) => arguments,
        Err(NoArguments::Settings(failure)) => return failure.report(),
        Err(NoArguments::Clap(error)) => {
            // Help that nobody reads is no failure of the tool.
            let _: std::io::Result<()> = error.print();
            let code = if error.use_stderr() { Exit::Usage } else { Exit::Ok };
            return ExitCode::from(code as u8);
        }
    };
    log_to_stderr(arguments.verbose);
    match dispatch(arguments.command, arguments.config.as_deref()) {
        Ok(()) => ExitCode::from(Exit::Ok as u8),
        Err(failure) => failure.report(),
    }
}

fn dispatch(command: Command, config: Option<&Path>) -> Result<(), Failure> {
    match command {
        Command::Demo(arguments) => demo::run(&arguments),
        Command::Publish(arguments) => publish::publish(&arguments),
        Command::Send(arguments) => publish::send(&arguments),
        Command::Subscribe(arguments) => subscribe::run(&arguments),
        Command::Status(arguments) => status::run(&arguments),
        Command::Keys(arguments) => lists::keys(&arguments),
        Command::Subscribers(arguments) => lists::subscribers(&arguments),
        Command::Incoming(arguments) => lists::incoming(&arguments),
        Command::Outgoing(arguments) => lists::outgoing(&arguments.list, &arguments.destinations),
        Command::Parked(arguments) => lists::parked(&arguments),
        Command::DeadLetters(arguments) => lists::dead_letters(&arguments),
        Command::Tail(arguments) => tail::run(&arguments),
        Command::Top(arguments) => top::run(&arguments),
        Command::Retry(arguments) => administer::retry(&arguments),
        Command::Remove(arguments) => administer::remove(&arguments),
        Command::Requeue(arguments) => administer::requeue(&arguments),
        Command::Edit(arguments) => administer::edit(&arguments),
        Command::Pause(arguments) => peers::pause(&arguments),
        Command::Resume(arguments) => peers::resume(&arguments),
        Command::Limit(arguments) => peers::limit(&arguments),
        Command::Forget(arguments) => peers::forget(&arguments),
        Command::Subscriptions(command) => peers::subscriptions(&command),
        Command::Verify(arguments) => verify::run(&arguments),
        Command::Changes(arguments) => changes::run(&arguments),
        Command::Backup(arguments) => backup::run(&arguments),
        Command::Restore(arguments) => restore::run(&arguments),
        Command::Repair(arguments) => repair::run(&arguments),
        Command::Salvage(arguments) => salvage::run(&arguments),
        Command::Export(arguments) => export::run(&arguments),
        Command::Import(arguments) => import::run(&arguments),
        Command::ImportLegacy(arguments) => import_legacy::run(&arguments),
        Command::Map(command) => stores::map(command),
        Command::Queue(command) => stores::queue(command),
        Command::Bench(arguments) => bench::run(&arguments.what),
        Command::BenchReceiver(arguments) => bench::receiver::run(&arguments),
        Command::Doctor(arguments) => doctor::run(&arguments),
        Command::Unlock(arguments) => unlock::run(&arguments),
        Command::Config(ConfigCommand::Check(arguments)) => config::check(&arguments, config),
        Command::Config(ConfigCommand::Show(arguments)) => config::show(&arguments, config),
        Command::Completions(arguments) => conveniences::completions(&arguments),
        Command::Man(arguments) => conveniences::man(&arguments),
        Command::DemoWeb(arguments) => demo::web::run(&arguments),
        Command::DemoEmail(arguments) => demo::email::run(&arguments),
    }
}

/// What the node reports of itself goes to standard error: warnings, more with `--verbose`, or what `RUST_LOG` says.
fn log_to_stderr(verbose: u8) {
    let level = [LevelFilter::WARN, LevelFilter::INFO, LevelFilter::DEBUG, LevelFilter::TRACE];
    let default = Targets::new().with_default(level[usize::from(verbose).min(level.len() - 1)]);
    let wanted = std::env::var("RUST_LOG").ok().filter(|_| verbose == 0);
    let filter = wanted.and_then(|text| text.parse().ok()).unwrap_or(default);
    let layer =
        tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(output::stderr_is_terminal());
    // Whoever embeds the tool may have set up a subscriber already; then that one is as good.
    let _: Result<(), _> = tracing_subscriber::registry().with(layer).with(filter).try_init();
}
