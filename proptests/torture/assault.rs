//! Faults as they begin and end.

use super::cast::{CAST, ON_THE_SMALL_DISK, OWED_MEANWHILE};
use super::fault::{Fault, Tally};
use super::orders::Orders;
use super::plan::Step;
use super::scene::Scene;

/// So many turns a disk may take to fill up: two minutes, and more. Then its node will not be refused.
const FILL_TURNS_MAX: u64 = 12_000;

/// What ends a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Start(usize),
    GoOn(usize),
    Heal(usize),
    Free,
}

/// A disk that was filled up, and no node has said so yet.
struct Filling {
    since: u64,
    hold: u64,
    /// What its node had been refused before.
    refused: u64,
}

/// What is wrong at the moment, and what was.
#[derive(Default)]
pub struct Assault {
    pub tally: Tally,
    /// Turns, and what ends then.
    due: Vec<(u64, End)>,
    links: [Option<Fault>; CAST.len()],
    standing: [bool; CAST.len()],
    is_full: bool,
    filling: Option<Filling>,
}

impl Assault {
    /// Whether a fault can begin with things as they are.
    pub fn can_begin(&self, step: &Step, scene: &Scene) -> bool {
        let runs = |node: usize| scene.nodes[node].is_running();
        let moves = |node: usize| runs(node) && !self.standing[node];
        // Until the disk is full, nothing else happens: who is owed what there matters.
        self.filling.is_none()
            && match step.fault {
                Fault::Kill => runs(step.node) && step.also.is_none_or(runs),
                Fault::Stop => moves(step.node),
                // With nobody at the other end there would be nothing to cut.
                Fault::Cut | Fault::OneWay | Fault::Reset => {
                    self.links[step.node].is_none()
                        && moves(step.node)
                        && scene.nodes[step.node].report().connected > 0
                }
                // A node that does not publish yet would never be refused.
                Fault::Fill => {
                    let told = scene.nodes[ON_THE_SMALL_DISK].report();
                    let publishes = told.opened && told.acknowledged > 0 && !told.disk_full;
                    !self.is_full && publishes && moves(ON_THE_SMALL_DISK) && moves(OWED_MEANWHILE)
                }
            }
    }

    pub fn begin(&mut self, step: &Step, turn: u64, scene: &mut Scene) -> Result<(), String> {
        let Step { fault, node, also, hold, .. } = *step;
        let end = turn + hold;
        match fault {
            Fault::Kill => {
                let victims: Vec<usize> = std::iter::once(node).chain(also).collect();
                for victim in &victims {
                    scene.nodes[*victim].kill()?;
                    self.tally.count(Fault::Kill);
                    self.standing[*victim] = false;
                    self.due.retain(|(_, end)| *end != End::GoOn(*victim));
                }
                self.due.extend(victims.into_iter().map(|victim| (end, End::Start(victim))));
            }
            Fault::Stop => {
                self.stand_still(node, scene)?;
                self.tally.count(Fault::Stop);
                self.due.push((end, End::GoOn(node)));
            }
            Fault::Cut | Fault::OneWay | Fault::Reset => {
                if scene.network.begin(fault, node)? {
                    self.tally.count(fault);
                }
                if fault != Fault::Reset {
                    self.links[node] = Some(fault);
                    self.due.push((end, End::Heal(node)));
                }
            }
            Fault::Fill => {
                if let Some(disk) = &scene.disk {
                    disk.fill()?;
                }
                self.stand_still(OWED_MEANWHILE, scene)?;
                let refused = scene.nodes[ON_THE_SMALL_DISK].report().refused;
                scene.nodes[ON_THE_SMALL_DISK].tell(Orders { flood: true, ..Orders::default() })?;
                self.is_full = true;
                self.filling = Some(Filling { since: turn, hold, refused });
            }
        }
        Ok(())
    }

    fn stand_still(&mut self, node: usize, scene: &mut Scene) -> Result<(), String> {
        self.standing[node] = true;
        scene.nodes[node].stop()
    }

    /// Ends what is due by now, and sees whether a disk that is filling up is full.
    pub fn go_on(&mut self, turn: u64, scene: &mut Scene) -> Result<(), String> {
        if let Some(Filling { since, hold, refused }) = self.filling {
            let told = scene.nodes[ON_THE_SMALL_DISK].report();
            if told.disk_full && told.refused > refused {
                self.filling = None;
                self.tally.count(Fault::Fill);
                // Who was owed goes on first: what it takes makes room too.
                self.due.push((turn + hold / 2, End::GoOn(OWED_MEANWHILE)));
                self.due.push((turn + hold, End::Free));
            } else if turn > since + FILL_TURNS_MAX {
                return Err(format!("the disk is full, and the node on it refuses nothing: {told:#?}"));
            }
        }
        let (now, later) = self.due.iter().partition(|(end, _)| *end <= turn);
        self.due = later;
        self.end(now, scene)
    }

    /// Ends everything.
    pub fn end_all(&mut self, turn: u64, scene: &mut Scene) -> Result<(), String> {
        if self.filling.take().is_some() {
            self.due.extend([(turn, End::GoOn(OWED_MEANWHILE)), (turn, End::Free)]);
        }
        let all = std::mem::take(&mut self.due);
        self.end(all, scene)
    }

    fn end(&mut self, ends: Vec<(u64, End)>, scene: &mut Scene) -> Result<(), String> {
        for (_, end) in ends {
            match end {
                End::Start(node) => scene.start(node)?,
                End::GoOn(node) => {
                    self.standing[node] = false;
                    scene.nodes[node].go_on()?;
                }
                End::Heal(node) => {
                    if let Some(fault) = self.links[node].take()
                        && scene.network.heal(fault, node)?
                    {
                        self.tally.count(fault);
                    }
                }
                End::Free => {
                    if let Some(disk) = &scene.disk {
                        disk.free()?;
                    }
                    self.is_full = false;
                    scene.nodes[ON_THE_SMALL_DISK].tell(Orders::default())?;
                }
            }
        }
        Ok(())
    }
}
