//! `wasi:random`: numbers of the kernel for those who ask for secure ones, and of a generator that
//! never waits for the others.

use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Once};
use std::time::Duration;

use rustix::io::Errno;
use rustix::rand::{GetRandomFlags, getrandom};
use smol::Timer;
use wasmtime::StoreContextMut;
use wasmtime::component::Linker;
use wasmtime_wasi::p2::bindings::random::{insecure, insecure_seed};

use super::{Host, HostState, Interface, PluginHost};

/// How many bytes one call may ask for.
const BYTES_MAX: u64 = 64 << 10;
/// How often the kernel is asked again while it has no random numbers yet. It has them a second or
/// two after it was started, where the boot loader gives it no seed.
const RETRY: Duration = Duration::from_millis(50);

/// The interfaces.
pub(super) const INTERFACES: &[Interface] = &[
    ("wasi:random/insecure", |linker| {
        insecure::add_to_linker::<_, Host>(linker, |state| state)
    }),
    ("wasi:random/insecure-seed", |linker| {
        insecure_seed::add_to_linker::<_, Host>(linker, |state| state)
    }),
    ("wasi:random/random", link_secure),
];

/// Links the secure numbers. A call for some waits while the kernel has none: the plugin that asks for
/// them and its own request, nobody else, and as long as the request may take.
fn link_secure(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    // By hand, since wasmtime-wasi's own form of these cannot wait. The version is the one that it
    // links; a plugin that imports an older one is matched to it.
    let mut secure = linker.instance("wasi:random/random@0.2.12")?;
    secure.func_wrap_async(
        "get-random-bytes",
        |store: StoreContextMut<'_, HostState>, (count,): (u64,)| {
            Box::new(async move {
                let mut bytes = vec![0; checked(count)?];
                let plugin = Arc::clone(&store.data().plugin);
                fill(&mut bytes, &plugin).await?;
                Ok((bytes,))
            })
        },
    )?;
    secure.func_wrap_async(
        "get-random-u64",
        |store: StoreContextMut<'_, HostState>, (): ()| {
            Box::new(async move {
                let mut bytes = [0; 8];
                let plugin = Arc::clone(&store.data().plugin);
                fill(&mut bytes, &plugin).await?;
                Ok((u64::from_ne_bytes(bytes),))
            })
        },
    )
}

fn checked(count: u64) -> wasmtime::Result<usize> {
    wasmtime::ensure!(
        count <= BYTES_MAX,
        "requested len {count} exceeds limit {BYTES_MAX} of one call for random bytes"
    );
    Ok(usize::try_from(count)?)
}

/// Fills `bytes` with numbers that nobody can guess.
async fn fill(mut bytes: &mut [u8], plugin: &PluginHost) -> wasmtime::Result<()> {
    static TOLD: Once = Once::new();
    while !bytes.is_empty() {
        match getrandom(&mut *bytes, GetRandomFlags::NONBLOCK) {
            Ok(count) => bytes = &mut bytes[count..],
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => {
                TOLD.call_once(|| {
                    log::info!(
                        "plugin {} asks for random numbers, and the kernel has none yet: it waits",
                        plugin.name
                    );
                });
                Timer::after(RETRY).await;
            }
            Err(error) => wasmtime::bail!("the system gives no random numbers: {error}"),
        }
    }
    Ok(())
}

/// The generator for those who do not need secrets: SipHash of a counter, under keys that the
/// standard library gets from the kernel without waiting.
#[derive(Default)]
pub(super) struct Insecure {
    keys: Option<RandomState>,
    count: u64,
}

impl Insecure {
    fn next(&mut self) -> u64 {
        self.count += 1;
        let keys = self.keys.get_or_insert_with(RandomState::new);
        keys.hash_one(self.count)
    }
}

impl insecure::Host for HostState {
    fn get_insecure_random_bytes(&mut self, count: u64) -> wasmtime::Result<Vec<u8>> {
        let mut bytes = vec![0; checked(count)?];
        for part in bytes.chunks_mut(8) {
            let next = self.insecure.next().to_ne_bytes();
            part.copy_from_slice(&next[..part.len()]);
        }
        Ok(bytes)
    }

    fn get_insecure_random_u64(&mut self) -> wasmtime::Result<u64> {
        Ok(self.insecure.next())
    }
}

impl insecure_seed::Host for HostState {
    fn insecure_seed(&mut self) -> wasmtime::Result<(u64, u64)> {
        Ok((self.insecure.next(), self.insecure.next()))
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use super::*;

    #[test]
    fn the_generator_differs_from_number_to_number_and_instance_to_instance() {
        let (mut first, mut second) = (Insecure::default(), Insecure::default());
        let mut seen: Vec<_> = (0..1000).map(|_| first.next()).collect();
        seen.extend((0..1000).map(|_| second.next()));
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), 2000);
    }

    #[test]
    fn one_call_may_ask_for_so_much() {
        assert_eq!(checked(BYTES_MAX).unwrap(), 64 << 10);
        let told = checked(BYTES_MAX + 1).unwrap_err().to_string();
        assert!(told.contains("exceeds limit 65536"), "{told}");
    }
}
