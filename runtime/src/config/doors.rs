//! The ports that clients come to, and at which addresses.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use zlayer_bundle::{Deployment, DeviceSettings, Expose, Port};

use crate::error::{Error, Result};

/// Where nobody says anything else.
const HTTP_PORT: u16 = 8080;
/// The port of HTTPS where there is a certificate and nobody says anything else.
const HTTPS_PORT: u16 = 8443;

/// A port that clients come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Door {
    /// Where to listen; port 0 lets the system choose.
    pub address: SocketAddr,
    /// TLS is spoken there.
    pub is_https: bool,
    /// The port by which endpoints lead here, whatever a flag has put in its place. 0: none does.
    pub named: u16,
    /// Which of the doors has the same over TLS, where requests without TLS are sent there.
    pub redirect: Option<usize>,
}

impl Door {
    /// Whether this device alone reaches it.
    pub fn is_internal(&self) -> bool {
        self.address.ip().to_canonical().is_loopback()
    }

    /// The flag that chooses its port, for people.
    pub fn flag(&self) -> &'static str {
        match self.is_https {
            true => "--tls-port",
            false => "--port",
        }
    }
}

/// The door of a daemon of which nothing is said.
pub(super) fn usual() -> Vec<Door> {
    vec![door(Ipv4Addr::LOCALHOST.into(), HTTP_PORT, 0)]
}

/// The doors of a deployment on a device that is set so. Those without TLS stand first, each kind in the order of
/// the file.
///
/// Without endpoints there is one, and HTTPS beside it where there is a certificate. The port that the device names
/// takes the place of the first endpoint's, for HTTP and for HTTPS. Its address is that of the one port, where there is
/// one; of several it is that of the public ones, and of all if it is this device's own.
///
/// # Errors
///
/// Settings contradict each other, by the flag or the key that says them.
pub fn read(deployment: &Deployment, device: &DeviceSettings) -> Result<Vec<Door>> {
    let ports = deployment.ports();
    let ports = ports.map_err(|reason| Error::Usage(format!("the deployment {reason}")))?;
    let has_https = !device.certificates.is_empty();
    let mut doors: Vec<Door> = match ports.is_empty() {
        true => usual(),
        false => at(&ports, has_https)?,
    };
    bind(&mut doors, &ports, device.bind)?;
    if let Some(port) = device.port {
        let Some(first) = doors.first_mut().filter(|door| !door.is_https) else {
            return usage("--port: all endpoints speak HTTPS; see --tls-port".to_owned());
        };
        first.address.set_port(port);
    }
    let secure = doors.iter().position(|door| door.is_https);
    if let (Some(place), Some(port)) = (secure, device.tls_port) {
        doors[place].address.set_port(port);
    } else if let (None, true, Some(first)) = (secure, has_https, doors.first()) {
        // It leads where the first one leads.
        doors.push(Door {
            address: SocketAddr::new(first.address.ip(), device.tls_port.unwrap_or(HTTPS_PORT)),
            is_https: true,
            ..first.clone()
        });
    }
    if device.redirect_http == Some(true) {
        redirect(&mut doors, deployment)?;
    }
    Ok(doors)
}

/// Has endpoints be public that say that they are internal, where the device's own address opens their door after all.
pub fn expose(deployment: &mut Deployment, doors: &[Door]) {
    let is_opened = |port: u16| {
        let mut doors = doors.iter();
        doors.any(|door| door.named == port && !door.is_internal())
    };
    let services = deployment.services.iter_mut();
    for endpoint in services.flat_map(|service| &mut service.settings.endpoints) {
        if is_opened(endpoint.port) {
            endpoint.expose = Expose::Public;
        }
    }
}

fn door(address: IpAddr, port: u16, named: u16) -> Door {
    Door {
        address: SocketAddr::new(address, port),
        is_https: false,
        named,
        redirect: None,
    }
}

/// The doors at these ports.
fn at(ports: &[Port], has_https: bool) -> Result<Vec<Door>> {
    let (secure, plain): (Vec<Port>, Vec<Port>) = ports.iter().partition(|port| port.is_https);
    if let (Some(port), false) = (secure.first(), has_https) {
        return usage(format!(
            "an endpoint at port {} speaks HTTPS, which wants a certificate; name one with --tls-cert and --tls-key, or \
             with --tls-credential, or under device.tls.certificates (of a daemon that runs, certificates are read at a \
             start alone: stop the daemon to install it)",
            port.number
        ));
    }
    let doors = plain.into_iter().chain(secure).map(|port| Door {
        is_https: port.is_https,
        ..door(
            match port.expose {
                Expose::Public => Ipv4Addr::UNSPECIFIED.into(),
                Expose::Internal => Ipv4Addr::LOCALHOST.into(),
            },
            port.number,
            port.number,
        )
    });
    Ok(doors.collect())
}

/// Has the doors listen at an address that is not said by their endpoints.
fn bind(doors: &mut [Door], ports: &[Port], address: Option<IpAddr>) -> Result<()> {
    let Some(address) = address else {
        return Ok(());
    };
    let is_public = |named: u16| {
        let mut ports = ports.iter();
        ports.any(|port| port.number == named && port.expose == Expose::Public)
    };
    let (is_one, is_own) = (doors.len() == 1, address.is_loopback());
    if !is_one && !is_own && !doors.iter().any(|door| is_public(door.named)) {
        return usage(format!(
            "--bind: {address} is for public endpoints, and all of these are internal; say `expose: public` for those \
             that others shall reach"
        ));
    }
    for door in doors.iter_mut() {
        if is_one || is_own || is_public(door.named) {
            door.address.set_ip(address);
        }
    }
    Ok(())
}

/// Has each door without TLS lead to the one that has the same over TLS: the one beside it, or that of the first
/// service which is reached at both. What only the device itself reaches needs none.
fn redirect(doors: &mut [Door], deployment: &Deployment) -> Result<()> {
    let beside = |named: u16| {
        let mut doors = doors.iter();
        doors.position(|door| door.is_https && door.named == named)
    };
    let own = |named: u16| deployment.secure_port(named).and_then(beside);
    let nowhere = "--redirect-http: there is no HTTPS to go to; name a certificate with --tls-cert and --tls-key, or with \
                   --tls-credential";
    if !doors.iter().any(|door| door.is_https) {
        return usage(nowhere.to_owned());
    }
    let mut found = Vec::new();
    for door in doors.iter() {
        let to = beside(door.named).or_else(|| own(door.named));
        if to.is_none() && !door.address.ip().is_loopback() {
            return usage(format!(
                "--redirect-http: no service at port {} has an endpoint with `protocol: https` to go to; give one to it",
                door.named
            ));
        }
        found.push(to);
    }
    let mut pairs = doors.iter().zip(&found);
    if pairs.all(|(door, to)| door.is_https || to.is_none()) {
        return usage(nowhere.to_owned());
    }
    for (door, to) in doors.iter_mut().zip(found) {
        door.redirect = to;
    }
    Ok(())
}

fn usage<T>(text: String) -> Result<T> {
    Err(Error::Usage(text))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use zlayer_bundle::{CertificateFiles, Endpoint, Protocol, Service, ServiceSettings};

    use super::*;

    /// `80 public`, `443 https public`: one service for each list.
    fn deployment(services: &[&[&str]]) -> Deployment {
        let endpoint = |said: &&str| Endpoint {
            port: said.split(' ').next().unwrap().parse().unwrap(),
            protocol: match said.contains("https") {
                true => Protocol::Https,
                false => Protocol::Http,
            },
            expose: match said.contains("public") {
                true => Expose::Public,
                false => Expose::Internal,
            },
            ..Endpoint::default()
        };
        let services = services.iter().map(|endpoints| Service {
            name: None,
            settings: ServiceSettings {
                endpoints: endpoints.iter().map(endpoint).collect(),
                ..ServiceSettings::default()
            },
        });
        Deployment {
            services: services.collect(),
            ..Deployment::default()
        }
    }

    fn secure() -> DeviceSettings {
        DeviceSettings {
            certificates: vec![CertificateFiles::Credential("c".to_owned())],
            ..DeviceSettings::default()
        }
    }

    /// Each door as `ADDRESS named PORT`, with `https` and where it redirects to.
    fn shown(services: &[&[&str]], device: &DeviceSettings) -> Vec<String> {
        let doors = read(&deployment(services), device).unwrap();
        let shown = doors.iter().map(|door| {
            let Door {
                address,
                is_https,
                named,
                redirect,
            } = door;
            let https = if *is_https { " https" } else { "" };
            let to = redirect.map_or(String::new(), |to| format!(" to {to}"));
            format!("{address} named {named}{https}{to}")
        });
        shown.collect()
    }

    fn told(services: &[&[&str]], device: &DeviceSettings) -> String {
        read(&deployment(services), device).unwrap_err().to_string()
    }

    #[test]
    fn without_endpoints_there_is_one_door_and_https_beside_it() {
        let device = DeviceSettings::default();
        assert_eq!(shown(&[&[]], &device), ["127.0.0.1:8080 named 0"]);
        let device = DeviceSettings {
            bind: "::".parse().ok(),
            port: Some(80),
            redirect_http: Some(true),
            ..secure()
        };
        let expected = ["[::]:80 named 0 to 1", "[::]:8443 named 0 https to 1"];
        assert_eq!(shown(&[&[]], &device), expected);
    }

    #[test]
    fn a_flag_wins_over_the_one_endpoint() {
        let device = DeviceSettings {
            bind: "192.0.2.1".parse().ok(),
            port: Some(0),
            tls_port: Some(1),
            ..secure()
        };
        let expected = ["192.0.2.1:0 named 80", "192.0.2.1:1 named 80 https"];
        assert_eq!(shown(&[&["80"], &["80"]], &device), expected);
    }

    #[test]
    fn what_the_devices_own_address_opens_is_public() {
        let exposed = |services: &[&[&str]], address: &str| {
            let mut deployment = deployment(services);
            let device = DeviceSettings {
                bind: address.parse().ok(),
                ..DeviceSettings::default()
            };
            let doors = read(&deployment, &device).unwrap();
            expose(&mut deployment, &doors);
            let services = deployment.services.iter();
            let endpoints = services.flat_map(|service| &service.settings.endpoints);
            endpoints.map(|one| one.expose).collect::<Vec<_>>()
        };
        assert_eq!(exposed(&[&["80"]], "0.0.0.0"), [Expose::Public]);
        for address in ["", "127.0.0.2", "::1", "::ffff:127.0.0.1"] {
            assert_eq!(
                exposed(&[&["80"]], address),
                [Expose::Internal],
                "{address}"
            );
        }
        let several = exposed(&[&["80 public"], &["81"]], "0.0.0.0");
        assert_eq!(several, [Expose::Public, Expose::Internal]);
    }

    #[test]
    fn of_several_ports_a_flag_moves_the_first_and_never_opens_what_is_internal() {
        let services: &[&[&str]] = &[&["81"], &["80 public", "443 https public"]];
        let device = secure();
        let expected = [
            "127.0.0.1:81 named 81",
            "0.0.0.0:80 named 80",
            "0.0.0.0:443 named 443 https",
        ];
        assert_eq!(shown(services, &device), expected);
        let device = DeviceSettings {
            bind: "::".parse().ok(),
            port: Some(0),
            tls_port: Some(0),
            ..secure()
        };
        let expected = [
            "127.0.0.1:0 named 81",
            "[::]:80 named 80",
            "[::]:0 named 443 https",
        ];
        assert_eq!(shown(services, &device), expected);
        let own = DeviceSettings {
            bind: "127.0.0.2".parse().ok(),
            ..secure()
        };
        let addresses = shown(services, &own);
        assert!(addresses.iter().all(|one| one.starts_with("127.0.0.2:")));
        let told = told(
            &[&["81", "82"]],
            &DeviceSettings {
                bind: "0.0.0.0".parse().ok(),
                ..DeviceSettings::default()
            },
        );
        assert!(told.starts_with("--bind: 0.0.0.0 is for public"), "{told}");
    }

    #[test]
    fn https_beside_several_ports_leads_where_the_first_leads() {
        let services: &[&[&str]] = &[&["80 public"], &["81"]];
        let expected = [
            "0.0.0.0:80 named 80",
            "127.0.0.1:81 named 81",
            "0.0.0.0:8443 named 80 https",
        ];
        assert_eq!(shown(services, &secure()), expected);
    }

    #[test]
    fn https_wants_a_certificate_and_http_somebody_who_speaks_it() {
        let services: &[&[&str]] = &[&["443 https"]];
        let refused = told(services, &DeviceSettings::default());
        assert!(refused.contains("port 443 speaks HTTPS"), "{refused}");
        let device = DeviceSettings {
            port: Some(80),
            ..secure()
        };
        assert!(told(services, &device).starts_with("--port: all endpoints speak HTTPS"));
        assert_eq!(
            shown(services, &secure()),
            ["127.0.0.1:443 named 443 https"]
        );
    }

    #[test]
    fn a_redirect_leads_to_the_same_service() {
        let device = DeviceSettings {
            redirect_http: Some(true),
            ..secure()
        };
        let services: &[&[&str]] = &[
            &["80 public", "443 https public"],
            &["81"],
            &["82 public", "444 https public"],
        ];
        let expected = [
            "0.0.0.0:80 named 80 to 3",
            "127.0.0.1:81 named 81",
            "0.0.0.0:82 named 82 to 4",
            "0.0.0.0:443 named 443 https to 3",
            "0.0.0.0:444 named 444 https to 4",
        ];
        assert_eq!(shown(services, &device), expected);
        let refused = told(&[&["80 public"], &["443 https public"]], &device);
        assert!(
            refused.starts_with("--redirect-http: no service at port 80"),
            "{refused}"
        );
        let refused = told(&[&["80"], &["443 https"]], &device);
        assert!(
            refused.starts_with("--redirect-http: there is no HTTPS"),
            "{refused}"
        );
    }
}
