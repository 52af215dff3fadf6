//! Takes the values out of a file, and tells what does not fit together.

mod cross;
mod device;
mod env;
mod ports;
mod service;
#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests;
mod wasm;

use std::io::{self, Read as _};
use std::path::Path;

use zlayer_bundle::{Deployment, Service, open_regular};

use crate::check::check;
use crate::keys::FILE;
use crate::report::Report;
use crate::shape::Shape;
use crate::tree::{At, FILE_MAX, parse};
use crate::view::View;
use crate::{Image, Note, Refusal, Refusals};

/// What a `deployment.yaml` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeploymentFile {
    /// What goes to devices.
    pub deployment: Deployment,
    /// Where the plugins come from: one for each of the deployment's services, in their order.
    pub images: Vec<Image>,
    /// For each of these services, the key that says how many of its instances are kept at the least.
    pub least_keys: Vec<String>,
    /// What is accepted and does nothing, or less than it seems to.
    pub notes: Vec<Note>,
}

/// Reads a `deployment.yaml`.
///
/// # Errors
///
/// Everything that is wrong with it, as far as can be told: a file that is not YAML ends at the first mistake.
pub fn read(path: &Path) -> Result<DeploymentFile, Refusals> {
    let bytes = open_regular(path).and_then(|(file, _)| {
        let mut bytes = Vec::new();
        file.take(FILE_MAX + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    });
    read_text(path, bytes)
}

/// Reads what the file `path` holds.
pub(crate) fn read_text(
    path: &Path,
    bytes: io::Result<Vec<u8>>,
) -> Result<DeploymentFile, Refusals> {
    let report = Report::new(path);
    let folder = path.parent().unwrap_or(Path::new(""));
    let said = decode(bytes, &report).and_then(|text| interpret(&text, folder, &report));
    let place = report.place(At::default());
    let notes = report.end()?;
    match said {
        Some((deployment, images, least_keys)) => Ok(DeploymentFile {
            deployment,
            images,
            least_keys,
            notes,
        }),
        // Whoever says nothing has said why, and has ended above.
        None => Err(Refusals(vec![Refusal {
            place,
            path: String::new(),
            reason: "says nothing".to_owned(),
        }])),
    }
}

/// The text of a file.
fn decode(bytes: io::Result<Vec<u8>>, report: &Report) -> Option<String> {
    let refuse = |at, reason: String| {
        report.refuse(at, "", reason);
        None
    };
    let bytes = match bytes {
        Ok(bytes) => bytes,
        Err(error) => return refuse(At::default(), format!("cannot be read: {error}")),
    };
    if bytes.len() as u64 > FILE_MAX {
        let reason = format!("is longer than {} KiB", FILE_MAX >> 10);
        return refuse(At::default(), reason);
    }
    match String::from_utf8(bytes) {
        Ok(text) => Some(text),
        Err(error) => {
            let valid = error.utf8_error().valid_up_to();
            let text = String::from_utf8_lossy(&error.as_bytes()[..valid]).into_owned();
            let column = text.rsplit('\n').next().unwrap_or("").chars().count() + 1;
            let line = text.matches('\n').count() + 1;
            refuse(
                At { line, column },
                "is not UTF-8 from here on; save the file as UTF-8".to_owned(),
            )
        }
    }
}

/// What a file says that lies in `folder`. `None`: the report says why it says nothing.
fn interpret(
    text: &str,
    folder: &Path,
    report: &Report,
) -> Option<(Deployment, Vec<Image>, Vec<String>)> {
    let root = parse(text, report)?;
    check(&Shape::Map(FILE), &root, "", report);
    let file = View::new(&root, FILE, String::new(), report);
    let (mut services, mut images, mut views) = (Vec::new(), Vec::new(), Vec::new());
    let entries = file.get("services").map_or(&[][..], |node| node.entries());
    for entry in entries {
        let view = file.named("services", entry);
        let image = service::image(&view, folder);
        services.push(Service {
            name: Some(entry.key.clone()),
            settings: service::settings(&view),
        });
        // One that has none was refused.
        images.extend(image);
        views.push(view);
    }
    let device = file.map("device");
    let deployment = Deployment {
        name: file.text("deployment").unwrap_or_default().to_owned(),
        release: file.number("release").unwrap_or_default(),
        device: device.as_ref().map(device::settings).unwrap_or_default(),
        services,
    };
    cross::check(&deployment, &file, &views);
    let least_keys = views.iter().map(service::least_key).collect();
    Some((deployment, images, least_keys))
}
