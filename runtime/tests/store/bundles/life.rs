//! The life of a device, step by step, and what has to be known of its generations behind each step.
//!
//! Generations are told by the releases of their bundles here, since those are given by the test.

use std::path::Path;

use zlayer_runtime::generations::{Generations, KEPT_BEFORE, STARTS, Standing, TRIAL_STARTS};

use super::{active, install, pack, verify};
use crate::ledger::Reports;

/// What happens to a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// A bundle is installed while no daemon runs.
    Install,
    /// A running daemon takes a bundle in, and serves it.
    Adopt,
    /// A running daemon takes a bundle in, and does not want it.
    Discard,
    /// The generation before becomes active while no daemon runs.
    RollBack,
    /// The same on a running daemon.
    AdoptKept,
    /// A daemon starts.
    Begin,
    /// A daemon starts with another one, since the active one cannot be loaded.
    BeginWithout,
    /// What is active has proved itself.
    Confirm,
    /// The daemon ends in order.
    End,
    /// What is active fails while it is served.
    GoBack,
    /// What is not needed is removed.
    Forget,
    Uninstall,
}

use Step::*;

/// Lives, over and over: each with a new bundle where one is needed.
const LIVES: &[&[Step]] = &[
    &[Install, Begin, Confirm, Forget],
    // It ends in its trial.
    &[Install, Forget, Begin, Begin, Confirm],
    &[Adopt, Confirm, Forget, Begin, End, Begin, Confirm],
    // It ends in order, which does not spare it.
    &[Adopt, End, Begin, Confirm, Forget],
    // The last good one is none of the last ones.
    &[Install, Forget],
    &[Install, Forget],
    &[Install, Forget, Begin, Begin, Confirm],
    // A crash loop of what proved itself once.
    &[Discard, Begin, Begin, Begin, Begin, End],
    &[Install, Begin, GoBack, Confirm, Forget],
    &[Adopt, GoBack, Begin, Confirm],
    &[Adopt, Begin, Confirm],
    &[Install, BeginWithout, Begin, Confirm, Forget],
    &[
        Install, Begin, Confirm, RollBack, Begin, Confirm, AdoptKept, Confirm,
    ],
    // Nothing proves itself, and in the end there is nothing.
    &[Uninstall, Install, Begin, End, Begin, GoBack, Begin],
    &[Install, Begin, Begin, Begin, Begin, BeginWithout, Forget],
];

/// How many of them there are.
pub(super) const LIFE: u64 = LIVES.len() as u64;

impl Step {
    pub(super) const ALL: [(Step, &str); 12] = [
        (Install, "install"),
        (Adopt, "adopt"),
        (Discard, "discard"),
        (RollBack, "roll-back"),
        (AdoptKept, "adopt-kept"),
        (Begin, "begin"),
        (BeginWithout, "begin-without"),
        (Confirm, "confirm"),
        (End, "end"),
        (GoBack, "go-back"),
        (Forget, "forget"),
        (Uninstall, "uninstall"),
    ];

    pub(super) fn name(self) -> &'static str {
        Step::ALL.iter().find(|(step, _)| *step == self).unwrap().1
    }

    pub(super) fn named(name: &str) -> Step {
        let found = Step::ALL.iter().find(|(_, one)| *one == name);
        found.unwrap_or_else(|| panic!("step {name:?}")).0
    }

    /// Whether it takes a bundle of a new release.
    pub(super) fn takes_bundle(self) -> bool {
        matches!(self, Install | Adopt | Discard)
    }

    /// Does it.
    pub(super) fn act(self, folder: &Path, release: u64) -> zlayer_runtime::error::Result<()> {
        let generations = Generations::of(folder);
        let served = || Ok::<_, zlayer_runtime::error::Error>(generations.active()?.unwrap());
        match self {
            Install => install(folder, release).map(drop),
            Adopt | Discard => {
                let (head, blobs) = pack(release);
                let staged =
                    generations.stage(super::incoming(&head, &blobs), |_, file| verify(file))?;
                match self {
                    Discard => generations.discard(staged),
                    _ => {
                        if let Err(error) = generations.adopt(&staged) {
                            generations.discard(staged);
                            return Err(error);
                        }
                    }
                }
                Ok(())
            }
            RollBack => generations.activate(generations.previous()?.unwrap()),
            AdoptKept => generations.adopt_kept(generations.previous()?.unwrap()),
            Begin => generations.begin(&generations.choose()),
            BeginWithout => {
                generations.begin(&generations.choose_without(served()?, "cannot be loaded"))
            }
            Confirm => generations.confirm(served()?),
            End => generations.end_in_order(served()?),
            GoBack => generations.go_back(served()?, "its probe failed").map(drop),
            Forget => generations.forget(),
            Uninstall => generations.uninstall().map(drop),
        }
    }
}

/// Lives on with bundles of these releases; tells each step before and behind it.
pub(super) fn work(folder: &Path, reports: &Reports, releases: std::ops::Range<u64>) {
    for release in releases {
        for step in LIVES[(release % LIFE) as usize] {
            let model = Model::found(folder);
            let is_possible = match step {
                RollBack | AdoptKept => model.previous().is_some(),
                Begin | Install | Adopt | Discard => true,
                _ => model.active().is_some(),
            };
            if is_possible {
                reports.write("try", step.name(), release);
                step.act(folder, release).unwrap();
                reports.write("done", step.name(), release);
            }
        }
    }
}

/// What is known of the generations: the rules of `docs/bundles.md` once more, without files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Model {
    /// Those that were active, the newest first.
    history: Vec<u64>,
    starts: u32,
    confirmed: Vec<u64>,
    failed: Vec<u64>,
}

impl Model {
    /// What a folder says.
    pub(super) fn found(folder: &Path) -> Model {
        let generations = Generations::of(folder);
        let release = |number: &u64| {
            let head = generations.head(*number).ok()?;
            Some(head.manifest.deployment.release)
        };
        let Standing {
            starts,
            confirmed,
            failed,
            ..
        } = generations.standing();
        let history = std::fs::read_to_string(folder.join("deployment/active"));
        let history = history.unwrap_or_default();
        let history = history.lines().map(|line| line.parse().unwrap());
        Model {
            history: history.filter_map(|number| release(&number)).collect(),
            starts,
            // Of some that are about to be forgotten there is nothing left but their numbers.
            confirmed: confirmed.iter().filter_map(release).collect(),
            failed: failed.iter().filter_map(|(one, _)| release(one)).collect(),
        }
    }

    /// What is known behind a step with a bundle of this release.
    pub(super) fn after(&self, step: Step, release: u64) -> Model {
        let mut after = self.clone();
        match step {
            Install => after.activate(release, 0),
            Adopt => after.activate(release, 1),
            Discard => {}
            RollBack => after.activate(self.previous().unwrap(), 0),
            AdoptKept => after.activate(self.previous().unwrap(), 1),
            Begin => match self.choice() {
                Some(chosen) if Some(chosen) == self.active() => after.starts += 1,
                Some(chosen) => after.go_back(Some(chosen)),
                None => {}
            },
            BeginWithout => {
                if let Some(good) = self.good_but_active() {
                    after.go_back(Some(good));
                }
            }
            Confirm => {
                let active = self.active().unwrap();
                after.confirmed.retain(|one| *one != active);
                after.confirmed.push(active);
                after.failed.retain(|one| *one != active);
                after.starts = 0;
            }
            End if self.may_start() > 1 => after.starts = self.starts.saturating_sub(1),
            End => {}
            GoBack => after.go_back(self.good_but_active()),
            Forget => {
                let mut kept = self.history.clone();
                kept.extend(self.good().first());
                after.confirmed.retain(|one| kept.contains(one));
                after.failed.retain(|one| kept.contains(one));
            }
            Uninstall => after = Model::default(),
        }
        after
    }

    pub(super) fn active(&self) -> Option<u64> {
        self.history.first().copied()
    }

    /// What is active, and how often that was started.
    pub(super) fn trial(&self) -> (Option<u64>, u32) {
        (self.active(), self.starts)
    }

    /// What the next start serves.
    pub(super) fn choice(&self) -> Option<u64> {
        let active = self.active()?;
        let good = self.good_but_active();
        match self.starts >= self.may_start() {
            true => good,
            false if self.failed.contains(&active) => good.or(Some(active)),
            false => Some(active),
        }
    }

    /// Whether there is one to go back to.
    pub(super) fn has_good(&self) -> bool {
        self.good_but_active().is_some()
    }

    fn may_start(&self) -> u32 {
        let is_new = self
            .active()
            .is_some_and(|one| !self.confirmed.contains(&one));
        match is_new && self.has_good() {
            true => TRIAL_STARTS,
            false => STARTS,
        }
    }

    fn good(&self) -> Vec<u64> {
        let mut good = self.history.clone();
        let mut others = self.confirmed.clone();
        others.reverse();
        others.retain(|one| !good.contains(one));
        good.extend(others);
        good.retain(|one| self.confirmed.contains(one) && !self.failed.contains(one));
        good
    }

    fn good_but_active(&self) -> Option<u64> {
        let mut good = self.good();
        good.retain(|one| Some(*one) != self.active());
        good.first().copied()
    }

    fn previous(&self) -> Option<u64> {
        let mut before = self.history.iter().skip(1).copied();
        before.find(|one| !self.failed.contains(one))
    }

    fn activate(&mut self, release: u64, starts: u32) {
        self.failed.retain(|one| *one != release);
        self.history.retain(|one| *one != release);
        self.history.insert(0, release);
        self.history.truncate(1 + KEPT_BEFORE);
        self.starts = starts;
    }

    /// What is active failed.
    fn go_back(&mut self, good: Option<u64>) {
        let active = self.active().unwrap();
        self.failed.retain(|one| *one != active);
        self.failed.push(active);
        if let Some(good) = good {
            self.activate(good, 1);
        }
    }
}

/// What the next start serves of a folder, whole: 0 if nothing.
pub(super) fn next(folder: &Path) -> Option<u64> {
    let generations = Generations::of(folder);
    let choice = generations.choose();
    assert_eq!(choice.number.is_none(), choice.nothing.is_some());
    choice.number.map(|number| super::whole(folder, number))
}

/// Checks that what is active is whole; answers its release.
pub(super) fn served(folder: &Path) -> Option<u64> {
    Some(active(folder)).filter(|release| *release > 0)
}
