//! Starts that come to nothing because the device lacks something: no generation's fault.

use super::*;

/// A device with two generations that have proved themselves, and a third that was installed then.
fn device() -> Device {
    let device = Device::new();
    device.install_good("d", 1);
    device.install_good("d", 2);
    assert_eq!(device.install("d", 3, 3), 3);
    device
}

#[test]
fn one_that_the_device_refuses_stays_the_active_one_while_the_last_good_one_is_served() {
    let device = device();
    let generations = device.generations();
    for starts in 1..=STARTS {
        assert_eq!(device.next(), Some(3));
        let choice = generations.choose_meanwhile(3, "it wants TOKEN", &[3]);
        assert_eq!(choice.number, Some(2));
        assert!(choice.went_back.as_ref().unwrap().is_for_now);
        generations.begin(&choice).unwrap();
        let standing = generations.standing();
        assert_eq!((standing.active, standing.starts), (Some(3), 0));
        assert!(standing.failed.is_empty());
        let trial = fs::read_to_string(device.path(TRIAL)).unwrap();
        assert_eq!(trial, format!("2 {starts}\n"));
    }
    // That one is in a crash loop itself: there is one more.
    let choice = generations.choose_meanwhile(3, "it wants TOKEN", &[3]);
    assert_eq!(choice.number, Some(1));
    let choice = generations.choose_meanwhile(3, "it wants TOKEN", &[3, 1]);
    assert_eq!(choice.number, None);
    // An end in order is none of a crash, and what has lasted begins anew.
    generations.end_in_order(2).unwrap();
    let choice = generations.choose_meanwhile(3, "it wants TOKEN", &[3]);
    assert_eq!(choice.number, Some(2));
    generations.confirm(2).unwrap();
    assert!(!device.path(TRIAL).exists());
    assert_eq!(generations.active().unwrap(), Some(3));
}

#[test]
fn a_start_that_is_taken_back_was_none() {
    let device = device();
    let generations = device.generations();
    for _ in 0..2 * STARTS {
        assert_eq!(device.start(), Some(3));
        generations.take_back_start(3).unwrap();
    }
    assert_eq!(device.start(), Some(3));
    // The next was an end in its trial.
    assert_eq!(device.start(), Some(2));
}

#[test]
fn one_that_did_not_last_is_tried_again_after_a_rest() {
    let device = Device::new();
    device.install_good("d", 1);
    for _ in 0..STARTS {
        assert_eq!(device.start(), Some(1));
    }
    let choice = device.generations().choose();
    assert_eq!((choice.number, choice.worn), (None, Some(1)));
    device.generations().rest(7).unwrap();
    assert_eq!(device.next(), None);
    device.generations().rest(1).unwrap();
    assert_eq!(device.next(), Some(1));
}

#[test]
fn one_that_failed_by_its_own_fault_says_so_and_has_no_rest() {
    let device = Device::new();
    device.install_good("d", 1);
    let generations = device.generations();
    for starts in 1..=STARTS {
        assert_eq!(device.start(), Some(1));
        generations.note_failure(1, "its code is damaged").unwrap();
        // What was good may be so again.
        let is_marked = !generations.standing().failed.is_empty();
        assert_eq!(is_marked, starts == STARTS);
    }
    let choice = generations.choose();
    assert_eq!((choice.number, choice.worn), (None, None));
    let told = choice.nothing.unwrap();
    assert!(
        told.contains("did not last: its code is damaged; install another bundle"),
        "{told}"
    );
    // Where there is another, that is served, and the reason told.
    let device = Device::new();
    device.install_good("d", 1);
    device.install_good("d", 2);
    for _ in 1..=STARTS {
        assert_eq!(device.start(), Some(2));
    }
    let generations = device.generations();
    generations.note_failure(2, "its code is damaged").unwrap();
    let back = generations.choose().went_back.unwrap();
    assert_eq!(
        (back.reason.as_str(), back.is_for_now),
        ("its code is damaged", false)
    );
}
