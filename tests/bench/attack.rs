//! One client, at one address, that takes what it can and does nothing that a parser would refuse.
//!
//! The daemon under attack serves the guests `echo` and `websocket-echo`; or, for [`Attack::Computing`],
//! `echo` and, at `/call/*`, `calls`. The attacker is one thread
//! that gives way to all others: it stands for another machine, whose processor time is no part of
//! what is looked at.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with, sockopt};

/// What the attacker does with its connections.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Attack {
    /// Sends a header field, a byte at a time.
    SlowHeads,
    /// Sends a body without an end, somewhat faster than the daemon's floor.
    SlowBodies,
    /// Reads a large response, somewhat faster than the daemon's floor.
    SlowReaders,
    /// Asks once, and keeps the connection.
    Idle,
    /// Opens WebSockets and says nothing.
    IdleWebSockets,
    /// Asks as fast as it gets responses.
    Floods,
    /// Asks a hundred times before it reads.
    Pipelines,
    /// Asks, and resets the connection.
    Resets,
    /// Asks for what a plugin computes for long, in many of its instances.
    Computing,
}

/// Connections that it tries to hold: more than the daemon has places by default.
const CONNECTIONS: usize = 256;
/// Those of attacks that keep the daemon at work.
const BUSY: usize = 64;
/// How often a slow connection does something, and how many bytes it moves: 1,300 a second.
const SLOWLY: (Duration, usize) = (Duration::from_millis(100), 130);
/// Those that a plugin computes for, each for so many milliseconds.
const COMPUTING: (usize, u32) = (12, 1000);
/// Requests in a row.
const PIPELINED: usize = 100;
/// Bytes that the kernel keeps for a slow reader, at least: it takes a response without it otherwise.
const SLOW_BUFFER: usize = 4096;
/// How long the attacker rests when nothing can be done.
const REST: Duration = Duration::from_millis(1);
/// The attacker's way with the processor (nice(2)).
const NICE: i32 = 19;

impl Attack {
    /// All of them.
    pub const ALL: [Attack; 9] = [
        Attack::SlowHeads,
        Attack::SlowBodies,
        Attack::SlowReaders,
        Attack::Idle,
        Attack::IdleWebSockets,
        Attack::Floods,
        Attack::Pipelines,
        Attack::Resets,
        Attack::Computing,
    ];

    /// What it is called in tables.
    pub const fn name(self) -> &'static str {
        match self {
            Attack::SlowHeads => "slow heads",
            Attack::SlowBodies => "slow bodies",
            Attack::SlowReaders => "slow readers",
            Attack::Idle => "idle connections",
            Attack::IdleWebSockets => "idle WebSockets",
            Attack::Floods => "floods",
            Attack::Pipelines => "pipelines",
            Attack::Resets => "resets",
            Attack::Computing => "computing",
        }
    }

    fn connections(self) -> usize {
        match self {
            Attack::Floods | Attack::Pipelines | Attack::Resets => BUSY,
            Attack::Computing => COMPUTING.0,
            _ => CONNECTIONS,
        }
    }

    /// What a connection begins with.
    fn greeting(self) -> Vec<u8> {
        let get = "GET /download?bytes=1 HTTP/1.1\r\nHost: a\r\n\r\n";
        match self {
            Attack::SlowHeads => "GET / HTTP/1.1\r\nHost: a\r\nx: ".into(),
            Attack::SlowBodies => {
                "POST /count HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000\r\n\r\n".into()
            }
            Attack::SlowReaders => {
                "GET /download?bytes=10000000 HTTP/1.1\r\nHost: a\r\n\r\n".into()
            }
            Attack::Idle | Attack::Floods | Attack::Resets => get.into(),
            Attack::IdleWebSockets => "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\
                Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
                .into(),
            Attack::Pipelines => get.repeat(PIPELINED).into(),
            Attack::Computing => {
                let path = format!("/call/compute?ms={}", COMPUTING.1);
                format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").into()
            }
        }
    }

    /// Attacks the server at `port` of the loopback network from this address of it, until the result
    /// is dropped.
    pub fn begin(self, from: Ipv4Addr, port: u16) -> Attacker {
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            // Where this is refused the attacker is only in the others' way.
            let _ = rustix::process::nice(NICE);
            let mut connections: Vec<Option<Connection>> = Vec::new();
            connections.resize_with(self.connections(), || None);
            while !told.load(Ordering::Relaxed) {
                let mut is_busy = false;
                for slot in &mut connections {
                    match slot {
                        Some(connection) => match connection.step(self) {
                            Some(moved) => is_busy |= moved,
                            None => *slot = None,
                        },
                        None => *slot = Connection::open(self, from, port).ok(),
                    }
                }
                if !is_busy {
                    thread::sleep(REST);
                }
            }
        });
        Attacker {
            stop,
            thread: Some(thread),
        }
    }
}

/// An attack that goes on until this is dropped.
pub struct Attacker {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Attacker {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// One connection of the attacker's.
struct Connection {
    stream: TcpStream,
    /// What is still to be sent.
    unsent: Vec<u8>,
    /// When a slow one does something again.
    next: Instant,
}

impl Connection {
    fn open(attack: Attack, from: Ipv4Addr, port: u16) -> Result<Connection> {
        let stream = connect_from(from, port, attack == Attack::SlowReaders)?;
        stream.set_nonblocking(true)?;
        Ok(Connection {
            stream,
            unsent: attack.greeting(),
            next: Instant::now() + SLOWLY.0,
        })
    }

    /// Does what can be done without waiting. Says whether that was anything, or `None` when the
    /// connection is over.
    fn step(&mut self, attack: Attack) -> Option<bool> {
        let mut moved = self.send()?;
        let is_due = Instant::now() >= self.next;
        match attack {
            Attack::SlowHeads | Attack::SlowBodies if is_due => {
                self.next += SLOWLY.0;
                let bytes = if attack == Attack::SlowHeads {
                    1
                } else {
                    SLOWLY.1
                };
                self.unsent.resize(self.unsent.len() + bytes, b'x');
                self.receive(1)?;
            }
            Attack::SlowReaders if is_due => {
                self.next += SLOWLY.0;
                self.receive(SLOWLY.1)?;
            }
            Attack::Floods | Attack::Pipelines | Attack::Computing => {
                let received = self.receive(64 << 10)?;
                moved |= received;
                if received && self.unsent.is_empty() {
                    self.unsent = attack.greeting();
                }
            }
            Attack::Resets => {
                // Closing with bytes to send and no patience is a reset (socket(7)).
                sockopt::set_socket_linger(&self.stream, Some(Duration::ZERO)).ok()?;
                return None;
            }
            Attack::Idle | Attack::IdleWebSockets => {
                self.receive(4096)?;
            }
            Attack::SlowHeads | Attack::SlowBodies | Attack::SlowReaders => {}
        }
        Some(moved)
    }

    fn send(&mut self) -> Option<bool> {
        if self.unsent.is_empty() {
            return Some(false);
        }
        match self.stream.write(&self.unsent) {
            Ok(count) => {
                self.unsent.drain(..count);
                Some(true)
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Some(false),
            Err(_) => None,
        }
    }

    fn receive(&mut self, bytes: usize) -> Option<bool> {
        let mut piece = vec![0; bytes];
        match self.stream.read(&mut piece) {
            Ok(0) => None,
            Ok(_) => Some(true),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Some(false),
            Err(_) => None,
        }
    }
}

/// Connects to `port` of 127.0.0.1 from this address of the loopback network; `is_slow` keeps the
/// kernel from taking in more than a little.
///
/// # Errors
///
/// The socket cannot be made, bound or connected.
pub fn connect_from(from: Ipv4Addr, port: u16, is_slow: bool) -> Result<TcpStream> {
    let socket = socket_with(
        AddressFamily::INET,
        SocketType::STREAM,
        SocketFlags::CLOEXEC,
        None,
    )
    .context("a socket")?;
    if is_slow {
        sockopt::set_socket_recv_buffer_size(&socket, SLOW_BUFFER).context("a small buffer")?;
    }
    rustix::net::bind(&socket, &SocketAddr::from((from, 0))).context("binding")?;
    let to = SocketAddrV4::new(Ipv4Addr::LOCALHOST, port);
    rustix::net::connect(&socket, &SocketAddr::from(to)).context("connecting")?;
    let stream = TcpStream::from(socket);
    stream.set_nodelay(true).context("no delay")?;
    Ok(stream)
}
