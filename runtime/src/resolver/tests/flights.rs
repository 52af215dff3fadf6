//! Look-ups that run at the same time.

use std::pin::{Pin, pin};
use std::sync::mpsc::Sender;
use std::sync::{Mutex, mpsc};

use std::collections::BTreeSet;
use std::net::UdpSocket;
use std::sync::Arc;
use std::time::Duration;

use futures_lite::future::{poll_once, zip};

use super::super::flight::Flight;
use super::super::resolv_conf::ResolvConf;
use super::super::servers::Servers;
use super::super::{LOOK_UPS, LOOK_UPS_EACH, ResolveFailure, WAITING, fly};
use super::server::seen;
use super::*;
use crate::memory::Budget;

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
        let waiting = (0..WAITING).map(|_| Box::pin(bench.resolver.resolve("a", None)));
        let mut all: Vec<_> = waiting.collect();
        for one in &mut all {
            assert!(poll_once(one).await.is_none());
        }
        // One more than may wait.
        let error = bench.resolver.resolve("a", None).await.unwrap_err();
        assert_eq!(error.reason, ResolveFailure::Busy, "{error}");
        // Those who give up make room.
        drop(all.pop());
        let mut late = pin!(bench.resolver.resolve("a", None));
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
        let mut asking = Box::pin(bench.resolver.resolve("a", None));
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
            .map(|name| Box::pin(bench.resolver.resolve(name, None)))
            .collect();
        for one in &mut dead {
            assert!(poll_once(one).await.is_none());
        }
        // As many as may be looked up are, and still another is found.
        let found = bench.resolver.resolve("alive", None).await.unwrap();
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
            .map(|name| Box::pin(bench.resolver.resolve(name, None)))
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

type Begun = Pin<Box<dyn Future<Output = Result<Addresses, ResolveError>>>>;

/// Look-ups for one plugin or none, begun and not yet ended.
async fn begin(bench: &Bench, names: Vec<String>, asker: Option<&Arc<Budget>>) -> Vec<Begun> {
    let mut begun = Vec::new();
    for name in names {
        let (resolver, asker) = (bench.resolver.clone(), asker.cloned());
        let looked = async move { resolver.resolve(&name, asker.as_ref()).await };
        let mut one: Begun = Box::pin(looked);
        assert!(poll_once(&mut one).await.is_none());
        begun.push(one);
    }
    begun
}

fn names(prefix: &str, count: usize) -> Vec<String> {
    (0..count).map(|at| format!("{prefix}{at}")).collect()
}

#[test]
fn a_plugin_that_makes_up_names_ends_no_look_up_of_others() {
    let server = Server::new(|_, _| vec![]);
    let bench = Bench::new(server.address, "options timeout:30");
    let (greedy, modest) = (Budget::new(1), Budget::new(1));
    smol::block_on(async {
        let mut others = begin(&bench, names("other", LOOK_UPS_EACH), Some(&modest)).await;
        let mut made_up = begin(&bench, names("greedy", LOOK_UPS_EACH), Some(&greedy)).await;
        for name in names("more", 2 * LOOK_UPS) {
            let error = bench.resolver.resolve(&name, Some(&greedy)).await;
            let error = error.unwrap_err();
            assert_eq!(error.reason, ResolveFailure::Busy, "{error}");
            let shown = format!("{LOOK_UPS_EACH} look-ups of this plugin are under way");
            assert!(error.to_string().contains(&shown), "{error}");
        }
        // What is looked up already may be waited for.
        drop(begin(&bench, names("other", 1), Some(&greedy)).await);
        // One that the plugin gives up makes room for another of its own, time and again.
        for name in names("again", 2 * LOOK_UPS) {
            made_up.pop();
            made_up.extend(begin(&bench, vec![name], Some(&greedy)).await);
        }
        for one in others.iter_mut().chain(&mut made_up) {
            assert!(poll_once(one).await.is_none());
        }
    });
}

#[test]
fn where_all_look_ups_are_taken_a_plugin_ends_its_own_before_those_of_others() {
    let server = Server::new(|_, _| vec![]);
    let bench = Bench::new(server.address, "options timeout:30");
    let plugin = Budget::new(1);
    smol::block_on(async {
        let mut others = begin(&bench, names("other", LOOK_UPS - 2), None).await;
        let mut own = begin(&bench, names("own", 3), Some(&plugin)).await;
        let error = own.remove(0).await.unwrap_err();
        assert!(error.to_string().contains("'own0' made room"), "{error}");
        for one in others.iter_mut().chain(&mut own) {
            assert!(poll_once(one).await.is_none());
        }
        // A plugin that has none gets its turn all the same.
        let new = Budget::new(1);
        let _late = begin(&bench, names("late", 1), Some(&new)).await;
        let error = others.remove(0).await.unwrap_err();
        assert_eq!(error.reason, ResolveFailure::Busy);
    });
}

/// A server that never says a word of IPv6, nor of names that begin with `dead`.
fn half_silent() -> Server {
    Server::new(
        |asked, reply| match asked.is_v6 || asked.name.starts_with("dead") {
            true => vec![],
            false => vec![known(asked, reply)],
        },
    )
}

#[test]
fn addresses_that_came_early_outlive_the_look_up_that_made_room() {
    let server = half_silent();
    let bench = Bench::new(server.address, "options timeout:30");
    smol::block_on(async {
        let mut waiting = begin(&bench, names("half", 1), None).await;
        // They are there, though the first who asked has not looked yet.
        assert_eq!(
            bench.resolver.resolve("half0", None).await.unwrap().len(),
            1
        );
        let mut dead = begin(&bench, names("dead", LOOK_UPS), None).await;
        let found = waiting.remove(0).await.unwrap();
        assert_eq!(found[..], ["192.0.2.1".parse::<IpAddr>().unwrap()]);
        // They are kept, and nobody else had to make room.
        let found = poll_once(bench.resolver.resolve("half0", None)).await;
        assert_eq!(found.unwrap().unwrap().len(), 1);
        for one in &mut dead {
            assert!(poll_once(one).await.is_none());
        }
    });
}

#[test]
fn addresses_that_came_early_outlive_the_end_of_the_time() {
    let server = half_silent();
    let conf = ResolvConf::parse("nameserver 127.0.0.1\noptions timeout:30");
    let servers = Arc::new(Servers::new(Arc::new(conf), server.address.port()));
    let flight = Flight::new("half", Arc::clone(&servers));
    let time = Duration::from_secs(1);
    let (found, _) = smol::block_on(fly(&flight, time));
    assert_eq!(found.unwrap().len(), 1);
    let flight = Flight::new("dead", servers);
    let (found, _) = smol::block_on(fly(&flight, time));
    assert_eq!(found.unwrap_err().reason, ResolveFailure::Timeout);
}

#[test]
fn different_names_are_asked_for_side_by_side() {
    // A server that says nothing before it has been asked for both names.
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut held = Vec::new();
        let mut names = BTreeSet::new();
        let mut buffer = [0; 512];
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            let asked = seen(&buffer[..length], false);
            names.insert(asked.name.clone());
            let reply = known(&asked, Message::reply_to(&buffer[..length]));
            held.push((reply, from));
            if names.len() == 2 {
                for (reply, from) in held.drain(..) {
                    let _ = socket.send_to(&reply.bytes(), from);
                }
            }
        }
    });
    let bench = Bench::new(address, "options timeout:5 attempts:1");
    let resolver = &bench.resolver;
    let both = zip(resolver.resolve("a", None), resolver.resolve("b", None));
    let (one, other) = smol::block_on(both);
    assert_eq!(one.unwrap().len(), 2);
    assert_eq!(other.unwrap().len(), 2);
}
