//! Instances of a plugin: a store with all its limits, and the functions for all roles.

use std::sync::Arc;

use wasmtime::component::Instance as Linked;
use wasmtime::{Store, UpdateDeadline};
use zlayer_bundle::{CALL_SHARE, Role};

use super::failed::from_call;
use super::{Guests, Plugin};
use crate::failure::{Failure, engine_words};
use crate::host::HostState;

/// How many bytes every plugin may hand to the host in one call, whatever the limits. The store and
/// the log refuse or cut what is too large for them, but they can only do so if it reaches them; with
/// a lower limit it would be a trap. The memory is in use for the moment of the call only, so for each
/// thread once; short texts take more than twice as much (docs/device.md, "Memory"). Values that wait
/// for the disk are charged to the budget.
const CALL_BYTES: usize = 4 << 20;

/// One instance, with its functions for all roles. If the plugin is a `handler`, `init` has
/// succeeded.
pub struct Instance {
    pub(super) store: Store<HostState>,
    pub(super) guests: Guests,
    /// How many requests the instance has begun.
    pub(super) served: u32,
}

impl Instance {
    /// Bytes that others could have if it ended.
    pub(super) fn returns(&self) -> usize {
        self.store.data().limiter.returns()
    }
}

impl Plugin {
    /// Makes an instance; where it is a `handler`, it is initialised.
    pub(super) async fn new_instance(&self) -> std::result::Result<Instance, Failure> {
        if self.plays(Role::Handler) {
            return self.new_handler().await;
        }
        let (mut store, instance) = self.instantiate().await?;
        let guests = self
            .roles
            .load(&mut store, &instance)
            .map_err(Failure::trap)?;
        Ok(Instance {
            store,
            guests,
            served: 0,
        })
    }

    /// Makes a new store with all its limits, and an instance in it.
    pub(super) async fn instantiate(
        &self,
    ) -> std::result::Result<(Store<HostState>, Linked), Failure> {
        let made = self.try_instantiate().await;
        match made {
            // Memory that idle instances hold is freed for an instance that has work.
            Err(Failure::OutOfMemory(_) | Failure::Busy(_)) if self.instance_memory.evict() > 0 => {
                self.try_instantiate().await
            }
            made => made,
        }
    }

    async fn try_instantiate(&self) -> std::result::Result<(Store<HostState>, Linked), Failure> {
        let standing = self.standing.lend();
        let each = self.share + self.memory;
        let Some(reservation) = standing.or_else(|| self.budget.reserve_for_new(each)) else {
            return Err(Failure::Busy(
                "the memory budget is spent (--memory-max)".to_owned(),
            ));
        };
        // All that could be had, with the memory that is set aside for one instance of this plugin.
        let most = self.budget.attainable() + self.standing.bytes();
        let state = HostState::new(
            Arc::clone(&self.host),
            reservation,
            self.memory,
            most.saturating_sub(self.share).min(self.budget.limit()),
            self.call_share,
            self.handles,
        );
        let mut store = Store::new(self.linked.engine(), state);
        if let Some(bytes) = self.pooling.max_memory {
            store.data_mut().limiter.restrict_to(bytes);
        }
        store.limiter(|state| &mut state.limiter);
        // The guest yields at each tick, so that other tasks are polled and its own deadline is
        // checked. If it computes for long it waits until it is its plugin's turn.
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(|mut store| {
            Ok(match store.data_mut().interrupted() {
                Some(turn) => UpdateDeadline::YieldCustom(1, Box::pin(turn)),
                None => UpdateDeadline::Yield(1),
            })
        });
        let call = self.body_max.saturating_add(CALL_SHARE);
        let call = call.max(self.call_share);
        store.set_hostcall_fuel(call.max(CALL_BYTES));
        // The engine counts a handle twice while a call borrows it, and all may be polled at once.
        store.set_max_component_handles(self.handles.saturating_mul(2));
        match self.linked.instantiate_async(&mut store).await {
            Ok(instance) => Ok((store, instance)),
            Err(error) if store.data().limiter.is_busy() => Err(Failure::Busy(format!(
                "no memory for an instance (--memory-max): {}",
                engine_words(&error)
            ))),
            Err(error) if error.is::<wasmtime::PoolConcurrencyLimitError>() => Err(Failure::Busy(
                format!("(`wasm.max_instances`, `scale` or --max-instances) {error:#}"),
            )),
            Err(error) => Err(from_call(error, &store)),
        }
    }
}
