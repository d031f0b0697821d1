//! One history: nodes are opened, publish and handle, lose their power, and are opened again on what is left.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use nix::errno::Errno;
use resolute::{Bus, Error};

use super::addresses::ABSENT;
use super::causes::{chain, is_of_the_disk};
use super::ledger::Ledger;
use super::loss::Loss;
use super::nodes::{Nodes, open_publisher, open_subscriber};
use super::patience::within;
use super::plan;
use super::power::{Event, Power, Stop, gone_wrong};
use super::publishing::{ASKING_TASK, Load, Style};
use super::rng::Rng;
use super::scene::{Layout, Scene, TOPIC};
use super::snapshot::Snapshots;
use super::tally::Tally;

/// So often the power is cut in one history.
const CUTS: usize = 8;

/// After so many looks at two nodes that answer and yet do nothing, they will do nothing any more.
const LOOKS_WITHOUT_CHANGE: u32 = 6_000;

/// What is left of a history.
pub struct Told {
    pub tally: Tally,
    /// What was done, for whoever looks for the cause of a failure.
    pub story: Vec<String>,
    pub outcome: Result<(), Stop>,
}

struct History {
    rng: Rng,
    power: Power,
    scene: Scene,
    nodes: Nodes,
    ledger: Arc<Ledger>,
    /// Whether the publisher has said that the subscription is on its disk.
    is_subscribed: bool,
    /// Whether the last cut left a log torn.
    is_torn: bool,
    tally: Tally,
    story: Vec<String>,
}

/// Lives through one history in `directory`.
pub async fn run(seed: u64, directory: &Path) -> Told {
    let rng = Rng::new(seed);
    let mounted = directory.join("disk");
    let made = std::fs::create_dir(&mounted).map_err(|error| Stop::Failed(error.to_string()));
    let power = match made {
        Ok(()) => Power::start(&mounted).await,
        Err(error) => Err(error),
    };
    let power = match power {
        Ok(power) => power,
        Err(why) => return Told { tally: Tally::default(), story: Vec::new(), outcome: Err(why) },
    };
    let scene = Scene::new(Layout::of(seed), &mounted, directory);
    let mut history = History {
        rng,
        power,
        story: vec![format!("{:?}", scene.layout)],
        scene,
        nodes: Nodes::default(),
        ledger: Arc::default(),
        is_subscribed: false,
        is_torn: false,
        tally: Tally::default(),
    };
    let outcome = history.live().await;
    let outcome = match outcome {
        Ok(()) => Ok(()),
        // The nodes must let go of the disk, whatever it was.
        Err(why) => {
            drop(history.power.cut(Loss::ALL).await);
            drop(history.nodes.close(&history.scene, true).await);
            Err(Stop::Failed(why))
        }
    };
    Told { tally: history.tally, story: history.story, outcome }
}

impl History {
    async fn live(&mut self) -> Result<(), String> {
        for _ in 0..CUTS {
            self.one_life().await?;
        }
        self.end_well().await?;
        self.tally.merge(&self.power.tally().await?);
        let (handled, calls) = self.ledger.handled();
        self.tally.add("messages acknowledged", self.ledger.acknowledged());
        self.tally.add("messages handled", handled);
        self.tally.add("messages redelivered", calls - handled);
        Ok(())
    }

    fn tell(&mut self, what: String) {
        self.story.push(what);
    }

    async fn one_life(&mut self) -> Result<(), String> {
        let style = plan::style(&mut self.rng);
        let latency = plan::latency(&mut self.rng, style);
        self.power.set_latency(latency).await?;
        self.tell(format!("{style:?}, {latency:?}"));
        if let Some(fault) = plan::next(&mut self.rng, std::mem::take(&mut self.is_torn)) {
            self.tell(format!("armed: {fault}"));
            self.power.arm(fault).await?;
        }
        // Now and then the subscriber stays away, and is owed more and more.
        let is_away = self.is_subscribed && self.rng.chance(25);
        if self.open(is_away).await? && self.subscribe().await? {
            self.publish(style).await?;
        }
        self.lose_power().await?;
        self.look_at_what_is_left().await
    }

    /// Opens the nodes that are closed. Whether all are open now that should be: if not, the power was cut meanwhile.
    async fn open(&mut self, is_away: bool) -> Result<bool, String> {
        if self.nodes.publisher.is_none() {
            match open_publisher(&self.scene).await? {
                Ok(bus) => self.nodes.publisher = Some(bus),
                Err(error) => {
                    return self.not_opened("publisher", self.scene.publisher.is_mounted, &error).await;
                }
            }
        }
        if self.nodes.subscriber.is_none() && !is_away {
            match open_subscriber(&self.scene, &self.ledger).await? {
                Ok(subscriber) => self.nodes.subscriber = Some(subscriber),
                Err(error) => {
                    return self.not_opened("subscriber", self.scene.subscriber.is_mounted, &error).await;
                }
            }
        }
        self.tell(format!("opened, then {:?}", self.power.event()));
        Ok(true)
    }

    async fn not_opened(&mut self, who: &str, is_mounted: bool, error: &Error) -> Result<bool, String> {
        self.tell(format!("the {who} was not opened: {}", chain(error)));
        self.power.settle().await?;
        match self.power.event() {
            Some(event) if is_mounted && is_of_the_disk(error, &[Errno::EIO]) => {
                self.tally.add("cuts while opening", u64::from(matches!(event, Event::Cut { .. })));
                Ok(false)
            }
            event => Err(format!("the {who} cannot be opened after {event:?}: {}", chain(error))),
        }
    }

    /// Whether the subscription is known to be on the publisher's disk.
    async fn subscribe(&mut self) -> Result<bool, String> {
        let (Some(publisher), Some(subscriber)) = (&self.nodes.publisher, &self.nodes.subscriber) else {
            return Ok(self.is_subscribed);
        };
        let mut events = self.power.events();
        let wish = async {
            subscriber.bus.subscribe(&self.scene.publisher.address(), TOPIC).await?;
            publisher.subscribers(TOPIC, 1).await
        };
        let outcome = tokio::select! {
            outcome = within("a subscription", wish) => outcome?,
            _ = gone_wrong(&mut events) => return Ok(self.is_subscribed),
        };
        match outcome {
            Ok(()) => self.is_subscribed = true,
            // It takes both nodes.
            Err(error) => self.excuse("subscribing", true, &error).await?,
        }
        Ok(self.is_subscribed)
    }

    /// An error of an open node is excused by what went wrong on its disk, and by nothing else.
    async fn excuse(&mut self, what: &str, is_mounted: bool, error: &Error) -> Result<(), String> {
        self.power.settle().await?;
        match self.power.event() {
            Some(_) if is_mounted => Ok(()),
            _ => Err(format!("{what}: nothing went wrong, and yet {}", chain(error))),
        }
    }

    async fn publish(&mut self, style: Style) -> Result<(), String> {
        let Some(bus) = self.nodes.publisher.clone() else { return Ok(()) };
        let load = Load::new(bus.clone(), Arc::clone(&self.ledger), plan::bytes(&mut self.rng, style));
        let mut tasks = load.start(style, &mut self.rng);
        let mut events = self.power.events();
        let (mut met, mut is_over) = (None, false);
        while !tasks.is_empty() {
            tokio::select! {
                ended = within("publishers go on or fail", tasks.join_next()) => match ended? {
                    Some(Ok(Err(error))) => met = Some(error),
                    Some(Err(panic)) => return Err(format!("a publisher panicked: {panic}")),
                    _ => {}
                },
                _ = gone_wrong(&mut events), if !is_over => {
                    is_over = true;
                    load.is_over.store(true, Ordering::Relaxed);
                }
            }
        }
        if let Some(error) = met {
            self.excuse("publishing", self.scene.publisher.is_mounted, &error).await?;
        }
        self.power.settle().await?;
        let event = self.power.event();
        self.tell(format!("{} are acknowledged, then {event:?}", self.ledger.acknowledged()));
        match event {
            Some(event) if self.concerns_the_publishers_log(&event) => self.must_refuse(&bus).await,
            _ => Ok(()),
        }
    }

    /// Whether from now on nothing that is published can become durable.
    fn concerns_the_publishers_log(&self, event: &Event) -> bool {
        let place = &self.scene.publisher;
        match event {
            Event::Cut { .. } => place.is_mounted,
            Event::Refused { file } => place.has_segment(file),
        }
    }

    async fn must_refuse(&mut self, bus: &Bus) -> Result<(), String> {
        for number in self.ledger.begin(ASKING_TASK, 1, false) {
            let published = within("publishing ends", bus.publish(TOPIC, number.payload())).await?;
            if let Ok(receipt) = published {
                return Err(format!("publishing resolved although nothing can be written: {receipt:?}"));
            }
        }
        self.tally.add("publishers that heard of it", 1);
        Ok(())
    }

    /// The power is cut if it was not yet, and the nodes are gone.
    async fn lose_power(&mut self) -> Result<(), String> {
        // After a flush that was refused, what stays must not hide what was promised although it failed.
        let loss = if self.power.event().is_some() { Loss::ALL } else { plan::loss(&mut self.rng) };
        self.power.cut(loss).await?;
        let all = self.rng.chance(60);
        self.nodes.close(&self.scene, all).await?;
        self.tally.add(self.scene.layout.counted_as(), 1);
        self.power.restore().await
    }

    async fn look_at_what_is_left(&mut self) -> Result<(), String> {
        self.ledger.check()?;
        if self.nodes.are_closed() {
            let disks = self.read_disks()?;
            self.tell(format!("left: {} owed, {} in the inbox", disks.owed.len(), disks.inbox.len()));
            self.tally.add("snapshots checked", 1);
            self.tally.add("torn tails found", disks.torn);
            self.is_torn = disks.torn > 0;
            self.tally.add("messages owed after a cut", disks.owed.len() as u64);
            self.ledger.check_disks(&disks)?;
        }
        Ok(())
    }

    fn read_disks(&self) -> Result<Snapshots, String> {
        Snapshots::read(&[&self.scene.publisher.directory], &[&self.scene.subscriber.directory])
    }

    /// With power that stays, everything arrives.
    async fn end_well(&mut self) -> Result<(), String> {
        if !self.open(false).await? || !self.subscribe().await? {
            return Err("nothing goes wrong any more, and yet not all is well".to_owned());
        }
        within("everything is handled", self.drain()).await??;
        self.nodes.close(&self.scene, true).await?;
        let disks = self.read_disks()?;
        if !disks.owed.is_empty() || !disks.inbox.is_empty() || disks.torn > 0 {
            return Err("something is left after all was handled".to_owned());
        }
        self.ledger.check_disks(&disks)
    }

    async fn drain(&self) -> Result<(), String> {
        let (Some(publisher), Some(subscriber)) = (&self.nodes.publisher, &self.nodes.subscriber) else {
            return Err("a node is not open".to_owned());
        };
        let failed = |error: Error| chain(&error);
        let (mut before, mut looks) = ((0, 0), 0);
        loop {
            let told =
                (publisher.status().await.map_err(failed)?, subscriber.bus.status().await.map_err(failed)?);
            let destinations = told.0.destinations.iter().chain(&told.1.destinations);
            let lost: u64 = destinations.map(|to| to.lost).sum();
            let owing = told.0.destinations.iter().filter(|to| to.address != ABSENT);
            let left = (owing.map(|to| to.owed).sum::<u64>(), told.1.incoming);
            if left == (0, 0) && lost == 0 && told.1.dead_letters == 0 && told.1.parked == 0 {
                return Ok(());
            }
            looks = if left == before { looks + 1 } else { 0 };
            if lost > 0 || looks > LOOKS_WITHOUT_CHANGE {
                return Err(format!("not all is delivered and handled: {told:?}"));
            }
            before = left;
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    }
}
