//! What happens in the demo, and when. Everything is triggered by progress that the files show, nothing by time.
//!
//! ```text
//! half of the sign-ups handled      kill email, with sign-ups on their way to it
//! 5/8 of them acknowledged          start email again
//! 3/4 of them acknowledged          kill web, with sign-ups that have no receipt yet
//! at once                           start web again
//! ```

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use super::child::{Program, Running};
use super::evidence::welcome;
use super::lines::{Follower, Numbers, number};
use super::orders::Orders;
use super::{Ran, left};
use crate::bus::Stopwatch;
use crate::cli::exit::Failure;
use crate::cli::output::stderr_is_terminal;

/// How often the files are looked at.
const POLL: Duration = Duration::from_millis(2);

/// One run of the demo.
pub struct Scenario {
    base: PathBuf,
    messages: u64,
    /// How far web may be ahead of what is known to have arrived: so many sign-ups are on their way when it is killed.
    ahead: u64,
    deadline: Duration,
    cancelled: Arc<AtomicBool>,
    web: Program,
    email: Program,
    progress: Progress,
    bar: ProgressBar,
    watch: Stopwatch,
    kills: u64,
}

/// Why a run came to no end.
enum Halt {
    GaveUp(String),
    Failed(Failure),
}

impl From<Failure> for Halt {
    fn from(failure: Failure) -> Halt {
        Halt::Failed(failure)
    }
}

/// What the files show so far.
struct Progress {
    sent: u64,
    acknowledged: Numbers,
    handled: Numbers,
    files: [Follower; 3],
}

impl Scenario {
    pub fn new(
        base: &Path,
        input: Option<&Path>,
        messages: u64,
        deadline: Duration,
        cancelled: Arc<AtomicBool>,
    ) -> Result<Scenario, Failure> {
        let [web_bind, email_bind] = free_addresses()?;
        let messages_text = messages.to_string();
        let mut web =
            vec!["--base", &base.to_string_lossy(), "--bind", &web_bind, "--messages", &messages_text]
                .into_iter()
                .map(PathBuf::from)
                .collect::<Vec<_>>();
        web[1] = base.to_owned();
        if let Some(input) = input {
            // An absolute path is not needed: the processes have the same directory as this one.
            web.extend([PathBuf::from("--input"), input.to_owned()]);
        }
        let mut email: Vec<PathBuf> =
            ["--base", "", "--bind", &email_bind, "--from", &web_bind].map(PathBuf::from).into();
        email[1] = base.to_owned();
        Ok(Scenario {
            base: base.to_owned(),
            messages,
            ahead: (messages / 20).clamp(1, 20_000),
            deadline,
            cancelled,
            web: Program { name: "web", arguments: web, base: base.to_owned() },
            email: Program { name: "email", arguments: email, base: base.to_owned() },
            progress: Progress::new(messages),
            bar: bar(messages),
            watch: Stopwatch::start(),
            kills: 0,
        })
    }

    /// Runs it to its end, or to the deadline.
    pub fn run(mut self) -> Result<Ran, Failure> {
        let outcome = self.play();
        self.bar.finish_and_clear();
        let gave_up = match outcome {
            Ok(()) => None,
            Err(Halt::GaveUp(why)) => Some(why),
            Err(Halt::Failed(failure)) => return Err(failure),
        };
        Ok(Ran { kills: self.kills, took: self.watch.elapsed(), gave_up })
    }

    fn play(&mut self) -> Result<(), Halt> {
        let all = self.messages;
        let mut email = self.email.start()?;
        let mut web = self.web.start()?;
        let is_half = |p: &Progress| {
            p.handled.count() >= all / 2 && p.sent > p.handled.count() || p.handled.count() == all
        };
        self.until(&mut web, Some(&mut email), true, is_half)?;
        email.kill()?;
        self.killed("email is dead, web goes on");
        self.until(&mut web, None, false, |p| p.acknowledged.count() >= all * 5 / 8)?;
        let mut email = self.email.start()?;
        self.bar.set_message("email is back");
        let is_late = |p: &Progress| {
            let acknowledged = p.acknowledged.count();
            acknowledged >= all * 3 / 4 && p.sent > acknowledged || acknowledged == all
        };
        self.until(&mut web, Some(&mut email), false, is_late)?;
        web.kill()?;
        self.killed("web is dead, email goes on");
        let mut web = self.web.start()?;
        self.bar.set_message("both are back");
        self.until(&mut web, Some(&mut email), false, |p| {
            p.acknowledged.count() == all && p.handled.count() == all
        })?;
        // What was delivered twice is known when nothing is on its way any more.
        for child in [web, email] {
            if !child.finish(left(&self.watch, self.deadline))? {
                return Err(self.too_long());
            }
        }
        Ok(())
    }

    fn killed(&mut self, message: &'static str) {
        self.kills += 1;
        self.bar.set_message(message);
    }

    /// Lets web go on until `reached`; `together` lets it run ahead of email only as far as of its own receipts.
    fn until(
        &mut self,
        web: &mut Running,
        mut email: Option<&mut Running>,
        together: bool,
        reached: impl Fn(&Progress) -> bool,
    ) -> Result<(), Halt> {
        let mut told = 0;
        loop {
            self.progress.look(&self.base)?;
            if reached(&self.progress) {
                return Ok(());
            }
            let (acknowledged, handled) = (self.progress.acknowledged.count(), self.progress.handled.count());
            let arrived = if together { acknowledged.min(handled) } else { acknowledged };
            let up_to = (arrived + self.ahead).min(self.messages);
            if up_to > told {
                told = up_to;
                web.order(&Orders { up_to, finish: false });
            }
            self.bar.set_position(handled);
            web.check()?;
            if let Some(email) = &mut email {
                email.check()?;
            }
            if self.cancelled.load(Ordering::Relaxed) {
                return Err(Halt::GaveUp("interrupted".to_owned()));
            }
            if self.watch.elapsed() >= self.deadline {
                return Err(self.too_long());
            }
            std::thread::sleep(POLL);
        }
    }

    fn too_long(&self) -> Halt {
        Halt::GaveUp(format!("the demo was not through after {} s", self.deadline.as_secs()))
    }
}

impl Progress {
    fn new(messages: u64) -> Progress {
        let files = [Follower::new(), Follower::new(), Follower::new()];
        Progress { sent: 0, acknowledged: Numbers::up_to(messages), handled: Numbers::up_to(messages), files }
    }

    /// Takes in what is new. What was sent comes first, so that it is never more ahead than it was.
    fn look(&mut self, base: &Path) -> Result<(), Failure> {
        let failed = |error: std::io::Error| Failure::io("follow the demo", &error);
        let Progress { sent, acknowledged, handled, files: [a, b, c] } = self;
        let mut distinct = 0;
        a.follow(&base.join("sent"), &mut |line| distinct += u64::from(number(line).is_some()))
            .map_err(failed)?;
        *sent += distinct;
        let mut take = |line: &[u8]| {
            acknowledged.insert(number(line).unwrap_or(0));
        };
        b.follow(&base.join("acknowledged"), &mut take).map_err(failed)?;
        let mut take = |line: &[u8]| {
            handled.insert(welcome(line).map_or(0, |(number, _)| number));
        };
        c.follow(&base.join("welcomes"), &mut take).map_err(failed)
    }
}

/// Two ports that are free now, and are kept for both lives of both processes.
fn free_addresses() -> Result<[String; 2], Failure> {
    let failed = |error: std::io::Error| Failure::io("find two free ports on 127.0.0.1", &error);
    // Both are held until both are known, or they might be one.
    let sockets = [
        TcpListener::bind("127.0.0.1:0").map_err(failed)?,
        TcpListener::bind("127.0.0.1:0").map_err(failed)?,
    ];
    let address =
        |socket: &TcpListener| socket.local_addr().map(|address| format!("tcp://{address}")).map_err(failed);
    Ok([address(&sockets[0])?, address(&sockets[1])?])
}

fn bar(messages: u64) -> ProgressBar {
    if !stderr_is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(messages);
    if let Ok(style) =
        ProgressStyle::with_template("{bar:40} {human_pos} of {human_len} handled, {per_sec}  {msg}")
    {
        bar.set_style(style);
    }
    bar
}
