//! Where services are reached.

use serde::{Deserialize, Serialize};

use super::Deployment;
use crate::{HostPattern, PathPattern};

/// Most endpoints of one deployment, where each host of one counts: a request is compared with all of them.
pub const ENDPOINTS_MAX: usize = 64;

/// Where a service is reached.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// For people.
    pub name: String,
    /// What is spoken there.
    pub protocol: Protocol,
    /// Port to listen on.
    pub port: u16,
    /// Who reaches it.
    pub expose: Expose,
    /// The hosts that clients ask for there. Empty: all.
    pub hosts: Vec<HostPattern>,
    /// Below which path. `None`: all.
    pub path: Option<PathPattern>,
}

impl Endpoint {
    /// How many of [`ENDPOINTS_MAX`] it is.
    pub fn count(&self) -> usize {
        self.hosts.len().max(1)
    }
}

/// What is spoken at an endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// HTTP, in which WebSockets begin too.
    #[default]
    Http,
    /// The same over TLS, with the device's certificates.
    Https,
    /// HTTP by another name.
    Websocket,
}

/// Who reaches an endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Expose {
    /// All who can reach the device.
    Public,
    /// Programs on the device itself.
    #[default]
    Internal,
}

/// A port that endpoints are at: one listener, whoever shares it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Port {
    /// Its number.
    pub number: u16,
    /// Who reaches it.
    pub expose: Expose,
    /// TLS is spoken there.
    pub is_https: bool,
}

impl From<&Endpoint> for Port {
    fn from(endpoint: &Endpoint) -> Port {
        Port {
            number: endpoint.port,
            expose: endpoint.expose,
            is_https: endpoint.protocol == Protocol::Https,
        }
    }
}

impl Deployment {
    /// The ports that its endpoints name, each once, in their order.
    ///
    /// # Errors
    ///
    /// Two endpoints contradict each other about a port, or there are too many.
    pub fn ports(&self) -> Result<Vec<Port>, String> {
        let endpoints = || self.services.iter().flat_map(|one| &one.settings.endpoints);
        let count: usize = endpoints().map(Endpoint::count).sum();
        if count > ENDPOINTS_MAX {
            return Err(format!(
                "has {count} endpoints, where each host counts; a deployment has at most {ENDPOINTS_MAX}"
            ));
        }
        let mut ports: Vec<Port> = Vec::new();
        for endpoint in endpoints() {
            let port = Port::from(endpoint);
            match ports.iter().find(|known| known.number == port.number) {
                None => ports.push(port),
                Some(known) if *known == port => {}
                Some(_) => {
                    return Err(format!(
                        "has endpoints at port {} that differ in who reaches it, or in whether it speaks HTTPS",
                        port.number
                    ));
                }
            }
        }
        Ok(ports)
    }
}

impl Deployment {
    /// The port where requests that come to this one without TLS find the same over TLS: that of the first service
    /// that has endpoints at both.
    pub fn secure_port(&self, port: u16) -> Option<u16> {
        self.services.iter().find_map(|service| {
            let endpoints = || service.settings.endpoints.iter();
            endpoints().find(|endpoint| endpoint.port == port)?;
            let secure = endpoints().find(|endpoint| endpoint.protocol == Protocol::Https)?;
            Some(secure.port)
        })
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use super::*;
    use crate::{Service, ServiceSettings};

    fn deployment(endpoints: Vec<Endpoint>) -> Deployment {
        let services = endpoints.into_iter().map(|endpoint| Service {
            name: None,
            settings: ServiceSettings {
                endpoints: vec![endpoint],
                ..ServiceSettings::default()
            },
        });
        Deployment {
            services: services.collect(),
            ..Deployment::default()
        }
    }

    fn at(port: u16) -> Endpoint {
        Endpoint {
            port,
            ..Endpoint::default()
        }
    }

    #[test]
    fn a_port_that_several_share_is_one() {
        let said = deployment(vec![at(81), at(80), at(81)]);
        let ports = said.ports().unwrap();
        let numbers: Vec<u16> = ports.iter().map(|port| port.number).collect();
        assert_eq!(numbers, [81, 80]);
    }

    #[test]
    fn one_port_is_not_two_things() {
        let public = Endpoint {
            expose: Expose::Public,
            ..at(80)
        };
        let secure = Endpoint {
            protocol: Protocol::Https,
            ..at(80)
        };
        let websocket = Endpoint {
            protocol: Protocol::Websocket,
            ..at(80)
        };
        for other in [public, secure] {
            let told = deployment(vec![at(80), other]).ports().unwrap_err();
            assert!(told.contains("port 80"), "{told}");
        }
        assert!(deployment(vec![at(80), websocket]).ports().is_ok());
    }

    #[test]
    fn there_are_at_most_so_many_and_each_host_counts() {
        assert!(deployment(vec![at(80); ENDPOINTS_MAX]).ports().is_ok());
        let mut hosts = vec![at(80); ENDPOINTS_MAX];
        hosts[0].hosts = vec!["a".parse().unwrap(), "b".parse().unwrap()];
        let told = deployment(hosts).ports().unwrap_err();
        assert!(told.contains("has 65 endpoints"), "{told}");
    }
}
