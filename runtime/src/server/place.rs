//! Where a connection came in.

/// What a request has to know of the door by which it came.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Place {
    /// TLS is spoken there.
    pub(super) is_https: bool,
    /// The port by which endpoints lead there; 0 where none does.
    pub(super) named: u16,
    /// This device alone reaches it.
    pub(super) is_internal: bool,
    /// The port where the same is served over TLS, if requests without it are sent there.
    pub(super) redirect: Option<u16>,
}
