//! One run from its beginning to its end.

use std::time::{Duration, Instant};

use super::assault::Assault;
use super::cast::CAST;
use super::fault::Fault;
use super::interruption::Interruption;
use super::orders::Orders;
use super::plan::{Plan, TURN_MS};
use super::process::Process;
use super::report::Report;
use super::scene::Scene;
use super::story;

/// So many turns in which nothing happens at all: something hangs.
const STILL_TURNS_MAX: u64 = 12_000;

/// So many turns a fault may wait until it can begin: what it takes would never come. Longer than a disk may take to fill up,
/// which everything waits for.
const BEGIN_TURNS_MAX: u64 = 15_000;

/// So many turns it may take until everything has drained, or every node has closed, also while something goes on: it may be
/// the same again and again.
const END_TURNS_MAX: u64 = 60_000;

/// How often a long run says how far it is, in turns.
const TOLD_TURNS: u64 = 1_000;

/// How much is to be done.
#[derive(Clone, Debug)]
pub struct Form {
    pub seed: u64,
    pub kills: u64,
    pub messages: u64,
    /// When faults end, whatever was reached by then.
    pub minutes: u64,
    /// Whether they go on until then. Otherwise they end once enough was done, and it is an error if that is not before.
    pub ends_by_time: bool,
    pub on_loopback: bool,
    /// Whether it says how far it is, and some faults outlast the patience of a session.
    pub is_long: bool,
}

/// See the module.
pub struct Driver {
    scene: Scene,
    assault: Assault,
    form: Form,
    interruption: Interruption,
    turn: u64,
    /// What was to be seen of the nodes, and since which turn.
    seen: (Vec<u64>, u64),
    /// What was asked for and not reached. The story is read all the same.
    missed: Option<String>,
}

/// Runs it.
pub fn run(form: Form, interruption: &Interruption) -> Result<(), String> {
    let mut assault = Assault::default();
    let scene = Scene::set(form.seed, form.on_loopback, &mut assault.tally)?;
    assault.tally.reasons().for_each(|reason| println!("torture: {reason}"));
    let interruption = interruption.clone();
    let mut driver =
        Driver { scene, assault, form, interruption, turn: 0, seen: (Vec::new(), 0), missed: None };
    let outcome = driver.run();
    if outcome.is_err() && driver.interruption.must_not_be().is_ok() {
        println!("torture: the directory is kept: {}", driver.scene.keep().display());
    }
    outcome
}

impl Driver {
    fn run(&mut self) -> Result<(), String> {
        let began = Instant::now();
        for node in 0..CAST.len() {
            self.scene.start(node)?;
        }
        self.torture(began)?;
        self.assault.end_all(self.turn, &mut self.scene)?;
        self.let_drain()?;
        let lives: Vec<u32> = self.scene.nodes.iter().map(Process::life).collect();
        let story = story::read(&self.scene.work.journals(), &lives)?;
        story.must_tell_all_of(self.scene.totals())?;
        println!(
            "torture: {}; {} messages acknowledged, {} delivered, {} of them given to a handler again; lost 0, \
             unexpected 0, twice in an inbox 0; {:.1} s",
            self.assault.tally.told(),
            story.acknowledged,
            story.delivered,
            story.again,
            began.elapsed().as_secs_f64()
        );
        self.assault.tally.must_be_complete()?;
        self.missed.take().map_or(Ok(()), Err)
    }

    /// Does to the nodes what the seed says, until enough was done.
    fn torture(&mut self, began: Instant) -> Result<(), String> {
        let kinds = Fault::ALL.into_iter().filter(|fault| self.assault.tally.has(*fault)).collect();
        let mut plan = Plan::new(self.form.seed, kinds, self.form.is_long);
        let (mut step, mut last) = (plan.next(), 0);
        loop {
            let acknowledged = self.scene.totals().0;
            let is_enough = acknowledged >= self.form.messages;
            let tally = &self.assault.tally;
            let kills = tally.of(Fault::Kill);
            let is_all = is_enough && kills >= self.form.kills && tally.must_be_complete().is_ok();
            if is_all && !self.form.ends_by_time {
                return Ok(());
            }
            if self.is_over(began) {
                if !self.form.ends_by_time {
                    self.missed =
                        Some(format!("the time was over after {kills} kills and {acknowledged} messages"));
                }
                return Ok(());
            }
            self.take_turn()?;
            self.tell_to_trickle(is_enough)?;
            self.assault.go_on(self.turn, &mut self.scene)?;
            if self.turn >= last + step.pause && self.assault.can_begin(&step, &self.scene) {
                self.assault.begin(&step, self.turn, &mut self.scene)?;
                (step, last) = (plan.next(), self.turn);
            }
            if self.turn > last + step.pause + BEGIN_TURNS_MAX {
                return Err(self.told(&format!("nothing comes that {step:?} could begin with")));
            }
            if self.form.is_long && self.turn.is_multiple_of(TOLD_TURNS) {
                println!("torture: {}; {acknowledged} messages acknowledged", self.assault.tally.told());
            }
        }
    }

    /// A long run is asked to end by the clock. A short one counts turns: when the machine stands still, it waits.
    fn is_over(&self, began: Instant) -> bool {
        let seconds = if self.form.is_long { began.elapsed().as_secs() } else { self.turn * TURN_MS / 1_000 };
        seconds > 60 * self.form.minutes
    }

    /// Once enough was published, little more is: only as much as there is something to kill for.
    fn tell_to_trickle(&mut self, trickle: bool) -> Result<(), String> {
        for node in &mut self.scene.nodes {
            let orders = node.orders();
            if orders.trickle != trickle {
                node.tell(Orders { trickle, ..orders })?;
            }
        }
        Ok(())
    }

    /// Publishing ends; everything that is owed comes, everything that came is handled. Then all nodes are closed, opened
    /// once more, and handle what was kept.
    fn let_drain(&mut self) -> Result<(), String> {
        self.tell_all(Orders { quiet: true, ..Orders::default() })?;
        self.until("nothing is owed", |told| told.opened && told.quiet && told.outgoing == 0)?;
        // Only now can nothing more come, so what was said before does not count.
        self.scene.nodes.iter().for_each(Process::forget_report);
        self.until("all is handled", |told| told.opened && told.outgoing == 0 && told.incoming == 0)?;
        self.finish()?;
        for node in 0..CAST.len() {
            self.scene.nodes[node].begin_last();
            self.scene.start(node)?;
        }
        self.until("what was kept is handled", |told| told.opened && told.incoming == 0 && told.parked == 0)?;
        self.finish()
    }

    fn finish(&mut self) -> Result<(), String> {
        self.tell_all(Orders { quiet: true, finish: true, ..Orders::default() })?;
        let last = self.turn + END_TURNS_MAX;
        loop {
            self.pass_a_turn()?;
            let mut is_over = true;
            for node in &mut self.scene.nodes {
                is_over &= node.has_finished()?;
            }
            if is_over {
                return Ok(());
            }
            self.must_not_be_after(last, "not all nodes close")?;
        }
    }

    fn tell_all(&mut self, orders: Orders) -> Result<(), String> {
        self.scene.nodes.iter_mut().try_for_each(|node| node.tell(orders))
    }

    /// Waits until it is so for every node.
    fn until(&mut self, what: &str, so: impl Fn(&Report) -> bool) -> Result<(), String> {
        let last = self.turn + END_TURNS_MAX;
        while !self.scene.nodes.iter().all(|node| so(&node.report())) {
            self.take_turn()?;
            self.must_not_be_after(last, &format!("it never comes that {what}"))?;
        }
        Ok(())
    }

    fn must_not_be_after(&self, last: u64, what: &str) -> Result<(), String> {
        if self.turn <= last { Ok(()) } else { Err(self.told(what)) }
    }

    /// What is wrong, and what all nodes say of themselves.
    fn told(&self, what: &str) -> String {
        let told: Vec<_> = self.scene.nodes.iter().map(|node| (node.name(), node.report())).collect();
        format!("{what}; {}: {told:#?}", self.assault.tally.told())
    }

    /// A turn in which all nodes must be well.
    fn take_turn(&mut self) -> Result<(), String> {
        self.pass_a_turn()?;
        self.scene.nodes.iter_mut().try_for_each(Process::must_be_well)
    }

    fn pass_a_turn(&mut self) -> Result<(), String> {
        self.interruption.must_not_be()?;
        std::thread::sleep(Duration::from_millis(TURN_MS));
        self.turn += 1;
        let mut seen = Vec::new();
        for node in &self.scene.nodes {
            let (told, totals) = (node.report(), node.totals());
            seen.extend([u64::from(node.life()), totals.0, totals.1, u64::from(node.is_running())]);
            seen.extend([told.outgoing, told.incoming, told.parked, u64::from(told.quiet)]);
        }
        if self.seen.0 != seen {
            self.seen = (seen, self.turn);
        }
        if self.turn > self.seen.1 + STILL_TURNS_MAX {
            return Err(self.told("nothing happens any more"));
        }
        Ok(())
    }
}
