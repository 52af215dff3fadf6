//! How much memory the engine takes for the description of a plugin's code.

use crate::EngineBytes;

/// The section of an artifact that holds the description.
pub const DESCRIPTION_SECTION: &str = ".wasmtime.info";

/// Descriptions of up to this many bytes in the file are small.
const SMALL_BYTES: usize = 64 << 10;
/// How many times its size in the file a small description is taken for.
const SMALL_FACTOR: usize = 4;
/// How many times its size a description takes at the least.
const LEAST_FACTOR: usize = 2;
/// How many times a description's size the engine's part of one instance takes at the most: a global,
/// an imported function and a function that may be called indirectly take some seven to fifteen bytes
/// of description, and 16 to 32 of an instance.
const INSTANCE_FACTOR: usize = 4;
/// Bytes of that part that every instance's share has room for.
const INSTANCE_FREE: usize = 256 << 10;

/// The description of a plugin's code, not loaded yet: its functions, types and names.
#[derive(Debug, Clone, Copy)]
pub struct CodeDescription {
    /// Its size in the file, in bytes.
    pub bytes: usize,
    /// What the compiling side has counted.
    pub counted: Option<EngineBytes>,
}

impl CodeDescription {
    /// Whether it is so small that it is not measured: other threads take as much at the same time.
    pub fn is_small(self) -> bool {
        self.bytes <= SMALL_BYTES
    }

    /// Bytes of memory to set aside before it is loaded.
    pub fn ahead(self) -> usize {
        let counted = self.counted.map_or(0, |counted| counted.description);
        self.least().max(clamped(counted))
    }

    /// Bytes of memory that it takes at the least once it is loaded.
    pub fn least(self) -> usize {
        let factor = match self.is_small() {
            true => SMALL_FACTOR,
            false => LEAST_FACTOR,
        };
        self.bytes.saturating_mul(factor)
    }

    /// Bytes that the engine's part of one instance may take, beyond what every instance's share has
    /// room for.
    pub fn instance(self) -> usize {
        let most = match self.counted {
            Some(counted) => clamped(counted.instance),
            None => self.bytes.saturating_mul(INSTANCE_FACTOR),
        };
        most.saturating_sub(INSTANCE_FREE)
    }
}

fn clamped(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn described(bytes: usize, counted: Option<(u64, u64)>) -> CodeDescription {
        let counted = counted.map(|(description, instance)| EngineBytes {
            description,
            instance,
        });
        CodeDescription { bytes, counted }
    }

    #[test]
    fn what_was_counted_is_set_aside_where_it_is_more() {
        let small = described(30_000, Some((900_000, 1 << 20)));
        assert_eq!((small.least(), small.ahead()), (120_000, 900_000));
        assert_eq!(small.instance(), (1 << 20) - INSTANCE_FREE);
        let large = described(1 << 20, Some((20 << 20, 0)));
        assert_eq!((large.least(), large.ahead()), (2 << 20, 20 << 20));
        assert_eq!(large.instance(), 0);
        assert_eq!(described(1 << 20, Some((u64::MAX, 0))).ahead(), usize::MAX);
    }

    #[test]
    fn what_nobody_counted_follows_from_its_size() {
        assert_eq!(described(30_000, None).instance(), 0);
        assert_eq!(
            described(1 << 20, None).instance(),
            (4 << 20) - INSTANCE_FREE
        );
        assert_eq!(described(usize::MAX, None).ahead(), usize::MAX);
    }
}
