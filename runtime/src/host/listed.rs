//! Lists that host functions return: their memory, while the host makes them and passes them on.

use super::HostState;
use super::held::NoMemory;

/// Bytes that a text in a list takes at the least beside its own: what the allocator adds.
const TEXT_BYTES: usize = 32;
/// Up to this many bytes of a list are not charged: the instance's own share has room for them.
const SMALL_BYTES: usize = 64 << 10;

/// Bytes of a text in a list, beside the place in the list itself.
pub(super) fn text_bytes(text: &str) -> usize {
    text.len() + TEXT_BYTES
}

impl HostState {
    /// Charges a list of so many bytes before `function` makes it, until the next one is made or the
    /// request ends.
    ///
    /// # Errors
    ///
    /// There is no memory for it, in the host or in the plugin, which gets a copy. A list that does
    /// not fit the plugin's memory would be a trap anyway, so it must not be made first.
    pub(super) fn charge_list(&mut self, function: &str, bytes: usize) -> wasmtime::Result<()> {
        // The last list is in the plugin's own memory by now.
        self.listed = None;
        if bytes <= SMALL_BYTES {
            return Ok(());
        }
        let missing = |is_busy| {
            let refused = NoMemory {
                wanted: bytes,
                is_busy,
            };
            wasmtime::Error::from(refused).context(format!("{function}: its result"))
        };
        if bytes.saturating_mul(2) > self.limiter.room_alone() {
            return Err(missing(false));
        }
        self.listed = self.limiter.charge_call(bytes);
        if self.listed.is_none() || bytes > self.limiter.room() {
            self.listed = None;
            return Err(missing(true));
        }
        Ok(())
    }
}
