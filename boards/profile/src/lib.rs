//! Reads board files: `boards/NAME/board.toml`, with what several boards share in
//! `boards/common/`.
//!
//! The folder `boards/` is data: a folder in it with a `board.toml` is a board. This crate is the
//! one reader of it, for the two programs on the build host: `zlayer-precompile` builds plugins for
//! a board, and `cargo boards` lists them. No device has it: what a daemon needs to know of
//! its board is in the artifacts ([`zlayer_bundle::BoardSettings`]).
//!
//! A board file has these keys, of which only `target` is needed:
//!
//! ```toml
//! inherit = "common/pi-64.toml"  # a file below boards/ whose keys hold where this one has none
//! target = "aarch64"             # which artifacts and which device binary it runs
//! profile = "compact"            # the engine settings of its artifacts; compact by default
//! cpu_flags = ["has_lse"]        # processor features beyond the target's baseline
//! threads = 4                    # what its daemon serves with, 1 to 64
//! memory_max = "256Mi"           # its daemon's memory budget, at least 12Mi
//! ```

mod board;
mod file;

pub use board::Board;
