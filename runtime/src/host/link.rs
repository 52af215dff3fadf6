//! What of all this a plugin is linked with.

use wasmtime::component::Linker;

use super::bindings::zlayer::plugin as contract;
use super::{Host, HostState, Interface, clock, http, ip_name_lookup, long_lists, random, wasi};

/// The contract's own interfaces.
const INTERFACES: [Interface; 5] = [
    ("zlayer:plugin/config", |linker| {
        contract::config::add_to_linker::<_, Host>(linker, |state| state)
    }),
    ("zlayer:plugin/keyvalue", |linker| {
        contract::keyvalue::add_to_linker::<_, Host>(linker, |state| state)
    }),
    ("zlayer:plugin/logging", |linker| {
        contract::logging::add_to_linker::<_, Host>(linker, |state| state)
    }),
    ("zlayer:plugin/secrets", |linker| {
        contract::secrets::add_to_linker::<_, Host>(linker, |state| state)
    }),
    ("zlayer:plugin/metrics", |linker| {
        contract::metrics::add_to_linker::<_, Host>(linker, |state| state)
    }),
];

/// Links the interfaces of the contract and of WASI 0.2 that a plugin imports, whatever it may use: a
/// call that is denied returns an error, whereas without the import the plugin could not be loaded at
/// all. The others are left out: linking all of them takes a tenth of a start.
pub fn add_to_linker(linker: &mut Linker<HostState>, imports: &[String]) -> wasmtime::Result<()> {
    let own = INTERFACES.iter().chain(http::INTERFACES);
    let ours = own.chain(clock::INTERFACES).chain(random::INTERFACES);
    let all = ours.chain(ip_name_lookup::INTERFACES);
    let is_imported = |interface: &str| {
        imports.iter().any(|import| {
            let (name, _version) = import.split_once('@').unwrap_or((import, ""));
            name == interface
        })
    };
    for (interface, link) in all.chain(wasi::INTERFACES) {
        if is_imported(interface) {
            link(linker)?;
        }
    }
    linker.allow_shadowing(true);
    for (interface, link) in long_lists::INTERFACES {
        if is_imported(interface) {
            link(linker)?;
        }
    }
    linker.allow_shadowing(false);
    Ok(())
}
