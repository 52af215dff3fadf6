use std::sync::atomic::Ordering;
use std::time::Duration;

use super::super::pace::{AT_ONCE as OWN_AT_ONCE, PACE};
use super::super::{LONG, SILENT, SLOW};
use super::*;

/// A claim of this address, so long in this phase.
fn claim(address: &str, phase: Phase, age: Duration) -> Arc<Claim> {
    let claim = Claim::new(address.parse().unwrap());
    claim.enter(phase);
    let since = &claim.since;
    since.fetch_sub(age.as_micros() as u64, Ordering::Relaxed);
    claim
}

fn network(address: &str) -> Network {
    address.parse::<std::net::IpAddr>().unwrap().into()
}

const MANY: &str = "192.0.2.1";
const FEW: &str = "192.0.2.2";
const NEW: &str = "192.0.2.3";

fn entered(ledger: &Arc<Ledger>, claims: &[&Arc<Claim>]) -> Vec<Entry> {
    claims.iter().map(|claim| ledger.enter(claim, 1)).collect()
}

fn asked_of(claims: &[&Arc<Claim>]) -> Vec<u8> {
    let bits = asked::LEAVE | asked::LEAVE_IDLE | asked::END_REQUEST;
    claims
        .iter()
        .map(|claim| claim.asked.load(Ordering::Relaxed) & bits)
        .collect()
}

#[test]
fn what_does_nothing_goes_first_and_of_it_what_has_done_so_for_longest() {
    let ledger = Arc::<Ledger>::default();
    let young = claim(MANY, Phase::Waiting, Duration::ZERO);
    let old = claim(MANY, Phase::Waiting, Duration::from_secs(9));
    let single = claim(FEW, Phase::Waiting, Duration::from_secs(99));
    let slow = claim(MANY, Phase::Exchange, Duration::from_secs(99));
    let claims = [&young, &old, &single, &slow];
    let entries = entered(&ledger, &claims);
    assert!(ledger.make_room([network(NEW)]));
    assert_eq!(asked_of(&claims), [0, asked::LEAVE_IDLE, 0, 0]);
    // That one is on its way, and has to be waited for.
    assert!(ledger.make_room([network(NEW)]));
    assert_eq!(asked_of(&claims), [0, asked::LEAVE_IDLE, 0, 0]);
    // Unless it got a request meanwhile.
    old.enter(Phase::Exchange);
    assert!(ledger.make_room([network(NEW)]));
    assert_eq!(asked_of(&claims)[0], asked::LEAVE_IDLE);
    drop(entries);
    assert_eq!(ledger.count(), 0);
}

#[test]
fn work_is_given_up_for_a_network_that_has_less_and_for_no_other() {
    let slow = Duration::from_secs(60).max(SLOW);
    let ledger = Arc::<Ledger>::default();
    let (fast, slower) = (
        claim(MANY, Phase::Exchange, slow),
        claim(MANY, Phase::Exchange, slow),
    );
    for (claim, bytes) in [(&fast, 1000), (&slower, 10)] {
        claim.set_held_up(true);
        claim.add_moved(bytes);
    }
    let begun = claim(MANY, Phase::Exchange, Duration::ZERO);
    let quiet = claim(FEW, Phase::Conversation, SILENT);
    let idle = claim(FEW, Phase::Waiting, slow);
    let claims = [&fast, &slower, &begun, &quiet, &idle];
    let _entries = entered(&ledger, &claims);
    // The idle one of FEW is not MANY's to take.
    assert!(!ledger.make_room([network(MANY)]));
    idle.enter(Phase::Exchange);
    assert!(!ledger.make_room([network(FEW)]), "it would have as many");
    assert!(ledger.make_room([network(NEW)]));
    assert_eq!(asked_of(&claims), [0, asked::LEAVE, 0, 0, 0]);
}

#[test]
fn silent_conversations_go_before_what_is_slow_and_that_before_what_takes_long() {
    let long = LONG.max(SILENT) * 2;
    let ledger = Arc::<Ledger>::default();
    let computing = claim(MANY, Phase::Exchange, long);
    let reading = claim(MANY, Phase::Exchange, long);
    reading.set_held_up(true);
    let silent = claim(MANY, Phase::Conversation, long);
    let talking = claim(MANY, Phase::Conversation, Duration::ZERO);
    let claims = [&computing, &reading, &silent, &talking];
    let mut entries = entered(&ledger, &claims);
    let mut order = Vec::new();
    while ledger.make_room([network(NEW)]) {
        let left = asked_of(&claims);
        let asked = (0..4)
            .find(|&n| left[n] != 0 && !order.contains(&n))
            .unwrap();
        order.push(asked);
        entries[asked].set(0);
        // It has left: another one's line takes its place.
        let fresh = claim(MANY, Phase::Exchange, Duration::ZERO);
        entries[asked] = ledger.enter(&fresh, 1);
    }
    assert_eq!(order, [2, 1, 0, 3]);
}

#[test]
fn a_single_idle_connection_gives_way_to_a_network_that_has_none() {
    let ledger = Arc::<Ledger>::default();
    let idle = claim(FEW, Phase::Waiting, Duration::from_secs(1));
    let _entries = entered(&ledger, &[&idle]);
    assert!(ledger.make_room([network(NEW)]));
    assert!(idle.is_asked(asked::LEAVE_IDLE));
}

#[test]
fn who_has_more_goes_before_what_is_ones_own() {
    let ledger = Arc::<Ledger>::default();
    let own = claim(FEW, Phase::Waiting, SLOW * 9);
    let slow = [0; 3].map(|_| claim(MANY, Phase::Exchange, SLOW * 2));
    for claim in &slow {
        claim.set_held_up(true);
    }
    let claims: Vec<_> = slow.iter().chain([&own]).collect();
    let mut entries = entered(&ledger, &claims);
    assert!(ledger.make_room([network(FEW)]));
    assert_eq!(asked_of(&claims), [asked::LEAVE, 0, 0, 0]);
    // Where nobody has more, it is one's own that goes.
    entries.drain(..2);
    assert!(ledger.make_room([network(FEW)]));
    assert!(own.is_asked(asked::LEAVE_IDLE));
}

#[test]
fn several_newcomers_get_a_place_each() {
    let ledger = Arc::<Ledger>::default();
    let claims: Vec<_> = (0..4)
        .map(|n| claim(MANY, Phase::Waiting, Duration::from_secs(n)))
        .collect();
    let _entries = entered(&ledger, &claims.iter().collect::<Vec<_>>());
    assert!(ledger.make_room([network(NEW), network(NEW), network(FEW)]));
    let asked = claims
        .iter()
        .filter(|claim| claim.is_asked(asked::LEAVE_IDLE));
    assert_eq!(asked.count(), 3);
}

#[test]
fn a_network_takes_its_own_connections_at_a_bounded_pace() {
    let ledger = Arc::<Ledger>::default();
    let idle = [0; 100].map(|_| claim(MANY, Phase::Waiting, SLOW));
    let _entries = entered(&ledger, &idle.iter().collect::<Vec<_>>());
    let asked = || {
        let asked = idle.iter().filter(|one| one.is_asked(asked::LEAVE_IDLE));
        asked.count()
    };
    let began = Instant::now();
    for more in 1..=100 {
        ledger.make_room(std::iter::repeat_n(network(MANY), more));
    }
    let most = began.elapsed().div_duration_f64(PACE) as usize + OWN_AT_ONCE as usize + 2;
    assert!((1..=most).contains(&asked()), "{} of {most}", asked());
    // Another one does not wait for that.
    let before = asked();
    assert!(ledger.make_room(std::iter::repeat_n(network(NEW), before + 1)));
    assert_eq!(asked(), before + 1);
}

#[test]
fn however_many_networks_wait_some_get_room_at_a_time() {
    let ledger = Arc::<Ledger>::default();
    let idle = [0; 4 * AT_ONCE].map(|_| claim(MANY, Phase::Waiting, SLOW));
    let _entries = entered(&ledger, &idle.iter().collect::<Vec<_>>());
    let newcomers: Vec<_> = (0..3 * AT_ONCE)
        .map(|n| network(&format!("2001:db8:0:{n:x}::1")))
        .collect();
    for times in [1, 2, 3, 3] {
        assert!(ledger.make_room(newcomers.iter().copied()));
        let asked = idle.iter().filter(|one| one.is_asked(asked::LEAVE_IDLE));
        assert_eq!(asked.count(), times * AT_ONCE);
    }
}

#[test]
fn a_request_is_ended_for_others_only_and_only_one_at_a_time() {
    let ledger = Arc::<Ledger>::default();
    let long = LONG * 2;
    let claims = [0; 3].map(|_| claim(MANY, Phase::Exchange, long));
    let other = claim(FEW, Phase::Exchange, long);
    let _entries = entered(&ledger, &claims.iter().chain([&other]).collect::<Vec<_>>());
    assert!(!ledger.end_a_request(network(MANY), 1));
    for _ in 0..2 {
        assert!(ledger.end_a_request(network(FEW), 1));
        let asked = claims
            .iter()
            .filter(|claim| claim.is_asked(asked::END_REQUEST));
        assert_eq!(asked.count(), 1);
    }
    assert!(!other.is_asked(asked::END_REQUEST));
}
