//! What a daemon sets aside of its memory budget, and for whom.
//!
//! The daemon reserves by these figures, and whoever packs a deployment adds them up: so that what does not
//! fit is told before it is on the device.

use crate::{Role, StoreSizes};

/// The memory budget where neither a flag nor a board says another, in bytes; less where the device
/// has little available. It is no more however much there is: others live on the device, and what
/// nobody asked for should be modest. Its board's file knows better.
pub const MEMORY_DEFAULT: usize = 64 << 20;

/// Open client connections, unless something else is said.
pub const CONNECTIONS_DEFAULT: usize = 192;

/// Bytes of the largest body that a typed plugin takes whole, and of the largest WebSocket message, unless
/// something else is said.
pub const WHOLE_DEFAULT: usize = 1 << 20;

/// Memory that a connection may hold: read and write buffer, a piece of a body each way, its task.
pub const CONNECTION_SHARE: usize = 64 << 10;

/// Memory that TLS adds to a client's connection. A record as it comes has up to 18 KiB (RFC 8446
/// section 5.2), in a buffer that grows by doubling to 32; its content has 16, and so has what is not
/// sent yet. Keys and states have 5; a handshake needs less, while nothing of all that is there.
pub const TLS_SHARE: usize = 72 << 10;

/// Memory that a certificate and its key may take, twice where others take their place. Three certificates and
/// a key of RSA with 4096 bits have 18 KiB.
pub const IDENTITY_SHARE: usize = 64 << 10;

/// Memory that the admin interface may take: its connections on each of two sockets, with a head of 8 KiB
/// and a short response of at most 2 KiB, and the pages that are on their way.
pub const ADMIN_SHARE: usize = 128 << 10;

/// Memory that the log's ring takes at most: its buffer, its table of strings, and one record on its way. When
/// room is made, old segments are read and written anew one by one: that takes up to three times a
/// segment for the moment, beside this.
pub const LOG_SHARE: usize = 96 << 10;

/// The smallest response cache, in bytes.
pub const CACHE_MIN: usize = 256 << 10;

/// Bytes of memory that an instance may take beside its linear memory: its stack and its part of what
/// the host keeps for it.
pub const INSTANCE_SHARE: usize = 1 << 20;

/// Bytes by which every instance can be sure to grow its linear memory: allocators take it in small
/// steps, and one step that is refused is a trap.
pub const GROWTH_SHARE: usize = 512 << 10;

/// How many bytes a plugin may hand to the host in one call, on top of the largest body.
pub const CALL_SHARE: usize = 256 << 10;

/// What is set aside before plugins are loaded, but for connections: for the store, the admin interface, the log
/// and so many certificates, of a budget of `memory` bytes.
pub fn own_share(memory: usize, certificates: usize) -> usize {
    let store = StoreSizes::within(memory).memory();
    let fixed = store + ADMIN_SHARE + LOG_SHARE;
    fixed.saturating_add(certificates.saturating_mul(IDENTITY_SHARE))
}

/// Connections that a budget of `memory` bytes has room for, of which `own` are taken already: they get a quarter
/// of the rest at most, `share` bytes each.
pub fn connections_within(memory: usize, own: usize, share: usize) -> usize {
    memory.saturating_sub(own) / 4 / share
}

/// Bytes that the response cache gets of a budget of `memory` bytes unless something else is said: a sixteenth.
pub fn cache_share(memory: usize) -> usize {
    (memory / 16).max(CACHE_MIN)
}

/// Bytes that bodies get at the least, where plugins take them whole: room for one of the largest each way.
pub fn bodies_least(body: usize) -> usize {
    body.saturating_mul(2)
}

/// Bytes of linear memory that an instance is sure of, whose memories begin with so many.
pub fn least_memory(initial: u64) -> usize {
    let initial = usize::try_from(initial).unwrap_or(usize::MAX);
    initial.saturating_add(GROWTH_SHARE)
}

/// Bytes that the host may hold for the moment of a call of an instance that plays these roles, where bodies and
/// WebSocket messages have at most so many. Instances that serve one request and go hand over nothing.
pub fn call_share(roles: &[Role], body: usize, message: usize) -> usize {
    if roles.iter().all(|role| *role == Role::HttpHandler) {
        return 0;
    }
    let plays = |role| roles.contains(&role);
    let returned = match plays(Role::WebSocket) {
        true => body.max(message),
        false => body,
    };
    match plays(Role::Handler) || plays(Role::Transformer) || plays(Role::WebSocket) {
        true => CALL_SHARE.saturating_add(returned),
        false => CALL_SHARE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_returns_what_its_role_may_return() {
        let share = |roles: &[Role]| call_share(roles, 1 << 20, 2 << 20) >> 10;
        assert_eq!(share(&[Role::HttpHandler]), 0);
        assert_eq!(share(&[Role::RateLimiter]), 256);
        assert_eq!(share(&[Role::HttpHandler, Role::Handler]), 1024 + 256);
        assert_eq!(share(&[Role::WebSocket]), 2048 + 256);
    }

    #[test]
    fn connections_get_a_quarter_of_what_is_left() {
        let own = own_share(12 << 20, 0);
        assert_eq!(own, (4352 << 10) + ADMIN_SHARE + LOG_SHARE);
        assert_eq!(connections_within(12 << 20, own, CONNECTION_SHARE), 30);
        assert_eq!(connections_within(0, own, CONNECTION_SHARE), 0);
        assert_eq!(own_share(12 << 20, 2) - own, 2 * IDENTITY_SHARE);
    }
}
