//! What a device is told to run, and how.

mod device;
mod endpoint;
mod service;
mod value;

pub use device::{CertificateFiles, DeviceSettings, TimeoutSettings};
pub use endpoint::{ENDPOINTS_MAX, Endpoint, Expose, Port, Protocol};
pub use service::{HealthCheck, KeyvalueSettings, Service, ServiceSettings};
pub use value::{NotAValue, Value, Variable};

use serde::{Deserialize, Serialize};

/// Most services of one deployment: each has instances, counters and a file of its own.
pub const SERVICES_MAX: usize = 64;

/// What a device is told to run, and how. Flags make a small one, and a `deployment.yaml` a full one;
/// both are read by the same code from here on.
///
/// Whatever is `None` in its parts was not said: the daemon's default holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deployment {
    /// Its name: of a device's deployments each counts its releases by itself. Empty for one that flags made.
    pub name: String,
    /// A number that its owner raises with each release; 0 if they do not. A device goes to a higher
    /// one, and back only to what it ran before.
    pub release: u64,
    /// What concerns the device as a whole.
    pub device: DeviceSettings,
    /// The plugins, in the order in which they take part: from 1 to [`SERVICES_MAX`].
    pub services: Vec<Service>,
}

impl Deployment {
    /// The names of secrets that a device has to have beside the variables, each once, in their order.
    pub fn secrets(&self) -> Vec<&str> {
        let named = self.services.iter().flat_map(|one| {
            let settings = &one.settings;
            let is_own = |name: &str| settings.env.iter().any(|own| own.name == name);
            let names = settings.secrets.iter().flatten().map(String::as_str);
            names.filter(move |name| !name.ends_with('*') && !is_own(name))
        });
        let mut names: Vec<&str> = named.collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// The variables that a device has to know, each once, in the order of their names.
    pub fn variables(&self) -> Vec<&str> {
        let values = self.services.iter().flat_map(|one| one.settings.env.iter());
        let mut names: Vec<&str> = values.flat_map(|one| one.value.variables()).collect();
        names.sort_unstable();
        names.dedup();
        names
    }
}
