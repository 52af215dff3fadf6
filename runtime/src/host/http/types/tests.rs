#![expect(clippy::unwrap_used, reason = "a failed test should panic")]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use smol::Executor;
use wasmtime_wasi_http::p2::bindings::http::types::HostFields as _;
use zlayer_bundle::Role;

use super::*;
use crate::capability::Capabilities;
use crate::config::{Granted, Grants};
use crate::host::PluginHost;
use crate::keyvalue::{KeyValue, Machine};
use crate::memory::Budget;
use crate::metrics::Metrics;
use crate::upstream::{Settings, Upstreams};

static EXECUTOR: Executor<'static> = Executor::new();

/// An instance's state, charged to a budget of its own.
fn state() -> HostState {
    let budget = Budget::new(64 << 20);
    let grants = Arc::new(Grants::default());
    let roles = [Role::HttpHandler];
    let granted = Granted::decide(&grants, "p", &roles, Capabilities::NONE, true).unwrap();
    let store = KeyValue::new(Path::new("/nowhere"), &budget, Arc::new(Machine::default()));
    let upstreams = Upstreams::new(Settings::default(), Arc::clone(&budget), &EXECUTOR);
    let plugin = PluginHost::new(
        "p".to_owned(),
        grants,
        granted,
        Arc::new(BTreeMap::new()),
        Arc::new(Metrics::new(Arc::clone(&budget))),
        store,
        upstreams,
    );
    let reservation = budget.reserve(1 << 20).unwrap();
    HostState::new(Arc::new(plugin), reservation, 0, 64 << 20, 0, 1000)
}

#[test]
fn fields_are_charged_with_the_room_that_a_call_in_vain_makes() {
    let mut state = state();
    let name = || "x".to_owned();
    let fields = types::HostFields::new(&mut state).unwrap();
    let before = state.limiter.held();
    let borrow = |rep| Resource::new_borrow(rep);
    assert!(state.delete(borrow(fields.rep()), name()).is_ok());
    let room = weight::fields(state.table.get(&fields).unwrap());
    assert!(room > 0, "there is no room for what is not there");
    assert_eq!(state.limiter.held() - before, room);
    let other = types::HostFields::new(&mut state).unwrap();
    let before = state.limiter.held();
    let too_long = vec![vec![b'x'; super::super::super::FIELDS_BYTES]];
    assert!(state.set(borrow(other.rep()), name(), too_long).is_err());
    assert_eq!(state.limiter.held() - before, room);
}
