//! Look-ups that run at the same time.

use std::pin::pin;
use std::sync::mpsc::Sender;
use std::sync::{Mutex, mpsc};

use futures_lite::future::{poll_once, zip};

use super::super::{LOOK_UPS, ResolveFailure, WAITING};
use super::*;

/// A server, and the word that lets it answer.
struct Held {
    server: Server,
    go: Sender<()>,
}

/// A server that keeps every question back until it is told to go on.
fn held() -> Held {
    let (go, wait) = mpsc::channel();
    let wait = Mutex::new((wait, false));
    let server = Server::new(move |asked, reply| {
        let mut wait = wait.lock().unwrap();
        if !wait.1 {
            wait.1 = wait.0.recv().is_ok();
        }
        vec![known(asked, reply)]
    });
    Held { server, go }
}

#[test]
fn all_who_ask_for_one_name_share_one_question() {
    let Held { server, go } = held();
    let bench = Bench::new(server.address, "options timeout:30");
    let asking = async {
        let waiting = (0..WAITING).map(|_| Box::pin(bench.resolver.resolve("a")));
        let mut all: Vec<_> = waiting.collect();
        for one in &mut all {
            assert!(poll_once(one).await.is_none());
        }
        // One more than may wait.
        let error = bench.resolver.resolve("a").await.unwrap_err();
        assert_eq!(error.reason, ResolveFailure::Busy, "{error}");
        // Those who give up make room.
        drop(all.pop());
        let mut late = pin!(bench.resolver.resolve("a"));
        assert!(poll_once(late.as_mut()).await.is_none());
        go.send(()).unwrap();
        for one in all {
            assert_eq!(one.await.unwrap().len(), 2);
        }
        assert_eq!(late.await.unwrap().len(), 2);
    };
    smol::block_on(asking);
    assert_eq!(server.names(), ["a"]);
}

#[test]
fn a_look_up_that_all_gave_up_goes_on_and_is_kept() {
    let Held { server, go } = held();
    let bench = Bench::new(server.address, "options timeout:30");
    smol::block_on(async {
        let mut asking = Box::pin(bench.resolver.resolve("a"));
        assert!(poll_once(&mut asking).await.is_none());
    });
    go.send(()).unwrap();
    assert_eq!(bench.found("a"), BOTH);
    assert_eq!(server.names(), ["a"]);
}

#[test]
fn names_that_nobody_answers_for_hold_up_no_others() {
    let server = Server::new(|asked, reply| match asked.name.starts_with("dead") {
        true => vec![],
        false => vec![known(asked, reply)],
    });
    let bench = Bench::new(server.address, "options timeout:30");
    smol::block_on(async {
        let name = |number| format!("dead{number}");
        let names: Vec<String> = (0..2 * LOOK_UPS).map(name).collect();
        let mut dead: Vec<_> = names
            .iter()
            .map(|name| Box::pin(bench.resolver.resolve(name)))
            .collect();
        for one in &mut dead {
            assert!(poll_once(one).await.is_none());
        }
        // As many as may be looked up are, and still another is found.
        let found = bench.resolver.resolve("alive").await.unwrap();
        assert_eq!(found.len(), 2);
        // The oldest made room, and say so.
        let error = dead.remove(0).await.unwrap_err();
        assert_eq!(error.reason, ResolveFailure::Busy);
        assert!(error.to_string().contains("'dead0' made room"), "{error}");
        assert!(poll_once(dead.last_mut().unwrap()).await.is_none());
    });
}

#[test]
fn look_ups_that_nobody_waits_for_make_room_first() {
    let server = Server::new(|_, _| vec![]);
    let bench = Bench::new(server.address, "options timeout:30");
    smol::block_on(async {
        let names: Vec<String> = (0..=LOOK_UPS).map(|number| number.to_string()).collect();
        let mut waiting: Vec<_> = names
            .iter()
            .map(|name| Box::pin(bench.resolver.resolve(name)))
            .collect();
        let mut last = waiting.pop().unwrap();
        for one in &mut waiting {
            assert!(poll_once(one).await.is_none());
        }
        drop(waiting.pop());
        assert!(poll_once(&mut last).await.is_none());
        for one in &mut waiting {
            assert!(poll_once(one).await.is_none());
        }
    });
}

#[test]
fn different_names_are_asked_for_side_by_side() {
    let server = knowing();
    let bench = Bench::new(server.address, "");
    let both = zip(bench.resolver.resolve("a"), bench.resolver.resolve("b"));
    let (one, other) = smol::block_on(both);
    assert_eq!(one.unwrap(), other.unwrap());
    assert_ne!(server.next().name, "");
}
