//! Random numbers that nobody can guess, from `wasi:random`. Those of a double come in the same
//! order in each test.

/// A random number.
pub fn get_random_u64() -> u64 {
    #[cfg(target_family = "wasm")]
    {
        crate::bindings::wasi::random::random::get_random_u64()
    }
    #[cfg(not(target_family = "wasm"))]
    {
        crate::double::state(|state| state.random.borrow_mut().next())
    }
}

/// So many random bytes; a device gives up to 64 KiB in one call.
pub fn get_random_bytes(count: u64) -> Vec<u8> {
    #[cfg(target_family = "wasm")]
    {
        crate::bindings::wasi::random::random::get_random_bytes(count)
    }
    #[cfg(not(target_family = "wasm"))]
    {
        crate::double::state(|state| state.random.borrow_mut().bytes(count))
    }
}
