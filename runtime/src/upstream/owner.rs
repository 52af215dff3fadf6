//! Whose a connection to an upstream is.

use std::sync::{Arc, OnceLock, Weak};

/// A client's connection, as the owner of connections to upstreams that nobody else may use. Clones
/// are one owner; what it owns is closed with the last of them.
#[derive(Debug, Clone, Default)]
pub struct Owner(Arc<Owned>);

#[derive(Default)]
struct Owned {
    /// Closes what it owns, once it owns something.
    close: OnceLock<Close>,
}

type Close = Box<dyn Fn() + Send + Sync>;

impl Owner {
    /// Takes note that it owns a connection, and that `close` is to be called when it is gone.
    pub(super) fn owns(&self, close: impl Fn() + Send + Sync + 'static) -> OwnerRef {
        self.0.close.get_or_init(|| Box::new(close));
        OwnerRef(Arc::downgrade(&self.0))
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        if let Some(close) = self.close.take() {
            close();
        }
    }
}

impl std::fmt::Debug for Owned {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Owned").finish_non_exhaustive()
    }
}

/// The owner of an idle connection.
pub(super) struct OwnerRef(Weak<Owned>);

impl OwnerRef {
    /// Whether it is this one.
    pub(super) fn is(&self, owner: &Owner) -> bool {
        std::ptr::eq(self.0.as_ptr(), Arc::as_ptr(&owner.0))
    }

    /// Whether the client's connection is gone.
    pub(super) fn is_gone(&self) -> bool {
        self.0.strong_count() == 0
    }
}
