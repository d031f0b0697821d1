//! One trial from its beginning to its end, and what must be true of it.

use std::sync::Arc;

use nix::errno::Errno;
use resolute::{Error, ErrorClass};

use super::addresses::ABSENT;
use super::case::Case;
use super::causes::{chain, is_of_the_disk};
use super::lane::Lane;
use super::loss::Loss;
use super::met::{Met, Outcome, outcome};
use super::node::TOPIC;
use super::patience::within;
use super::plan::Request;
use super::scenario::Scenario;
use super::snapshot::Snapshots;
use super::stage::{ASKING_TASK, PAUSE, Stage};
use super::template::Template;

/// What a disk answers here.
const ERRNOS: [Errno; 4] = [Errno::EIO, Errno::ENOSPC, Errno::EINTR, Errno::EAGAIN];

/// What came of a trial.
#[derive(Clone, Debug)]
pub struct Told {
    pub met: Met,
    /// Everything that was asked of the disk while the trouble was armed.
    pub trace: Vec<Request>,
    /// Whether the node said that its log failed, or was not opened.
    pub is_final: bool,
    pub errors: usize,
}

/// Does it.
pub async fn run(lane: &mut Lane, case: Case) -> Result<Told, String> {
    let template = case.scenario.template();
    let ledger = lane.ledger_of(template).await?;
    lane.power.order(&format!("load {}", template.name())).await?;
    let ordinary = tempfile::tempdir_in(lane.ordinary.path()).map_err(|error| error.to_string())?;
    lane.peer_at.directory = ordinary.path().join("peer");
    let mut stage = Stage {
        case,
        node_at: lane.node_at.clone(),
        peer_at: lane.peer_at.clone(),
        power: &mut lane.power,
        ledger: Arc::new(ledger),
        node: None,
        peer: None,
        errors: Vec::new(),
        is_subscribed: false,
        is_wanted: false,
    };
    let outcome = stage.live().await;
    if outcome.is_err() {
        // The nodes must let go of the disk, whatever it was.
        drop(stage.power.order("well").await);
        for node in stage.node.take().into_iter().chain(stage.peer.take()) {
            drop(node.bus.close().await);
        }
        drop(stage.power.restore().await);
    }
    outcome
}

impl Stage<'_> {
    async fn live(&mut self) -> Result<Told, String> {
        self.prepare().await?;
        self.arm().await?;
        self.act().await?;
        self.settle().await?;
        let (is_final, met) = self.judge().await?;
        let trace = self.trace().await?;
        self.close(is_final).await?;
        if self.case.is_cut {
            self.power.cut(Loss::ALL).await?;
        }
        self.power.restore().await?;
        self.look_at_what_is_left()?;
        self.end_well().await?;
        Ok(Told { met, trace, is_final, errors: self.errors.len() })
    }

    /// All that was asked of the disk since the trouble was armed.
    async fn trace(&mut self) -> Result<Vec<Request>, String> {
        let trace = self.power.ask("trace").await?;
        let words: Vec<&str> = trace.split_whitespace().collect();
        let (requests, _) = words.as_chunks::<2>();
        let request = |[kind, bytes]: &[&str; 2]| Some((kind.parse().ok()?, bytes.parse().ok()?));
        Ok(requests.iter().filter_map(request).collect())
    }

    /// Why the node's log failed, if it did, and what the disk met. What it was asked last may still be on its way, with nobody who
    /// waits for it: where the log must fail, that is waited for.
    async fn last_words(&mut self) -> Result<(Option<String>, Met), String> {
        loop {
            let before = self.met().await?;
            if outcome(&self.case, &before.kinds) == Outcome::Final && !self.case.scenario.closes() {
                self.until("the log failed", |status| status.failure.is_some()).await?;
            }
            let failure = match &self.node {
                Some(node) => node.status().await?.failure,
                None => None,
            };
            let met = self.met().await?;
            if met.kinds == before.kinds {
                return Ok((failure, met));
            }
        }
    }

    /// Whether it came out as it must. Says whether the node's log failed or it could not be opened, and what went wrong.
    async fn judge(&mut self) -> Result<(bool, Met), String> {
        let (failure, met) = self.last_words().await?;
        let is_final = failure.is_some() || self.node.is_none();
        let story = || {
            let errors: Vec<String> = self.errors.iter().map(|error| chain(error)).collect();
            format!("{met:?}; failure {failure:?}; errors {errors:?}")
        };
        let is_noticed = is_final || !self.errors.is_empty();
        let outcome = outcome(&self.case, &met.kinds);
        // A node that was closed in between may be open again.
        let has_failed = is_final || self.case.scenario.closes() && is_noticed;
        let is_right = match outcome {
            Outcome::Well | Outcome::Continued => !is_noticed,
            Outcome::Final => has_failed,
            Outcome::ContinuedOrFinal => has_failed || !is_noticed,
            Outcome::Bearable => !is_final && self.errors.iter().all(Error::is_retryable),
            Outcome::Any => true,
        };
        if !is_right {
            return Err(format!("it must be {outcome:?}: {}", story()));
        }
        if let Some(error) = self.errors.iter().find(|error| !is_told_well(error)) {
            return Err(format!("{error:?} does not say what happened: {}", story()));
        }
        if failure.is_some() {
            self.all_must_hear().await?;
        }
        self.power.order("well").await?;
        if let (Some(node), Some(_)) = (&self.node, &failure) {
            // The disk is well, and the node stays what it was.
            node.must_refuse(&self.ledger, ABSENT, ASKING_TASK).await?;
        } else if self.node.is_some() {
            self.must_go_on().await?;
        }
        self.ledger.check()?;
        Ok((is_final, met))
    }

    async fn all_must_hear(&mut self) -> Result<(), String> {
        let Some(node) = &mut self.node else { return Ok(()) };
        node.all_hear().await?;
        node.must_refuse(&self.ledger, ABSENT, ASKING_TASK).await
    }

    async fn close(&mut self, is_final: bool) -> Result<(), String> {
        if let Some(node) = self.node.take() {
            match node.close().await? {
                Ok(()) if is_final => {
                    return Err("the log failed, and the node closes as if nothing was".to_owned());
                }
                Err(error) if !is_final => return Err(format!("the node does not close: {}", chain(&error))),
                _ => {}
            }
        }
        if let Some(peer) = self.peer.take() {
            peer.close().await?.map_err(|error| format!("the peer: {}", chain(&error)))?;
        }
        Ok(())
    }

    fn read_disks(&self) -> Result<Snapshots, String> {
        let places = [&*self.node_at.directory, &*self.peer_at.directory];
        Snapshots::read(&places, &places)
    }

    fn look_at_what_is_left(&self) -> Result<(), String> {
        let disks = self.read_disks()?;
        self.ledger.check_disks(&disks).map_err(|error| format!("what is left: {error}"))
    }

    /// With nothing wrong any more, the node opens, what was promised is there, and everything arrives.
    async fn end_well(&mut self) -> Result<(), String> {
        let errors = self.errors.len();
        if !self.open().await? {
            let error = self.errors.get(errors).map(|error| chain(error));
            return Err(format!("the node cannot be opened again: {error:?}"));
        }
        self.serve();
        let owes_the_peer = self.case.scenario.template() == Template::Owing;
        if self.case.scenario.has_peer() || owes_the_peer {
            self.open_peer().await?;
        }
        self.must_keep_its_word().await?;
        self.must_go_on().await?;
        within("everything is handled", self.drain()).await??;
        self.close(false).await?;
        let disks = self.read_disks()?;
        if !disks.owed.is_empty() || !disks.inbox.is_empty() || disks.torn > 0 {
            return Err(format!(
                "left in the end: {} owed, {} in the inbox",
                disks.owed.len(),
                disks.inbox.len()
            ));
        }
        self.ledger.check_disks(&disks)
    }

    /// Subscriptions that were said to be stored are there.
    async fn must_keep_its_word(&self) -> Result<(), String> {
        let Some(node) = &self.node else { return Ok(()) };
        let status = node.status().await?;
        let at_peer = status.destinations.iter().filter(|to| to.address == self.peer_at.address());
        let is_wished = at_peer.flat_map(|to| &to.wanted).any(|wanted| wanted.topic == TOPIC);
        if self.is_subscribed && !is_wished {
            return Err(format!("a subscription is forgotten: {status:?}"));
        }
        let is_wanted = status.destinations.iter().any(|to| to.topics.iter().any(|topic| topic == TOPIC));
        if self.is_wanted && !is_wanted {
            return Err(format!("a subscriber is forgotten: {status:?}"));
        }
        Ok(())
    }

    async fn drain(&self) -> Result<(), String> {
        // Looked at twice: what one node has just sent, the other may not have had when it was asked.
        let mut looks = 0;
        while looks < 2 {
            let (mut left, mut lost) = (0, 0);
            for node in self.node.iter().chain(&self.peer) {
                let status = node.status().await?;
                let owing = status.destinations.iter().filter(|to| to.address != ABSENT);
                left += owing.map(|to| to.owed).sum::<u64>() + status.incoming;
                lost += status.destinations.iter().map(|to| to.lost).sum::<u64>();
                lost += status.dead_letters + status.parked;
            }
            if lost > 0 {
                return Err(format!("{lost} messages are lost or nobody's"));
            }
            looks = if left == 0 { looks + 1 } else { 0 };
            tokio::time::sleep(PAUSE).await;
        }
        Ok(())
    }
}

/// Whether an error is typed, and says what the disk said.
fn is_told_well(error: &Error) -> bool {
    match error {
        Error::DiskFull => true,
        Error::Storage { cause } if cause.kind() == std::io::ErrorKind::WriteZero => true,
        Error::Storage { .. } => is_of_the_disk(error, &ERRNOS),
        Error::Open(_) => error.class() == ErrorClass::DiskFull || is_of_the_disk(error, &ERRNOS),
        _ => false,
    }
}

/// How a scenario goes when nothing goes wrong.
pub fn undisturbed(scenario: Scenario) -> Case {
    let trouble = super::trouble::Trouble {
        number: u64::MAX,
        kind: super::kind::Kind::Other,
        instead: super::trouble::Instead::Eio,
        is_for_ever: false,
    };
    Case { scenario, trouble, is_cut: true }
}
