//! `zlayer generations`: which bundles a data folder keeps.

use std::path::{Path, PathBuf};

use argh::FromArgs;
use zlayer_bundle::{BundleManifest, read_manifest};

use crate::admin::{DEFAULT_DATA_DIR, Json};
use crate::error::Result;
use crate::generations::{Blobs, Generations};
use crate::logger;

/// Show which bundles a data folder keeps, and which one a daemon serves from its next start.
#[derive(FromArgs)]
#[argh(subcommand, name = "generations")]
pub(super) struct Show {
    /// the daemon's data folder (default /var/lib/zlayer)
    #[argh(option)]
    data_dir: Option<PathBuf>,
    /// print JSON
    #[argh(switch)]
    json: bool,
}

/// A generation, by what it says of itself, or why it says nothing.
struct Generation {
    number: u64,
    is_active: bool,
    content: std::result::Result<Content, String>,
}

struct Content {
    deployment: String,
    release: u64,
    services: Vec<Service>,
}

struct Service {
    name: String,
    /// The plugin and its version, if its file says so.
    plugin: Option<(String, String)>,
}

impl Show {
    /// Shows them. Nothing is verified, and no lock is taken: a daemon may serve one of them.
    ///
    /// # Errors
    ///
    /// They cannot be read. One that is damaged is told among the others.
    pub(super) fn run(self) -> Result<()> {
        let data_dir = self
            .data_dir
            .unwrap_or_else(|| PathBuf::from(DEFAULT_DATA_DIR));
        let all = read(&data_dir)?;
        logger::say(&match self.json {
            true => json(&all),
            false if all.is_empty() => format!("nothing is installed in {}\n", data_dir.display()),
            false => text(&all),
        });
        Ok(())
    }
}

/// Tells what a daemon would serve that does not answer, if anything is installed.
pub(super) fn tell_of_active(data_dir: Option<PathBuf>, is_json: bool) {
    let data_dir = data_dir.unwrap_or_else(|| PathBuf::from(DEFAULT_DATA_DIR));
    // Why the daemon cannot be asked is told in any case.
    let mut all = read(&data_dir).unwrap_or_default();
    all.retain(|one| one.is_active);
    if !all.is_empty() {
        logger::say(&match is_json {
            true => json(&all),
            false => format!("no daemon answers; installed is generation {}", text(&all)),
        });
    }
}

fn read(data_dir: &Path) -> Result<Vec<Generation>> {
    let generations = Generations::of(data_dir);
    let blobs = generations.blobs()?;
    let active = generations.active().unwrap_or_else(|error| {
        log::warn!("{error}");
        None
    });
    let all = generations.list()?.into_iter().map(|number| {
        let head = generations.head(number);
        Generation {
            number,
            is_active: active == Some(number),
            content: head
                .map(|head| Content::of(&head.manifest, blobs.as_ref()))
                .map_err(|error| error.to_string()),
        }
    });
    Ok(all.collect())
}

impl Content {
    fn of(manifest: &BundleManifest, blobs: Option<&Blobs>) -> Content {
        let services = manifest.deployment.services.iter().enumerate();
        let services = services.map(|(place, service)| {
            let file = blobs.zip(manifest.artifact(place));
            let file = file.and_then(|(blobs, blob)| blobs.open(blob).ok());
            let plugin = file.and_then(|file| read_manifest(&file).ok());
            Service {
                name: service.name.clone().unwrap_or_default(),
                plugin: plugin.map(|(plugin, _)| (plugin.name, plugin.version)),
            }
        });
        Content {
            deployment: manifest.deployment.name.clone(),
            release: manifest.deployment.release,
            services: services.collect(),
        }
    }
}

/// A line for each generation, the newest last, and below it one for each service.
fn text(all: &[Generation]) -> String {
    let mut text = String::new();
    for Generation {
        number,
        is_active,
        content,
    } in all
    {
        let active = if *is_active { " (active)" } else { "" };
        match content {
            Err(damage) => text.push_str(&format!("{number}  {damage}{active}\n")),
            Ok(content) => {
                let release = match content.release {
                    0 => String::new(),
                    release => format!(" release {release}"),
                };
                let deployment = &content.deployment;
                text.push_str(&format!("{number}  {deployment}{release}{active}\n"));
                for Service { name, plugin } in &content.services {
                    let plugin = match plugin {
                        Some((plugin, version)) => format!("{plugin} {version}"),
                        None => "its file is missing or damaged".to_owned(),
                    };
                    text.push_str(&format!("   {name}: {plugin}\n"));
                }
            }
        }
    }
    text
}

fn json(all: &[Generation]) -> String {
    let mut json = Json::object();
    json.nest("generations", '[', &mut |json| {
        for one in all {
            json.nest("", '{', &mut |json| {
                json.number("number", one.number);
                json.truth("active", one.is_active);
                match &one.content {
                    Err(damage) => json.text("damage", damage),
                    Ok(content) => content.write(json),
                }
            });
        }
    });
    json.finish()
}

impl Content {
    fn write(&self, json: &mut Json) {
        json.text("deployment", &self.deployment);
        json.number("release", self.release);
        json.nest("services", '[', &mut |json| {
            for Service { name, plugin } in &self.services {
                json.nest("", '{', &mut |json| {
                    let (plugin, version) = plugin
                        .as_ref()
                        .map(|(name, version)| (name, version))
                        .unzip();
                    json.text("name", name);
                    json.text_or_null("plugin", plugin.map(String::as_str));
                    json.text_or_null("version", version.map(String::as_str));
                });
            }
        });
    }
}
