//! A child installs, starts, confirms and goes back, and is killed at a random moment. The next one goes on with what is
//! left.
//!
//! `ZLAYER_KILLS` says how often (300), `ZLAYER_SEED` repeats a run as far as the scheduler lets it.

use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;
use std::time::Duration;

use super::Told;
use super::life::{Model, work};
use crate::ledger::Reports;
use crate::support::{Child, Folder, Random, number, seed};

/// Longest life of a child after it has begun to work.
const LIFE: Duration = Duration::from_millis(40);

#[test]
fn what_is_active_is_whole_however_often_it_is_killed() {
    let kills = number("ZLAYER_KILLS").unwrap_or(300);
    let seed = seed();
    println!("bundles kill: ZLAYER_SEED={seed}");
    let mut random = Random::new(seed);
    let folder = Folder::quick();
    let reports = folder.0.join("reports");
    let mut told = Told::default();
    for kill in 0..kills {
        let mut child = Child::command("bundles::kill::child", &folder.0)
            .env("BUNDLES_FIRST", (told.highest.1 + 1).to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap()).lines();
        assert!(output.any(|line| line.unwrap().ends_with("ready")));
        let fraction = random.below(1000) as f64 / 1000.0;
        // At any moment of its work: which one is all that this time decides.
        std::thread::sleep(LIFE.mul_f64(fraction));
        child.kill().unwrap();
        let status = child.wait().unwrap();
        let by_itself = "the child ended by itself";
        assert_eq!(
            status.signal(),
            Some(9),
            "kill {kill}: {by_itself}: {status}"
        );
        if let Ok(text) = std::fs::read_to_string(&reports) {
            text.lines().for_each(|line| told.note(line));
            std::fs::remove_file(&reports).unwrap();
        }
        told.check(&folder.0);
        told.done = Model::found(&folder.0);
        told.tried = None;
    }
    told.go_on(&folder.0);
    println!("bundles kill: {kills} kills, {told:?}");
    let enough = kills / 20;
    assert!(
        told.highest.0 >= enough,
        "too few installs between the kills to show anything"
    );
}

#[test]
#[ignore = "the child of the test above"]
fn child() {
    let Some(folder) = Child::folder() else {
        return;
    };
    let reports = Reports::create(&folder.join("reports"));
    println!("ready");
    work(
        &folder,
        &reports,
        number("BUNDLES_FIRST").unwrap()..u64::MAX,
    );
}
