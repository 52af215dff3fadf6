//! The time. Of WASI's clocks, in the numbers that the contract counts in.

/// Nanoseconds since the Unix epoch, as `request.timestamp` has them. A device without a battery
/// may not know the date yet: `clock` in a request's `context` says whether it does.
pub fn now() -> u64 {
    #[cfg(target_family = "wasm")]
    {
        let now = crate::bindings::wasi::clocks::wall_clock::now();
        now.seconds
            .saturating_mul(1_000_000_000)
            .saturating_add(u64::from(now.nanoseconds))
    }
    #[cfg(not(target_family = "wasm"))]
    {
        crate::double::state(|state| state.clock.borrow().now)
    }
}

/// Nanoseconds since some moment before the plugin began. They only ever grow, so a difference of
/// two is a length of time, whatever becomes of the date.
pub fn monotonic() -> u64 {
    #[cfg(target_family = "wasm")]
    {
        crate::bindings::wasi::clocks::monotonic_clock::now()
    }
    #[cfg(not(target_family = "wasm"))]
    {
        crate::double::state(|state| state.clock.borrow().monotonic)
    }
}
