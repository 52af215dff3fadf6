//! What stands between a plugin and what it may reach.

use std::sync::atomic::{AtomicU64, Ordering};

pub use zlayer_bundle::{Capabilities, Capability};

/// What stands in front of a plugin's calls: it lets through what is granted, and counts the rest.
#[derive(Debug)]
pub struct Gate {
    granted: Capabilities,
    denied: [AtomicU64; Capability::ALL.len()],
}

impl Gate {
    /// Lets this set through, with nothing denied so far.
    pub fn new(granted: Capabilities) -> Gate {
        Gate {
            granted,
            denied: Default::default(),
        }
    }

    /// The capabilities that are granted.
    pub fn granted(&self) -> Capabilities {
        self.granted
    }

    /// Whether a call that needs `one` may go on. Counts it as denied if it may not.
    pub fn allow(&self, one: Capability) -> bool {
        let granted = self.granted.contains(one);
        if !granted {
            self.deny(one);
        }
        granted
    }

    /// Counts a denied call whose capability is granted, but not for what it asked.
    pub fn deny(&self, one: Capability) {
        self.denied[one as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// How many calls that needed `one` were denied.
    pub fn denied_calls(&self, one: Capability) -> u64 {
        self.denied[one as usize].load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_denied_is_counted_apart() {
        let gate = Gate::new(Capabilities::NONE.with(Capability::Config));
        assert!(gate.allow(Capability::Config));
        assert!(!gate.allow(Capability::Secrets) && !gate.allow(Capability::Secrets));
        let counts = Capability::ALL.map(|one| gate.denied_calls(one));
        assert_eq!(counts, [0, 0, 0, 2, 0, 0]);
    }
}
