//! `inspect`: what a bundle holds and says.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use argh::FromArgs;
use serde_json::{Value, json};
use zlayer_bundle::{
    Capabilities, Capability, Role, Service, SignatureState, TRUST_LIST_MAGIC, open_regular,
};
use zlayer_precompile::{BundleFile, said_of_device, said_of_service};

use super::{Outcome, describe_signature, trust_list, usage, user_trust_by};
use crate::show;

/// show what a bundle holds, or what a trust list says, after checking all of it
#[derive(FromArgs)]
#[argh(subcommand, name = "inspect")]
pub(crate) struct Inspect {
    /// a .zlb file, or a trust list
    #[argh(positional)]
    bundle: PathBuf,

    /// trust list that the bundle is held to, as a device would
    #[argh(option)]
    trust_list: Option<PathBuf>,

    /// print one JSON object
    #[argh(switch)]
    #[expect(
        dead_code,
        reason = "`main` looks for the word itself, for errors in the arguments too"
    )]
    json: bool,
}

impl Inspect {
    pub(crate) fn run(self) -> Result<Outcome> {
        if is_trust_list(&self.bundle) {
            return match self.trust_list {
                None => trust_list::show(&self.bundle),
                Some(_) => Err(usage(
                    "--trust-list is for a bundle, and this is a list itself",
                )),
            };
        }
        let bundle = BundleFile::read(&self.bundle)?;
        let trust = user_trust_by(self.trust_list.as_deref())?;
        { bundle.check_revoked(&trust) }.with_context(|| self.bundle.display().to_string())?;
        let manifest = &bundle.head.manifest;
        let deployment = &manifest.deployment;
        let (signed, signature) = describe_signature(&bundle.head.signature, &trust);
        let digest = bundle.head.digest_text();
        let device = said_of_device(&deployment.device);
        let variables = deployment.variables();
        let mut text = show::table(&[
            ("kind", "bundle".to_owned()),
            ("digest", digest.clone()),
            ("deployment", deployment.name.clone()),
            ("release", deployment.release.to_string()),
            ("size", show::size(bundle.length)),
            ("target", manifest.target.to_string()),
            ("profile", manifest.profile.to_string()),
            ("signature", signed),
            ("device", show::settings(&device)),
            ("has to know", variables.join(", ")),
        ]);
        let mut services = Vec::new();
        for (place, service) in deployment.services.iter().enumerate() {
            let (rows, json) = describe(&bundle, place, service, |signature| {
                describe_signature(signature, &trust)
            });
            text += "\n";
            text += &show::table(&rows);
            services.push(json);
        }
        let json = json!({
            "file": self.bundle,
            "kind": "bundle",
            "bytes": bundle.length,
            "digest": digest,
            "deployment": deployment.name,
            "release": deployment.release,
            "target": manifest.target,
            "profile": manifest.profile,
            "signature": signature,
            "device": device,
            "variables": variables,
            "services": services,
        });
        let checked =
            { bundle.check_signatures() }.with_context(|| self.bundle.display().to_string());
        Outcome { text, json }.unless(checked)
    }
}

/// Whether a file is a trust list, by its first bytes. Errors are left to whoever reads the file next.
fn is_trust_list(path: &Path) -> bool {
    let mut magic = [0; TRUST_LIST_MAGIC.len()];
    let read = open_regular(path).and_then(|(mut file, _)| file.read_exact(&mut magic));
    read.is_ok() && magic == TRUST_LIST_MAGIC
}

/// Rows of a table about one service, and the same for programs.
fn describe(
    bundle: &BundleFile,
    place: usize,
    service: &Service,
    describe_signature: impl Fn(&SignatureState) -> (String, Value),
) -> (Vec<(&'static str, String)>, Value) {
    let name = service.name.clone().unwrap_or_default();
    let said = said_of_service(service);
    let image = { bundle.head.manifest.images.get(place) }
        .cloned()
        .flatten();
    let Some(artifact) = bundle.artifact(place) else {
        // A head whose services have no artifacts was refused.
        return (vec![("service", name)], Value::Null);
    };
    let manifest = &artifact.manifest;
    let digest = manifest.digest_text();
    let roles: Vec<Role> = { manifest.roles.iter().copied() }
        .filter(|role| { service.settings.roles.as_ref() }.is_none_or(|named| named.contains(role)))
        .collect();
    let set = |list: &[_]| list.iter().copied().collect::<Capabilities>();
    let mut granted = Role::capabilities_of(&roles)
        .and(set(&service.settings.allow))
        .without(set(&service.settings.deny));
    // As on a device: without a host there is nobody to ask.
    if { service.settings.allow_hosts.as_ref() }.is_none_or(Vec::is_empty) {
        granted = granted.without(Capabilities::NONE.with(Capability::HttpClient));
    }
    let (signed, signature) = describe_signature(&artifact.signature);
    let names = |roles: &[Role]| {
        let names: Vec<_> = roles.iter().map(|role| role.name()).collect();
        names.join(", ")
    };
    let capabilities = |set: Capabilities| set.iter().map(|one| one.name()).collect::<Vec<_>>();
    let mut rows = vec![
        ("service", name),
        ("plugin", format!("{} {}", manifest.name, manifest.version)),
        ("digest", digest.clone()),
        ("signature", signed),
        ("roles", names(&roles)),
        (
            "uses",
            Capabilities::imported(&manifest.imports).to_string(),
        ),
        ("granted", granted.to_string()),
        ("settings", show::settings(&said)),
    ];
    if let Some(image) = &image {
        rows.insert(2, ("image", image.clone()));
    }
    let json = json!({
        "name": service.name,
        "plugin": manifest.name,
        "version": manifest.version,
        "image": image,
        "digest": digest,
        "signature": signature,
        "exports": manifest.roles,
        "roles": roles,
        "uses": capabilities(Capabilities::imported(&manifest.imports)),
        "granted": capabilities(granted),
        "settings": said,
    });
    (rows, json)
}
