//! What is set aside of the memory before plugins are loaded.

use std::sync::Arc;

use zlayer_bundle::{ByteSize, connections_within, own_share};

use crate::config::Limits;
use crate::error::{Error, Result};
use crate::memory::{Budget, Reservation};

/// What the store, the connections and the admin interface may use of the memory, set aside so that
/// a plugin cannot take it from them.
pub(super) struct Fixed {
    _reservation: Reservation,
    /// Clients' connections that it holds: as many as were wanted, or fewer.
    pub(super) connections: usize,
}

impl Fixed {
    /// `share` is what each connection may hold, `certificates` what is kept for TLS.
    pub(super) fn reserve(
        budget: &Arc<Budget>,
        wanted: usize,
        share: usize,
        certificates: usize,
    ) -> Result<Fixed> {
        let own_of = |limit| own_share(limit, 0) + certificates;
        let own = own_of(budget.limit());
        let affordable = connections_within(budget.limit(), own, share);
        if wanted > affordable {
            // Nobody asked for the default.
            let level = match wanted == Limits::default().connections {
                true => log::Level::Info,
                false => log::Level::Warn,
            };
            let wanted_bytes = wanted.saturating_mul(share * 4);
            // With more memory the store takes more, too.
            let needed = wanted_bytes.saturating_add(own);
            let needed = wanted_bytes.saturating_add(own_of(needed.saturating_add(needed / 4)));
            let needed = (needed as u64).checked_next_multiple_of(1 << 20);
            log::log!(
                level,
                "--max-connections {wanted}: there are {affordable}, since connections take a \
                 quarter of the memory at most, {} KiB each; raise --memory-max {} to {}",
                share >> 10,
                ByteSize(budget.limit() as u64),
                ByteSize(needed.unwrap_or(u64::MAX))
            );
        }
        let connections = wanted.min(affordable);
        match budget.reserve(own + connections * share) {
            Some(reservation) if affordable > 0 => Ok(Fixed {
                _reservation: reservation,
                connections,
            }),
            _ => Err(Error::Usage(format!(
                "--memory-max must be larger than the share of the store, the log and the admin interface, {} KiB",
                own >> 10
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::CONNECTION_SHARE;

    #[test]
    fn more_connections_than_any_memory_has_room_for_are_fewer() {
        let budget = Budget::new(64 << 20);
        let fixed = Fixed::reserve(&budget, usize::MAX, CONNECTION_SHARE, 0);
        assert!(fixed.is_ok_and(|fixed| fixed.connections < 1000));
    }
}
