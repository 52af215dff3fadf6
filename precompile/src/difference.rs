//! What changes from one bundle to the next.

use serde::Serialize;
use serde_json::{Value, json};
use zlayer_bundle::{BundleManifest, Service};

use crate::BundleFile;
use crate::said::{said_of_device, said_of_service, secrets_that_differ};

/// One thing that changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// What it is: `release`, `device.port`, `services.auth.env.REGION`.
    pub what: String,
    /// As it was; null where there was nothing.
    pub from: Value,
    /// As it will be; null where there will be nothing.
    pub to: Value,
}

/// What changes from `old` to `new`, in the order in which a bundle has it. Nothing if they say the same and hold
/// the same plugins, whoever signed them.
pub fn differences(old: &BundleFile, new: &BundleFile) -> Vec<Change> {
    let mut changes = Changes::default();
    let [from, to] = [old, new].map(|one| &one.head.manifest);
    changes.compare("target", json!(from.target), json!(to.target));
    changes.compare("profile", json!(from.profile), json!(to.profile));
    let [one, other] = [from, to].map(|manifest| &manifest.deployment);
    changes.compare("deployment", json!(one.name), json!(other.name));
    changes.compare("release", json!(one.release), json!(other.release));
    let devices = [one, other].map(|deployment| said_of_device(&deployment.device));
    let [one, other] = devices;
    changes.walk("device", &one, &other);

    let [before, after] = [from, to].map(names);
    for (place, name) in before.iter().enumerate() {
        let what = format!("services.{name}");
        match after.iter().position(|other| other == name) {
            Some(there) => changes.services(&what, (old, place), (new, there)),
            None => changes.add(what, json!(version(old, place)), Value::Null),
        }
    }
    for (place, name) in after.iter().enumerate() {
        if !before.contains(name) {
            let what = format!("services.{name}");
            changes.add(what, Value::Null, json!(version(new, place)));
        }
    }
    // That a service comes or goes was told; here it counts where those stand that stay.
    let stay = |names: &[&str], others: &[&str]| -> Vec<String> {
        let stay = names.iter().filter(|name| others.contains(name));
        stay.map(|name| (*name).to_owned()).collect()
    };
    let orders = (stay(&before, &after), stay(&after, &before));
    changes.compare("order", json!(orders.0), json!(orders.1));
    changes.0
}

#[derive(Default)]
struct Changes(Vec<Change>);

impl Changes {
    fn add(&mut self, what: String, from: Value, to: Value) {
        self.0.push(Change { what, from, to });
    }

    fn compare(&mut self, what: &str, from: Value, to: Value) {
        if from != to {
            self.add(what.to_owned(), from, to);
        }
    }

    /// Compares two values setting by setting.
    fn walk(&mut self, what: &str, from: &Value, to: &Value) {
        let (Value::Object(old), Value::Object(new)) = (from, to) else {
            return self.compare(what, from.clone(), to.clone());
        };
        let added = new.keys().filter(|key| !old.contains_key(*key));
        for key in old.keys().chain(added) {
            let [from, to] = [old, new].map(|fields| fields.get(key).unwrap_or(&Value::Null));
            self.walk(&format!("{what}.{key}"), from, to);
        }
    }

    /// Compares a service of one bundle with that of the same name in another.
    fn services(&mut self, what: &str, old: (&BundleFile, usize), new: (&BundleFile, usize)) {
        let blobs = [old, new].map(|(file, place)| file.head.manifest.artifact(place));
        if blobs[0] != blobs[1] {
            let [mut from, mut to] = [old, new].map(|(file, place)| version(file, place));
            if from == to {
                [from, to] = [old, new].map(|(file, place)| signed_version(file, place));
            }
            self.add(format!("{what}.artifact"), json!(from), json!(to));
        }
        let [from, to] = [old, new].map(|(file, place)| json!(image(file, place)));
        self.compare(&format!("{what}.image"), from, to);
        let [Some(one), Some(other)] = [old, new].map(|(file, place)| service(file, place)) else {
            return;
        };
        self.walk(what, &said_of_service(one), &said_of_service(other));
        for name in secrets_that_differ(one, other) {
            let value = |text| json!({ "secret": text });
            let what = format!("{what}.env.{name}");
            self.add(what, value("***"), value("another one"));
        }
    }
}

fn image(file: &BundleFile, place: usize) -> Option<&str> {
    file.head.manifest.images.get(place)?.as_deref()
}

fn service(file: &BundleFile, place: usize) -> Option<&Service> {
    file.head.manifest.deployment.services.get(place)
}

fn names(manifest: &BundleManifest) -> Vec<&str> {
    let services = manifest.deployment.services.iter();
    // A manifest whose services have no names was refused.
    services
        .map(|one| one.name.as_deref().unwrap_or_default())
        .collect()
}

/// The plugin's version and the digest of its code, as `inspect` shows it.
fn version(file: &BundleFile, place: usize) -> String {
    // A head whose services have no artifacts was refused.
    file.artifact(place).map_or_else(String::new, |one| {
        let manifest = &one.manifest;
        format!("{} (digest {})", manifest.version, manifest.digest_text())
    })
}

/// The same with who signed it: one file may differ from another in that alone.
fn signed_version(file: &BundleFile, place: usize) -> String {
    let artifact = file.artifact(place);
    let key = artifact.and_then(|one| one.signature.key());
    let signer = key.map_or_else(|| "nobody".to_owned(), |key| key.id().to_string());
    format!("{}, signed by {signer}", version(file, place))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_compared_setting_by_setting() {
        let from = json!({ "a": 1, "b": { "c": [1], "d": true }, "e": "x" });
        let to = json!({ "a": 1, "b": { "c": [1, 2], "d": true }, "f": { "g": 1 } });
        let mut changes = Changes::default();
        changes.walk("it", &from, &to);
        let told: Vec<String> = { changes.0.iter() }
            .map(|one| format!("{}: {} {}", one.what, one.from, one.to))
            .collect();
        assert_eq!(
            told,
            [
                "it.b.c: [1] [1,2]",
                "it.e: \"x\" null",
                "it.f: null {\"g\":1}"
            ]
        );
        let mut same = Changes::default();
        same.walk("it", &from, &from);
        assert!(same.0.is_empty());
    }
}
