//! What a child does to its files is recorded; the disk is played up to any point of that, power is cut with all kinds
//! of losses, and what is active has to be whole. A cut that loses nothing is what a kill leaves.
//!
//! `ZLAYER_POWER_CUTS=all` plays every point with every loss; `ZLAYER_SEED` repeats a run.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::Told;
use super::life::{LIFE, Step, work};
use crate::disk::{Disk, Kind, Loss};
use crate::ledger::Reports;
use crate::support::{Child, Folder, Random, seed, skipped};
use crate::trace::{Op, record};

/// Releases that the recorded child lives with: each kind of life once, and one that has a past.
const RELEASES: u64 = LIFE + 1;
/// Losses of the quick run are played at one point in so many; that nothing is lost, at all of them.
const QUICK: u64 = 4;

#[test]
fn what_is_active_is_whole_after_any_power_cut() {
    let seed = seed();
    println!("bundles power cut: ZLAYER_SEED={seed}");
    let work = Folder::new();
    let folder = work.0.join("disk");
    std::fs::create_dir(&folder).unwrap();
    let child = Child::command("bundles::power_cut::child", &folder);
    let ops = match record(&child, &folder) {
        Ok(ops) => ops,
        Err(why) => return skipped("what_is_active_is_whole_after_any_power_cut", &why),
    };
    for (step, name) in Step::ALL {
        let done = format!("done {name} ");
        let told = |op: &Op| matches!(op, Op::Report(line) if line.starts_with(&done));
        assert!(ops.iter().any(told), "no {step:?} was recorded");
    }
    let all = std::env::var("ZLAYER_POWER_CUTS").is_ok_and(|cuts| cuts == "all");
    let mut random = Random::new(seed);
    let mut cuts = 0;
    for kind in [Kind::Journal, Kind::Strict] {
        let mut disk = Disk::new(kind, &folder);
        let mut told = Told::default();
        for (at, op) in ops.iter().enumerate() {
            if let Op::Report(line) = op {
                told.note(line);
            } else {
                for loss in Loss::ALL {
                    let is_kill = loss == Loss::Nothing && kind == Kind::Journal;
                    if all || is_kill || random.once_in(QUICK * Loss::ALL.len() as u64) {
                        let name =
                            format!("seed {seed}, {kind:?}, before operation {at}, {loss:?}");
                        cut(&disk, &told, loss, &mut random, &name);
                        cuts += 1;
                    }
                }
            }
            disk.apply(op);
        }
        assert!(
            told.highest.1 == RELEASES,
            "the child did too little: {told:?}"
        );
    }
    println!("bundles power cut: {} operations, {cuts} cuts", ops.len());
}

fn cut(disk: &Disk, told: &Told, loss: Loss, random: &mut Random, name: &str) {
    let folder = Folder::quick();
    disk.cut(&folder.0, loss, random);
    // The played disk knows nothing of modes.
    close(&folder.0);
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        told.check(&folder.0);
        if random.once_in(3) {
            told.go_on(&folder.0);
        }
    }));
    if let Err(panic) = result {
        eprintln!("bundles power cut: {name}: kept in {}", folder.0.display());
        std::mem::forget(folder);
        std::panic::resume_unwind(panic);
    }
}

fn close(folder: &Path) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => close(&path),
            false => std::fs::set_permissions(path, PermissionsExt::from_mode(0o400)).unwrap(),
        }
    }
}

#[test]
#[ignore = "the child of the test above"]
fn child() {
    let Some(folder) = Child::folder() else {
        return;
    };
    let reports = Reports::create(&folder.join("reports"));
    work(&folder, &reports, 1..RELEASES + 1);
}
