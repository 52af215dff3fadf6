//! All that the daemon can prove itself with: which of it a client gets, and how it is renewed.

use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use futures_rustls::rustls::crypto::CryptoProvider;
use futures_rustls::rustls::pki_types::ServerName;
use futures_rustls::rustls::server::{ClientHello, ResolvesServerCert};
use futures_rustls::rustls::sign::CertifiedKey;
use smol::{Executor, Timer};
use zlayer_bundle::IDENTITY_SHARE;

use super::certificates::Identity;
use crate::blocking::unblock;
use crate::clock;
use crate::config::IdentityFiles;
use crate::error::Result;
use crate::memory::Budget;
use crate::sync;

/// How often new connections look whether the files have changed. Nobody looks while none come.
const LOOK: Duration = Duration::from_secs(1);

/// How often the dates of certificates are looked at.
const DATES: Duration = Duration::from_secs(3600);

/// The certificates and keys that are in use, and the files that they come from.
pub(super) struct Identities {
    files: Vec<IdentityFiles>,
    provider: Arc<CryptoProvider>,
    /// See [`Identity::read`].
    owner: Option<u32>,
    /// What is kept of the files is charged here, for those in use and those that take their place.
    budget: Arc<Budget>,
    current: Mutex<Arc<Vec<Identity>>>,
    watch: Mutex<Watch>,
}

struct Watch {
    /// When somebody looked last.
    looked: Instant,
    /// The files as they were when they were last read, or refused.
    seen: Vec<Option<Stamp>>,
}

/// What tells one state of a file from another: where it lies, how large it is, when it was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp([i64; 3], u64, u64);

impl fmt::Debug for Identities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.files)
    }
}

impl Identities {
    /// Reads all files.
    ///
    /// # Errors
    ///
    /// The first that is no use.
    pub(super) fn new(
        files: Vec<IdentityFiles>,
        provider: Arc<CryptoProvider>,
        owner: Option<u32>,
    ) -> Result<Identities> {
        let seen = stamps(&files);
        let budget = Budget::new(files.len() * IDENTITY_SHARE);
        let identities = read(&files, &provider, owner, &budget)?;
        Ok(Identities {
            files,
            provider,
            owner,
            budget,
            current: Mutex::new(Arc::new(identities)),
            watch: Mutex::new(Watch {
                looked: Instant::now(),
                seen,
            }),
        })
    }

    /// Bytes of memory that they may take.
    pub(super) fn memory(&self) -> usize {
        self.budget.limit()
    }

    /// Tells the log in time of certificates that end while they are in use.
    pub(super) async fn watch(&self) {
        loop {
            Timer::after(DATES).await;
            tell(&sync::lock(&self.current).clone(), &self.files);
        }
    }

    /// The certificates in use: their files, how they stand, and when they end.
    pub(super) fn describe(&self) -> Vec<(String, &'static str, Option<SystemTime>)> {
        let (current, now) = (sync::lock(&self.current).clone(), clock::now());
        let described = self.files.iter().zip(&*current).map(|(files, identity)| {
            let validity = identity.validity();
            let standing = validity.map_or("has no dates", |dates| dates.at(now).name());
            let end = validity.and_then(|dates| u64::try_from(dates.not_after).ok());
            let end =
                end.and_then(|end| SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(end)));
            (files.certificate.display().to_string(), standing, end)
        });
        described.collect()
    }

    /// Reads the files anew if they have changed. If one is no use, what is in use stays in use.
    pub(super) async fn refresh(self: &Arc<Self>, executor: &'static Executor<'static>) {
        let Some(stamps) = self.changed() else { return };
        if self.renew(stamps.clone()).await.is_ok() {
            return;
        }
        // The files of a pair are replaced one after the other. So it counts only how they are a moment
        // later, if that is still so.
        let this = Arc::clone(self);
        let retrying = async move {
            Timer::after(LOOK).await;
            this.reload().await;
        };
        executor.spawn(retrying).detach();
    }

    /// Reads the files anew, and tells in the log what came of it.
    pub(super) async fn reload(self: &Arc<Self>) {
        let stamps = stamps(&self.files);
        if let Err(error) = self.renew(stamps).await {
            log::warn!("{error}; the certificates that were read before stay in use");
        }
    }

    async fn renew(self: &Arc<Self>, stamps: Vec<Option<Stamp>>) -> Result<()> {
        let this = Arc::clone(self);
        let reading = move || read(&this.files, &this.provider, this.owner, &this.budget);
        let read = unblock(reading).await;
        // Also where they are refused: they are not looked at again before they change.
        sync::lock(&self.watch).seen = stamps;
        *sync::lock(&self.current) = Arc::new(read?);
        log::info!("the TLS certificates were read anew");
        Ok(())
    }

    /// How the files are now, if that is not how they were; `None` when somebody looked just before.
    fn changed(&self) -> Option<Vec<Option<Stamp>>> {
        let mut watch = sync::lock(&self.watch);
        let now = Instant::now();
        if now.duration_since(watch.looked) < LOOK {
            return None;
        }
        watch.looked = now;
        let stamps = stamps(&self.files);
        (stamps != watch.seen).then_some(stamps)
    }
}

impl ResolvesServerCert for Identities {
    /// The first that is for the name which the client asks for, else the first of all; in either case
    /// the first with a kind of signature that the client knows.
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let identities = Arc::clone(&sync::lock(&self.current));
        let schemes = hello.signature_schemes();
        let usable = |one: &&Identity| one.key.key.choose_scheme(schemes).is_some();
        let name = hello.server_name();
        let name = name.and_then(|name| ServerName::try_from(name).ok());
        let of_name = name.and_then(|name| {
            let mut all = identities.iter();
            all.find(|one| usable(one) && one.is_for(&name))
        });
        let chosen = of_name.or_else(|| identities.iter().find(usable));
        // Where there is none, the client is told that nothing else fits either.
        let chosen = chosen.or_else(|| identities.first());
        chosen.map(|one| Arc::clone(&one.key))
    }
}

fn read(
    files: &[IdentityFiles],
    provider: &CryptoProvider,
    owner: Option<u32>,
    budget: &Arc<Budget>,
) -> Result<Vec<Identity>> {
    let reserve = |bytes| budget.reserve(bytes);
    let read = files
        .iter()
        .map(|files| Identity::read(files, provider, owner, reserve));
    let identities: Vec<_> = read.collect::<Result<_>>()?;
    tell(&identities, files);
    Ok(identities)
}

/// Tells the log what is wrong with the dates of certificates, or soon will be.
fn tell(identities: &[Identity], files: &[IdentityFiles]) {
    let (now, state) = (clock::now(), clock::state());
    for (identity, files) in identities.iter().zip(files) {
        if let Some(complaint) = identity.complaint(now, state) {
            log::warn!(
                "TLS certificate {}: {complaint}",
                files.certificate.display()
            );
        }
    }
}

/// How the files are now; none of one that is not there.
fn stamps(files: &[IdentityFiles]) -> Vec<Option<Stamp>> {
    let both = files.iter().flat_map(|one| [&one.certificate, &one.key]);
    both.map(|file| {
        let found = fs::metadata(file).ok()?;
        let changed = [found.mtime(), found.mtime_nsec(), found.ctime_nsec()];
        Some(Stamp(
            changed,
            found.ino() ^ found.dev() << 32,
            found.size(),
        ))
    })
    .collect()
}
