//! WASI 0.2 as plugins see it: whatever they import is there, and nothing is behind it but output,
//! clocks and random numbers.
//!
//! Each interface is linked by itself. wasmtime-wasi's own context of all of them seeds its
//! generators when it is made, with numbers for which a machine that was just switched on may have
//! to wait for seconds: every plugin would wait that asks for none.

use wasmtime::component::{HasData, Resource, ResourceTable};
use wasmtime_wasi::cli::{WasiCli, WasiCliCtx, WasiCliCtxView};
use wasmtime_wasi::filesystem::{WasiFilesystem, WasiFilesystemCtx, WasiFilesystemCtxView};
use wasmtime_wasi::p2::bindings::{cli, filesystem, sockets};
use wasmtime_wasi::p2::{DynOutputStream, DynPollable};
use wasmtime_wasi::sockets::{WasiSockets, WasiSocketsCtx, WasiSocketsCtxView};
use wasmtime_wasi_io::bindings::wasi::io;

use super::stdio::LogStream;
use super::{Host, HostState, Interface, stdio};

/// What an instance has behind WASI's interfaces: no environment, no input, no folders, and no
/// sockets, which is what each of these is by default.
#[derive(Default)]
pub(super) struct Wasi {
    cli: WasiCliCtx,
    filesystem: WasiFilesystemCtx,
    sockets: WasiSocketsCtx,
}

/// All of WASI 0.2 but clocks, which `clock.rs` has, random numbers, which `random.rs` has, look-ups of
/// names, which `ip_name_lookup.rs` has, and HTTP. wasmtime-wasi's own look-ups call the C library's
/// `getaddrinfo` on tokio's threads: linked and then replaced, it would still be in the program.
pub(super) const INTERFACES: &[Interface] = &[
    ("wasi:io/error", |linker| {
        io::error::add_to_linker::<_, Table>(linker, HostState::table)
    }),
    ("wasi:io/poll", |linker| {
        io::poll::add_to_linker::<_, Host>(linker, |state| state)
    }),
    ("wasi:io/streams", |linker| {
        io::streams::add_to_linker::<_, Table>(linker, HostState::table)
    }),
    ("wasi:cli/environment", |linker| {
        cli::environment::add_to_linker::<_, WasiCli>(linker, cli_of)
    }),
    ("wasi:cli/exit", |linker| {
        cli::exit::add_to_linker::<_, WasiCli>(linker, cli_of)
    }),
    ("wasi:cli/stdin", |linker| {
        cli::stdin::add_to_linker::<_, WasiCli>(linker, cli_of)
    }),
    ("wasi:cli/stdout", |linker| {
        cli::stdout::add_to_linker::<_, Host>(linker, |state| state)
    }),
    ("wasi:cli/stderr", |linker| {
        cli::stderr::add_to_linker::<_, Host>(linker, |state| state)
    }),
    ("wasi:cli/terminal-input", |linker| {
        cli::terminal_input::add_to_linker::<_, WasiCli>(linker, cli_of)
    }),
    ("wasi:cli/terminal-output", |linker| {
        cli::terminal_output::add_to_linker::<_, WasiCli>(linker, cli_of)
    }),
    ("wasi:cli/terminal-stdin", |linker| {
        cli::terminal_stdin::add_to_linker::<_, WasiCli>(linker, cli_of)
    }),
    ("wasi:cli/terminal-stdout", |linker| {
        cli::terminal_stdout::add_to_linker::<_, WasiCli>(linker, cli_of)
    }),
    ("wasi:cli/terminal-stderr", |linker| {
        cli::terminal_stderr::add_to_linker::<_, WasiCli>(linker, cli_of)
    }),
    ("wasi:filesystem/types", |linker| {
        filesystem::types::add_to_linker::<_, WasiFilesystem>(linker, filesystem_of)
    }),
    ("wasi:filesystem/preopens", |linker| {
        filesystem::preopens::add_to_linker::<_, WasiFilesystem>(linker, filesystem_of)
    }),
    ("wasi:sockets/network", |linker| {
        let options = sockets::network::LinkOptions::default();
        sockets::network::add_to_linker::<_, WasiSockets>(linker, &options, sockets_of)
    }),
    ("wasi:sockets/instance-network", |linker| {
        sockets::instance_network::add_to_linker::<_, WasiSockets>(linker, sockets_of)
    }),
    ("wasi:sockets/tcp", |linker| {
        sockets::tcp::add_to_linker::<_, WasiSockets>(linker, sockets_of)
    }),
    ("wasi:sockets/tcp-create-socket", |linker| {
        sockets::tcp_create_socket::add_to_linker::<_, WasiSockets>(linker, sockets_of)
    }),
    ("wasi:sockets/udp", |linker| {
        sockets::udp::add_to_linker::<_, WasiSockets>(linker, sockets_of)
    }),
    ("wasi:sockets/udp-create-socket", |linker| {
        sockets::udp_create_socket::add_to_linker::<_, WasiSockets>(linker, sockets_of)
    }),
];

fn cli_of(state: &mut HostState) -> WasiCliCtxView<'_> {
    WasiCliCtxView {
        ctx: &mut state.wasi.cli,
        table: state.table.with_room(&mut state.limiter),
    }
}

fn filesystem_of(state: &mut HostState) -> WasiFilesystemCtxView<'_> {
    WasiFilesystemCtxView {
        ctx: &mut state.wasi.filesystem,
        table: state.table.with_room(&mut state.limiter),
    }
}

fn sockets_of(state: &mut HostState) -> WasiSocketsCtxView<'_> {
    WasiSocketsCtxView {
        ctx: &mut state.wasi.sockets,
        table: state.table.with_room(&mut state.limiter),
    }
}

/// Tells the generated code of `wasi:io` that its interfaces work on the table alone.
struct Table;

impl HasData for Table {
    type Data<'a> = &'a mut ResourceTable;
}

/// Bytes that each member of a list to be polled takes while it is polled.
const POLLED_BYTES: usize = 64;

/// `wasi:io/poll`, with the lists charged for as long as their guest waits.
impl io::poll::Host for HostState {
    async fn poll(&mut self, pollables: Vec<Resource<DynPollable>>) -> wasmtime::Result<Vec<u32>> {
        let _held = self.limiter.hold(pollables.len() * POLLED_BYTES)?;
        io::poll::Host::poll(self.table(), pollables).await
    }
}

impl io::poll::HostPollable for HostState {
    async fn block(&mut self, pollable: Resource<DynPollable>) -> wasmtime::Result<()> {
        io::poll::HostPollable::block(self.table(), pollable).await
    }

    async fn ready(&mut self, pollable: Resource<DynPollable>) -> wasmtime::Result<bool> {
        io::poll::HostPollable::ready(self.table(), pollable).await
    }

    fn drop(&mut self, pollable: Resource<DynPollable>) -> wasmtime::Result<()> {
        io::poll::HostPollable::drop(self.table(), pollable)
    }
}

impl HostState {
    fn output(&mut self, level: log::Level) -> wasmtime::Result<Resource<DynOutputStream>> {
        let held = self.limiter.hold(stdio::line_bytes())?;
        let stream = LogStream::new(&self.plugin, &self.request, level, held);
        let stream: DynOutputStream = Box::new(stream);
        Ok(self.table().push(stream)?)
    }
}

impl cli::stdout::Host for HostState {
    fn get_stdout(&mut self) -> wasmtime::Result<Resource<DynOutputStream>> {
        self.output(log::Level::Info)
    }
}

impl cli::stderr::Host for HostState {
    fn get_stderr(&mut self) -> wasmtime::Result<Resource<DynOutputStream>> {
        self.output(log::Level::Warn)
    }
}
