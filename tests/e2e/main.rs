//! The product seen from outside: its two binaries, sockets, files and exit codes. The same tests
//! run natively and under QEMU; `cargo boards test` builds what they need and says where it is.

#![allow(
    clippy::unwrap_used,
    reason = "a failed test should panic, where it failed"
)]

/// Daemon, client, artifacts, folders: what the tests are written with.
mod support;

/// The access log: what is in a line, and which requests have one.
mod access_log;
/// The admin interface: sockets, status, health, metrics, `zlayer status`.
mod admin;
/// Artifacts: whose code runs, and everything that keeps a file from being served.
mod artifact;
/// One address attacks, others are served.
mod attacks;
/// What an artifact built for a board has the daemon run with.
mod board;
/// Bodies in both directions: framing, trailers, streaming, back-pressure, memory.
mod body;
/// The response cache: what is stored, for whom, for how long, and how it is purged.
mod cache;
/// What a plugin asks for, what it is granted, and calls beyond that.
mod capabilities;
/// Command lines of both programs, exit codes, folders that cannot be used.
mod cli;
/// Compressed WebSocket messages.
mod deflate;
/// What the daemon is built from: no compiler in it.
mod dependencies;
/// Deployments and bundles: packed, installed, served, gone back from.
mod deployments;
/// What the device has for the daemon, or keeps from it: memory, code, random numbers, files, rest.
mod device;
/// The pages: their links, the tables of flags, the variables, the README's first plugin.
mod documentation;
/// What SIGTERM and a second signal do; ports that are taken.
mod drain;
/// The plugins in `examples/` do what their comments show.
mod examples;
/// Threads and memory of a daemon.
mod footprint;
/// The router's `forward`: reverse proxying.
mod forward;
/// Hosts, roles, secrets and interfaces: what a plugin has only where it was granted.
mod grants;
/// Requests that are malformed or meant to smuggle, and what must not come of them.
mod hostile_http;
/// Plugins that trap, spin, block, hoard and lie, and that nobody else notices.
mod hostile_plugin;
/// Well-formed exchanges: keep-alive, pipelining, versions, methods, expectations.
mod http;
/// Connections that are slow, silent, many, half-closed or gone.
mod http_limits;
/// TLS for clients: handshakes, certificates, what plugins are told, redirects.
mod https;
/// Configuration, store, logs, secrets and metrics, as plugins use them.
mod interfaces;
/// The log on flash: what is written when, what damage costs, how it is read.
mod logs;
/// What plugins of one daemon cost each other: processor, store, flash, log.
mod neighbours;
/// Requests that plugins send: allowed hosts, streaming, failures.
mod outgoing;
/// Several plugins on the way of a request: each stage, their order, what narrows them.
mod pipeline;
/// Who gets a place when all are taken, and what its owner is told.
mod places;
/// A plugin's life, what it is told about a request, its instances.
mod plugin;
/// Proxies in front of the daemon, which are trusted or not: header fields, the PROXY protocol.
mod proxies;
/// Uploads that are refused before they have come.
mod refusals;
/// Registries: plugins pushed, pulled and served from there.
mod registries;
/// What a client's request means: its target, its host, and what of it is passed on.
mod requests;
/// Where secrets come from, and that they are never shown.
mod secrets;
/// What the key-value store keeps through kills, damage and each durability.
mod store;
/// TLS to upstreams: of routers, and of plugins' own requests.
mod tls;
/// What is said of a plugin that traps, and what the build host makes of it.
mod traps;
/// What `--wasm` may name: a file, and of which kind.
mod wasm_file;
/// Conversations: handshakes, messages, closing, upstreams, and the Autobahn cases.
mod websocket;
