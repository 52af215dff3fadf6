//! `zlayer generations`: which bundles a data folder keeps.

use std::path::{Path, PathBuf};

use argh::FromArgs;
use zlayer_bundle::{BundleError, BundleHead, read_manifest};

use super::run;
use crate::admin::{DEFAULT_DATA_DIR, Json};
use crate::daemon::{self, Trustees};
use crate::error::Result;
use crate::generations::{Blobs, Choice, Generations, WentBack};
use crate::logger;

/// Show which bundles a data folder keeps, and which one a daemon serves from its next start.
#[derive(FromArgs)]
#[argh(subcommand, name = "generations")]
pub(super) struct Show {
    /// the daemon's data folder (default /var/lib/zlayer)
    #[argh(option)]
    pub(super) data_dir: Option<PathBuf>,
    /// folder of public keys to trust, or the file of one; may be repeated (default: /etc/zlayer/keys and
    /// the user's own); a trust list is checked with the root keys among them
    #[argh(option)]
    keys: Vec<PathBuf>,
    /// print JSON
    #[argh(switch)]
    json: bool,
}

/// What lets this verb check a trust list that it could not.
const NAME_KEYS: &str = "name the daemon's keys with --keys";
/// The same for `zlayer status`, which has no such flag.
const USE_GENERATIONS: &str = "`zlayer generations` can with the daemon's keys (--keys)";

/// What is there, and what the next start makes of it.
#[derive(Default)]
struct Shown {
    all: Vec<Generation>,
    next: Choice,
    /// What else there is to say of the next start.
    note: Option<String>,
}

/// A generation, by what it says of itself, or why it says nothing.
struct Generation {
    number: u64,
    is_active: bool,
    is_confirmed: bool,
    /// Starts of the active one since it was confirmed, or became active.
    starts: u32,
    /// Why it failed, if it did.
    failure: Option<String>,
    content: std::result::Result<Content, String>,
}

struct Content {
    /// That of the bundle.
    digest: String,
    deployment: String,
    release: u64,
    services: Vec<Service>,
}

struct Service {
    name: String,
    /// Its plugin, if its file says what it is.
    plugin: Option<Plugin>,
}

struct Plugin {
    name: String,
    version: String,
    /// That of its code.
    digest: String,
}

impl Show {
    /// Shows them. No lock is taken: a daemon may serve one of them. Only what the next start goes back to is held to the
    /// trust list.
    ///
    /// # Errors
    ///
    /// They cannot be read. One that is damaged is told among the others.
    pub(super) fn run(self) -> Result<()> {
        let data_dir = self
            .data_dir
            .unwrap_or_else(|| PathBuf::from(DEFAULT_DATA_DIR));
        let shown = read(&data_dir, self.keys, NAME_KEYS)?;
        logger::say(&match self.json {
            true => json(&shown),
            false if shown.all.is_empty() => {
                format!("nothing is installed in {}\n", data_dir.display())
            }
            false => text(&shown),
        });
        Ok(())
    }
}

/// Tells what a daemon would serve that does not answer, if anything is installed.
pub(super) fn tell_of_active(data_dir: Option<PathBuf>, is_json: bool) {
    let data_dir = data_dir.unwrap_or_else(|| PathBuf::from(DEFAULT_DATA_DIR));
    // Why the daemon cannot be asked is told in any case.
    let mut shown = read(&data_dir, Vec::new(), USE_GENERATIONS).unwrap_or_default();
    shown.all.retain(|one| one.is_active);
    if !shown.all.is_empty() {
        logger::say(&match is_json {
            true => json(&shown),
            false => format!(
                "no daemon answers; installed is generation {}",
                text(&shown)
            ),
        });
    }
}

/// Reads what is there. `mends` says to people how the trust list could be checked.
fn read(data_dir: &Path, keys: Vec<PathBuf>, mends: &str) -> Result<Shown> {
    let generations = Generations::of(data_dir);
    let blobs = generations.blobs()?;
    let (standing, next) = (generations.standing(), generations.choose());
    let all = generations.list()?.into_iter().map(|number| {
        let head = generations.head(number);
        let is_active = standing.active == Some(number);
        let mut failed = standing.failed.iter();
        let failed = failed.find(|(failed, _)| *failed == number);
        Generation {
            number,
            is_active,
            is_confirmed: standing.confirmed.contains(&number),
            starts: if is_active { standing.starts } else { 0 },
            failure: failed.map(|(_, reason)| reason.clone()),
            content: head
                .map(|head| Content::of(&head, blobs.as_ref()))
                .map_err(|error| error.to_string()),
        }
    });
    let all = all.collect();
    let mut shown = Shown {
        all,
        next,
        note: None,
    };
    shown.hold_to_trust(data_dir, &run::key_dirs(keys, false), mends);
    Ok(shown)
}

impl Shown {
    /// Does not promise a way back to what is revoked, as a start would not take it.
    fn hold_to_trust(&mut self, data_dir: &Path, key_dirs: &[PathBuf], mends: &str) {
        let Choice {
            number: Some(number),
            went_back: Some(WentBack { from, .. }),
            ..
        } = self.next
        else {
            return;
        };
        let trustees = Trustees {
            key_dirs,
            allow_unsigned: true,
            data_dir: Some(data_dir),
        };
        let trust = match daemon::trusted(&trustees, false) {
            Ok(trust) => trust,
            Err(_) => {
                self.note = Some(format!(
                    "if generation {number} is trusted still: that cannot be checked here, {mends}"
                ));
                return;
            }
        };
        // Who cannot read it tells that elsewhere; other keys than these may be the daemon's.
        let head = Generations::of(data_dir).head(number);
        let Some(Err(refused @ (BundleError::RevokedKey { .. } | BundleError::Revoked { .. }))) =
            head.ok().map(|head| head.verify(&trust))
        else {
            return;
        };
        let refused = format!("generation {number} is refused: {refused}");
        (self.next, self.note) = match from {
            Some(from) => (
                Choice {
                    number: Some(from),
                    ..Choice::default()
                },
                Some(format!(
                    "as it stands, the next start serves generation {from} all the same, for {refused}"
                )),
            ),
            None => (
                Choice {
                    nothing: Some(refused),
                    ..Choice::default()
                },
                None,
            ),
        };
    }
}

impl Content {
    fn of(head: &BundleHead, blobs: Option<&Blobs>) -> Content {
        let manifest = &head.manifest;
        let services = manifest.deployment.services.iter().enumerate();
        let services = services.map(|(place, service)| {
            let file = blobs.zip(manifest.artifact(place));
            let file = file.and_then(|(blobs, blob)| blobs.open(blob).ok());
            let plugin = file.and_then(|file| read_manifest(&file).ok());
            Service {
                name: service.name.clone().unwrap_or_default(),
                plugin: plugin.map(|(plugin, _)| Plugin {
                    digest: plugin.digest_text(),
                    name: plugin.name,
                    version: plugin.version,
                }),
            }
        });
        Content {
            digest: head.digest_text(),
            deployment: manifest.deployment.name.clone(),
            release: manifest.deployment.release,
            services: services.collect(),
        }
    }
}

/// A line for each generation, the newest last, and below it one for each service; then what the next start makes
/// of them, unless that is the active one.
fn text(shown: &Shown) -> String {
    let mut text = String::new();
    for one in &shown.all {
        let (number, mark) = (one.number, one.mark());
        match &one.content {
            Err(damage) => text.push_str(&format!("{number}  {damage}{mark}\n")),
            Ok(content) => {
                let release = match content.release {
                    0 => String::new(),
                    release => format!(" release {release}"),
                };
                let deployment = &content.deployment;
                text.push_str(&format!("{number}  {deployment}{release}{mark}\n"));
                for Service { name, plugin } in &content.services {
                    let plugin = match plugin {
                        Some(Plugin { name, version, .. }) => format!("{name} {version}"),
                        None => "its file is missing or damaged".to_owned(),
                    };
                    text.push_str(&format!("   {name}: {plugin}\n"));
                }
            }
        }
    }
    match &shown.next {
        Choice {
            number: Some(number),
            went_back: Some(WentBack { from, reason, .. }),
            ..
        } => {
            let from = from.map_or_else(String::new, |from| format!(" from generation {from}"));
            text.push_str(&format!(
                "as it stands, the next start goes back{from} to {number}: {reason}\n"
            ));
        }
        Choice {
            nothing: Some(why), ..
        } => text.push_str(&format!(
            "as it stands, the next start serves nothing: {why}\n"
        )),
        _ => {}
    }
    if let Some(note) = &shown.note {
        text.push_str(&format!("{note}\n"));
    }
    text
}

impl Generation {
    /// What is known of it, behind its name.
    fn mark(&self) -> String {
        let mut mark = String::new();
        if self.is_active {
            mark.push_str(" (active)");
        }
        if self.is_confirmed {
            mark.push_str(", confirmed");
        }
        let starts = match self.starts {
            0 => "not started yet".to_owned(),
            1 => "started once".to_owned(),
            starts => format!("started {starts} times"),
        };
        match &self.failure {
            Some(reason) => mark.push_str(&format!(", failed: {reason}")),
            None if self.is_active && !self.is_confirmed => {
                mark.push_str(&format!(", on trial: {starts}"));
            }
            None if self.starts > 0 => mark.push_str(&format!(", {starts} since")),
            None => {}
        }
        mark
    }
}

fn json(shown: &Shown) -> String {
    let mut json = Json::object();
    json.nest("generations", '[', &mut |json| {
        for one in &shown.all {
            json.nest("", '{', &mut |json| {
                json.number("number", one.number);
                json.truth("active", one.is_active);
                json.truth("confirmed", one.is_confirmed);
                json.number("starts", u64::from(one.starts));
                json.text_or_null("failed", one.failure.as_deref());
                match &one.content {
                    Err(damage) => json.text("damage", damage),
                    Ok(content) => content.write(json),
                }
            });
        }
    });
    let Choice {
        number,
        went_back,
        nothing,
        ..
    } = &shown.next;
    json.nest("next_start", '{', &mut |json| {
        match number {
            Some(number) => json.number("generation", *number),
            None => json.text_or_null("generation", None),
        }
        let why = went_back.as_ref().map(|back| &back.reason);
        json.text_or_null("reason", why.or(nothing.as_ref()).map(String::as_str));
    });
    json.finish()
}

impl Content {
    fn write(&self, json: &mut Json) {
        json.text("digest", &self.digest);
        json.text("deployment", &self.deployment);
        json.number("release", self.release);
        json.nest("services", '[', &mut |json| {
            for Service { name, plugin } in &self.services {
                json.nest("", '{', &mut |json| {
                    let plugin = plugin.as_ref();
                    json.text("name", name);
                    json.text_or_null("plugin", plugin.map(|one| one.name.as_str()));
                    json.text_or_null("version", plugin.map(|one| one.version.as_str()));
                    json.text_or_null("digest", plugin.map(|one| one.digest.as_str()));
                });
            }
        });
    }
}
