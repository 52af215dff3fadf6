//! `wasi:sockets/ip-name-lookup` on the daemon's own resolver.
//!
//! A plugin may look up the hosts that it may send requests to (`http-client` and `--allow-host`),
//! and nothing else: every other look-up ends as on a host that allows none.

use std::pin::Pin;
use std::sync::Arc;

use futures_lite::future::{block_on, poll_once};
use smol::Task;
use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, Resource, ResourceType};
use wasmtime_wasi::p2::bindings::sockets::network::{ErrorCode, IpAddress};
use wasmtime_wasi::p2::{Network, Pollable, subscribe};

use super::{HostState, Interface};
use crate::capability::Capability;
use crate::memory::Budget;
use crate::resolver::{Addresses, ResolveError, ResolveFailure};
use crate::upstream::Upstreams;

/// The longest name that is read (RFC 1035 section 2.3.4), with a dot at its end.
const NAME_BYTES: usize = 254;

/// Bytes that a look-up takes: its task, and the addresses that it finds.
const LOOK_UP_BYTES: usize = 4 << 10;

/// The interface.
pub(super) const INTERFACES: &[Interface] = &[("wasi:sockets/ip-name-lookup", link)];

/// Links the interface function by function: generated code would want all of `wasi:sockets` from
/// whoever implements one part of it.
fn link(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    // The version that wasmtime-wasi links. A plugin that imports an older one is matched to it.
    let mut lookup = linker.instance("wasi:sockets/ip-name-lookup@0.2.12")?;
    lookup.resource(
        "resolve-address-stream",
        ResourceType::host::<ResolveAddressStream>(),
        |mut store, rep| {
            let stream = Resource::<ResolveAddressStream>::new_own(rep);
            let table = &mut store.data_mut().table;
            table.forget(rep);
            table.delete(stream)?;
            Ok(())
        },
    )?;
    lookup.func_wrap(
        "resolve-addresses",
        |mut store: Store<'_>, (network, name): (Resource<Network>, String)| {
            let found = store.data_mut().resolve_addresses(&network, name)?;
            Ok((found,))
        },
    )?;
    lookup.func_wrap(
        "[method]resolve-address-stream.resolve-next-address",
        |mut store: Store<'_>, (stream,): (Resource<ResolveAddressStream>,)| {
            let stream = store.data_mut().table.get_mut(&stream)?;
            Ok((stream.next(),))
        },
    )?;
    lookup.func_wrap(
        "[method]resolve-address-stream.subscribe",
        |mut store: Store<'_>, (stream,): (Resource<ResolveAddressStream>,)| {
            Ok((subscribe(store.data_mut().table(), stream)?,))
        },
    )
}

type Store<'a> = StoreContextMut<'a, HostState>;

/// A look-up, and then its addresses one by one.
struct ResolveAddressStream {
    looked: Looked,
}

enum Looked {
    /// Dropping it leaves the look-up to others who wait for it.
    Waiting(Task<Result<Addresses, ResolveError>>),
    /// The addresses, and how many of them the plugin has.
    Found(Addresses, usize),
    Failed(ErrorCode),
}

impl ResolveAddressStream {
    /// Looks `name` up for the plugin of this share. It may have so many look-ups and no more; one
    /// too many ends as a failure that may be tried again.
    fn new(upstreams: &Upstreams, share: &Arc<Budget>, name: String) -> ResolveAddressStream {
        let (resolver, share) = (upstreams.resolver().clone(), Arc::clone(share));
        let looked = async move { resolver.resolve(&name, Some(&share)).await };
        ResolveAddressStream {
            looked: Looked::Waiting(upstreams.executor().spawn(looked)),
        }
    }

    /// Waits for the look-up to end.
    async fn look(&mut self) {
        if let Looked::Waiting(task) = &mut self.looked {
            self.looked = match Pin::new(task).await {
                Ok(addresses) => Looked::Found(addresses, 0),
                Err(error) => Looked::Failed(code(&error)),
            };
        }
    }

    /// The next address, or none behind the last one. Nothing is waited for.
    fn next(&mut self) -> Result<Option<IpAddress>, ErrorCode> {
        block_on(poll_once(self.look()));
        match &mut self.looked {
            Looked::Waiting(_) => Err(ErrorCode::WouldBlock),
            Looked::Failed(code) => Err(*code),
            Looked::Found(addresses, taken) => {
                let next = addresses.get(*taken).copied();
                *taken += usize::from(next.is_some());
                // One of IPv4 may stand in a record of the other family.
                Ok(next.map(|address| address.to_canonical().into()))
            }
        }
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for ResolveAddressStream {
    async fn ready(&mut self) {
        self.look().await;
    }
}

fn code(error: &ResolveError) -> ErrorCode {
    match error.reason {
        ResolveFailure::NotAName => ErrorCode::InvalidArgument,
        ResolveFailure::NotFound => ErrorCode::NameUnresolvable,
        // These may end differently the next time.
        _ => ErrorCode::TemporaryResolverFailure,
    }
}

impl HostState {
    fn resolve_addresses(
        &mut self,
        network: &Resource<Network>,
        name: String,
    ) -> wasmtime::Result<Result<Resource<ResolveAddressStream>, ErrorCode>> {
        // WASI 0.2 has a network for what may be used of it; here the grants say that.
        self.table.get(network)?;
        if name.len() > NAME_BYTES {
            return Ok(Err(ErrorCode::InvalidArgument));
        }
        if !self.plugin.grants.allowed_hosts.allow_look_up(&name) {
            self.plugin.gate.deny(Capability::HttpClient);
            let id = self.request.id();
            let plugin = &self.plugin.name;
            let message = format!(
                "the look-up of '{0}' was denied: that host is not allowed; --allow-host {0}, or \
                 `wasm.allowed_hosts: [\"{0}\"]` in the service {plugin}, allows it. \
                 Unlike in ZLayer, no host is open by default",
                name.escape_debug()
            );
            self.plugin
                .tell_once(("look-up", &name), id.as_deref(), &message);
            return Ok(Err(ErrorCode::PermanentResolverFailure));
        }
        if !self.may(Capability::HttpClient) {
            return Ok(Err(ErrorCode::PermanentResolverFailure));
        }
        let stream = ResolveAddressStream::new(&self.plugin.upstreams, &self.plugin.share, name);
        let stream = self.table().push(stream)?;
        self.charge(&stream, LOOK_UP_BYTES)?;
        Ok(Ok(stream))
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::resolver::LOOK_UPS_EACH;
    use crate::resolver::tests::server::Server;
    use crate::resolver::tests::{Bench, EXECUTOR};
    use crate::upstream::Settings;

    #[test]
    fn a_plugin_may_try_again_later_what_is_one_look_up_too_many() {
        let server = Server::new(|_, _| vec![]);
        let bench = Bench::new(server.address, "options timeout:30");
        let budget = Budget::new(1 << 20);
        let resolver = bench.resolver.clone();
        let upstreams = Upstreams::with_resolver(Settings::default(), budget, &EXECUTOR, resolver);
        let share = upstreams.share();
        let start = Instant::now();
        let mut streams: Vec<_> = (0..=LOOK_UPS_EACH)
            .map(|number| ResolveAddressStream::new(&upstreams, &share, number.to_string()))
            .collect();
        // Which one comes too late is for the executor to say.
        let denied = block_on(async {
            loop {
                let mut denied = streams.iter_mut().map(ResolveAddressStream::next);
                let denied = denied.find(|next| !matches!(next, Err(ErrorCode::WouldBlock)));
                if let Some(denied) = denied {
                    return denied;
                }
                smol::Timer::after(Duration::from_millis(1)).await;
            }
        });
        assert_eq!(denied.unwrap_err(), ErrorCode::TemporaryResolverFailure);
        // It is not the time of a look-up that has run out.
        assert!(start.elapsed() < Duration::from_secs(20));
    }
}
