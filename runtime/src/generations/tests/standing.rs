//! Generations on trial: which one the next start serves.

use super::*;

/// A device on which generation 1 has proved itself, and 2 has not.
fn on_trial() -> Device {
    let device = Device::new();
    assert_eq!(device.install_good("d", 1), 1);
    assert_eq!(device.install("d", 2, 2), 2);
    device
}

fn why(device: &Device) -> String {
    let choice = device.generations().choose();
    choice.went_back.unwrap().reason
}

#[test]
fn a_new_generation_has_one_start_to_prove_itself() {
    let device = on_trial();
    let generations = device.generations();
    let before = device.files();
    // Who only looks changes nothing, and counts nothing.
    assert_eq!((device.next(), device.next()), (Some(2), Some(2)));
    assert_eq!(device.files(), before);
    assert_eq!(device.start(), Some(2));
    assert_eq!(generations.standing().starts, 1);
    let choice = generations.choose();
    assert_eq!(choice.number, Some(1));
    assert_eq!(choice.nothing, None);
    assert_eq!(choice.went_back.as_ref().unwrap().from, Some(2));
    assert_eq!(why(&device), "it was started once and not confirmed");
    // Not before that start begins.
    assert_eq!(generations.active().unwrap(), Some(2));
    generations.begin(&choice).unwrap();
    let standing = generations.standing();
    assert_eq!(standing.active, Some(1));
    assert_eq!((standing.confirmed, standing.starts), (vec![1], 1));
    let reason = "it was started once and not confirmed".to_owned();
    assert_eq!(standing.failed, [(2, reason)]);
}

#[test]
fn a_confirmed_one_stays() {
    let device = on_trial();
    device.start();
    device.generations().confirm(2).unwrap();
    for _ in 0..10 {
        assert_eq!(device.start(), Some(2));
        device.generations().confirm(2).unwrap();
    }
    let standing = device.generations().standing();
    assert_eq!((standing.confirmed, standing.starts), (vec![1, 2], 0));
    assert!(standing.failed.is_empty());
}

#[test]
fn an_orderly_end_ends_a_trial_too_but_nowhere_else() {
    // There is one to go back to.
    let device = on_trial();
    device.start();
    device.generations().end_in_order(2).unwrap();
    assert_eq!(device.next(), Some(1));
    // There is none.
    let device = Device::new();
    device.install("d", 1, 1);
    for _ in 0..10 {
        assert_eq!(device.start(), Some(1));
        device.generations().end_in_order(1).unwrap();
    }
    // Those that were no orderly ends count still.
    for starts in 1..=2 {
        device.start();
        assert_eq!(device.generations().standing().starts, starts);
    }
    device.start();
    device.generations().end_in_order(1).unwrap();
    assert_eq!(device.generations().standing().starts, 2);
    assert_eq!(device.start(), Some(1));
    assert_eq!(device.start(), None);
    // One that proved itself once is no trial.
    let device = on_trial();
    device.start();
    device.generations().confirm(2).unwrap();
    for _ in 0..10 {
        assert_eq!(device.start(), Some(2));
        device.generations().end_in_order(2).unwrap();
    }
    // Whoever ends may serve another one by now.
    device.start();
    device.generations().end_in_order(1).unwrap();
    assert_eq!(device.generations().standing().starts, 1);
}

#[test]
fn a_crash_loop_ends_on_the_last_good_one() {
    let device = on_trial();
    device.start();
    device.generations().confirm(2).unwrap();
    for _ in 0..STARTS {
        assert_eq!(device.start(), Some(2));
    }
    assert_eq!(why(&device), "it was started 3 times and did not last");
    for _ in 0..STARTS {
        assert_eq!(device.start(), Some(1));
    }
    // Neither is tried over and over.
    let choice = device.generations().choose();
    assert_eq!((choice.number, choice.went_back), (None, None));
    let told = choice.nothing.unwrap();
    assert!(told.starts_with("generation 1 was started 3 times and did not last; install another bundle, or roll back"), "{told}");
}

#[test]
fn a_crash_loop_with_nothing_to_go_back_to_ends_with_nothing() {
    let device = Device::new();
    let told = device.generations().choose().nothing.unwrap();
    assert!(told.contains("nothing is installed: "), "{told}");
    device.install("d", 1, 1);
    // It never was confirmed, so it is nothing to go back to.
    device.install("d", 2, 2);
    for _ in 0..STARTS {
        assert_eq!(device.start(), Some(2));
    }
    let before = device.files();
    for _ in 0..2 {
        assert_eq!(device.start(), None);
    }
    assert_eq!(device.files(), before);
    // Somebody comes.
    device.generations().activate(2).unwrap();
    assert_eq!(device.start(), Some(2));
    device.install("d", 3, 3);
    assert_eq!(device.start(), Some(3));
    device.generations().confirm(3).unwrap();
    assert_eq!(device.next(), Some(3));
}

#[test]
fn what_fails_while_it_is_served_gives_way_to_the_last_good_one() {
    let device = on_trial();
    let generations = device.generations();
    device.start();
    generations.go_back(2, "its probe failed", Some(1)).unwrap();
    assert_eq!(generations.active().unwrap(), Some(1));
    let standing = generations.standing();
    assert_eq!(standing.failed, [(2, "its probe failed".to_owned())]);
    // The daemon that went back serves it: that is its first start.
    assert_eq!(standing.starts, 1);
    assert_eq!(device.next(), Some(1));
    // There is none that is better, and it may yet do.
    generations.go_back(1, "traps", None).unwrap();
    assert_eq!(
        (generations.active().unwrap(), device.next()),
        (Some(1), Some(1))
    );
    assert_eq!(generations.standing().failed.len(), 2);
    generations.confirm(1).unwrap();
    assert_eq!(generations.standing().failed.len(), 1);
    // Another than the active one may be told of, too.
    generations.go_back(2, "again", Some(2)).unwrap();
    assert_eq!(generations.active().unwrap(), Some(1));
}

#[test]
fn what_cannot_be_loaded_gives_way_at_once() {
    let device = on_trial();
    let generations = device.generations();
    device.start();
    let choice = generations.choose_without(2, "its code is damaged", &[]);
    assert_eq!(choice.number, Some(1));
    assert_eq!(
        choice.went_back.as_ref().unwrap().reason,
        "its code is damaged"
    );
    generations.begin(&choice).unwrap();
    let choice = generations.choose_without(1, "its code, too", &[]);
    assert_eq!(choice.number, None);
    let told = choice.nothing.as_ref().unwrap();
    assert!(
        told.contains("generation 1 cannot be served") && told.contains("its code, too"),
        "{told}"
    );
    let before = device.files();
    generations.begin(&choice).unwrap();
    assert_eq!(device.files(), before);
}

#[test]
fn what_failed_is_served_again_only_if_somebody_says_so() {
    let device = on_trial();
    let generations = device.generations();
    device.start();
    generations.confirm(2).unwrap();
    generations.go_back(2, "traps", Some(1)).unwrap();
    for _ in 0..STARTS - 1 {
        assert_eq!(device.start(), Some(1));
    }
    // It proved itself once, and failed since.
    assert_eq!(device.start(), None);
    assert_eq!(generations.previous().unwrap(), None);
    generations.activate(2).unwrap();
    assert!(generations.standing().failed.is_empty());
    assert_eq!(device.start(), Some(2));
    // The same bundle again is the same generation.
    generations.go_back(2, "traps", Some(1)).unwrap();
    assert_eq!(device.install("d", 2, 2), 2);
    assert!(generations.standing().failed.is_empty());
}

#[test]
fn whoever_was_stopped_while_going_back_goes_on_with_it() {
    let device = on_trial();
    // The failure is written down, and the daemon killed.
    device
        .generations()
        .begin(&device.generations().choose())
        .unwrap();
    let kept = device.generations().make().unwrap();
    let failed = failed::Failed::default().with(2, "its probe failed");
    device.generations().mark(&kept, &failed).unwrap();
    assert_eq!(
        (device.next(), why(&device)),
        (Some(1), "its probe failed".to_owned())
    );
}

#[test]
fn rollback_passes_over_what_failed() {
    let device = Device::new();
    for release in 1..=3 {
        device.install_good("d", release);
    }
    let generations = device.generations();
    generations.go_back(3, "traps", Some(2)).unwrap();
    assert_eq!(generations.active().unwrap(), Some(2));
    assert_eq!(generations.previous().unwrap(), Some(1));
}

#[test]
fn the_last_good_one_is_kept_however_many_come_after_it() {
    let device = Device::new();
    let good = device.install_good("d", 1);
    for release in 2..=6 {
        device.install("d", release, release as usize);
        device.generations().forget().unwrap();
        let from = release.saturating_sub(KEPT_BEFORE as u64).max(2);
        let newest: Vec<u64> = (from..=release).collect();
        assert_eq!(
            device.generations().list().unwrap(),
            [&[good], &newest[..]].concat()
        );
        assert_eq!(device.blobs(), 1 + newest.len());
    }
    // Its bundle is that generation still.
    let bundle = pack("d", 1, &[artifact("p", "1.0.0", 1)], Some(&key()));
    let staged = device.stage(&bundle).unwrap();
    assert_eq!(staged.number, good);
    device.generations().discard(staged);
    device.start();
    assert_eq!(device.start(), Some(good));
    let standing = device.generations().standing();
    assert_eq!(standing.failed.len(), 1);
    // Once another one is good, it goes like any other, and what was known of it, too.
    for release in 7..=9 {
        device.install_good("d", release);
    }
    device.generations().forget().unwrap();
    assert_eq!(device.generations().list().unwrap(), [7, 8, 9]);
    let standing = device.generations().standing();
    assert_eq!(standing.confirmed, [7, 8, 9]);
    assert!(standing.failed.is_empty());
}

#[test]
fn one_whose_files_are_gone_is_nothing_to_go_back_to() {
    let device = on_trial();
    let blob = Blob::of(&artifact("p", "1.0.0", 1)).name();
    fs::remove_file(device.path(BLOBS).join(blob)).unwrap();
    for _ in 0..STARTS {
        assert_eq!(device.start(), Some(2));
    }
    assert_eq!(device.start(), None);
}

#[test]
fn uninstalling_forgets_all_of_it() {
    let device = on_trial();
    device.start();
    device.generations().go_back(2, "traps", Some(1)).unwrap();
    device.generations().uninstall().unwrap();
    let left: Vec<String> = device.files().into_keys().collect();
    assert_eq!(left, ["last", "releases"]);
    // Somebody was stopped right behind its decisive step.
    let device = on_trial();
    device.start();
    fs::remove_file(device.path(ACTIVE)).unwrap();
    assert_eq!(device.generations().standing(), Standing::default());
    assert_eq!(device.next(), None);
    device.install("d", 3, 3);
    assert_eq!(device.generations().standing().confirmed, [0; 0]);
    for _ in 0..STARTS {
        assert_eq!(device.start(), Some(3));
    }
    assert_eq!(device.start(), None);
}

#[test]
fn where_one_that_was_good_cannot_be_served_either_the_others_are_tried_and_no_crash_loop_goes_on()
{
    let device = Device::new();
    for release in 1..=2 {
        device.install_good("d", release);
    }
    device.install("d", 3, 3);
    assert_eq!(device.start(), Some(3));
    let generations = device.generations();
    let choice = generations.choose();
    assert_eq!(choice.number, Some(2));
    let back = choice.went_back.unwrap();
    let further = |tried: &[u64]| generations.choose_further(&back, tried);
    let older = further(&[2]).unwrap();
    assert_eq!(older.number, Some(1));
    assert_eq!(older.went_back.as_ref(), Some(&back));
    // What works of the one that crashed is more than nothing, but not for ever.
    for _ in 1..STARTS {
        let all_the_same = further(&[2, 1]).unwrap();
        assert_eq!(
            (all_the_same.number, &all_the_same.went_back),
            (Some(3), &None)
        );
        generations.begin(&all_the_same).unwrap();
    }
    let nothing = further(&[2, 1]).unwrap();
    assert_eq!((nothing.number, nothing.worn), (None, Some(3)));
    let told = nothing.nothing.unwrap();
    assert!(told.contains("generation 3 was started 3 times"), "{told}");
    assert_eq!(further(&[2, 1, 3]), None);
    // The older one is the active one from then on, and the one between is not to blame.
    generations.begin(&older).unwrap();
    assert_eq!(device.next(), Some(1));
    let failed = generations.standing().failed;
    let failed: Vec<u64> = { failed.iter() }.map(|(one, _)| *one).collect();
    assert_eq!(failed, [3]);
}

#[test]
fn damaged_notes_never_keep_a_device_from_serving() {
    for (name, next) in [(TRIAL, 2), (CONFIRMED, 2), (FAILED, 1)] {
        for damaged in [&b""[..], b"?", b"2", b"\0\0\0\n", b"\xff\xff"] {
            let device = on_trial();
            device.start();
            device
                .generations()
                .mark(
                    &device.generations().make().unwrap(),
                    &failed::Failed::default().with(7, "x"),
                )
                .unwrap();
            device.spoil(name, damaged);
            assert_eq!(device.next(), Some(next), "{name} {damaged:?}");
            // A trial that nobody knows of begins anew; with nothing that is good there is nothing to go back to.
            device.start();
            let starts = device.generations().standing().starts;
            assert_eq!(starts, if name == CONFIRMED { 2 } else { 1 });
            let active = device.generations().active().unwrap().unwrap();
            device.generations().confirm(active).unwrap();
            assert_eq!(device.start(), Some(active));
            device.generations().forget().unwrap();
        }
        // Nor does one that is none of the daemon's files.
        let device = on_trial();
        device
            .generations()
            .mark(
                &device.generations().make().unwrap(),
                &failed::Failed::default().with(7, "x"),
            )
            .unwrap();
        device
            .generations()
            .begin(&device.generations().choose())
            .unwrap();
        fs::set_permissions(device.path(name), PermissionsExt::from_mode(0o666)).unwrap();
        assert_eq!(device.next(), Some(next), "{name}");
        device.start();
        device.generations().confirm(next).unwrap();
    }
}

#[test]
fn a_count_outlives_whatever_comes_between_two_files() {
    // An install is stopped behind the first of them: the trial of the active one goes on where it was.
    let device = on_trial();
    device.start();
    let before = fs::read(device.path(ACTIVE)).unwrap();
    let staged = device.stage(&pack("d", 3, &[artifact("p", "1.0.0", 3)], Some(&key())));
    device.generations().adopt(&staged.unwrap()).unwrap();
    assert_eq!(fs::read(device.path(TRIAL)).unwrap(), b"2 1\n3 1\n");
    device.spoil(ACTIVE, &before);
    assert_eq!(device.next(), Some(1));
}
