//! A change of a key, as a call asks for it.

use std::borrow::Cow;
use std::sync::Arc;

use super::settings::Settings;
use super::writes::Writes;

/// What a change needs.
pub(super) struct Needs<'a> {
    /// About how many bytes the new value takes.
    pub(super) value_bytes: usize,
    /// Whether what it does depends on the value that it finds.
    pub(super) old_value: bool,
    /// What holds for whoever asks for it.
    pub(super) settings: Settings,
    /// Who pays for it.
    pub(super) writes: Option<&'a Arc<Writes>>,
}

/// What a change does to the value that it found.
pub(super) enum Step<'a> {
    Leave,
    Put(Cow<'a, [u8]>, Option<u64>),
    Remove,
}
