//! What endpoints say of the ports that they share, and the device of its own.

use zlayer_bundle::{Deployment, ENDPOINTS_MAX, Endpoint, Expose, Port};

use super::service;
use crate::view::View;

/// An endpoint as the file has it.
struct Said<'a> {
    endpoint: Endpoint,
    view: View<'a>,
    /// The path of its service.
    service: String,
}

/// Tells what does not fit together.
pub(super) fn check(deployment: &Deployment, file: &View<'_>, services: &[View<'_>]) {
    let mut all: Vec<Said<'_>> = Vec::new();
    for service in services {
        let first = all.len();
        for view in service.maps("endpoints") {
            let Some(endpoint) = service::endpoint(&view) else {
                continue;
            };
            let said = Said {
                endpoint,
                view,
                service: service.path.clone(),
            };
            said.differs_from(&all[first..]);
            said.agrees_with(&all);
            all.push(said);
        }
    }
    let count: usize = all.iter().map(|said| said.endpoint.count()).sum();
    if count > ENDPOINTS_MAX {
        file.refuse(
            "services",
            format!(
                "has {count} endpoints, where each host counts; a deployment has at most {ENDPOINTS_MAX}"
            ),
        );
    }
    check_device(deployment, &all);
    check_address(deployment, &all);
    check_redirect(deployment, file);
}

impl Said<'_> {
    fn port(&self) -> Port {
        Port::from(&self.endpoint)
    }

    /// The endpoints of one service are told apart by their names, and say something each.
    fn differs_from(&self, others: &[Said<'_>]) {
        let own = &self.endpoint;
        let is_same = |other: &&Said<'_>| {
            let other = &other.endpoint;
            (other.port, &other.hosts, &other.path) == (own.port, &own.hosts, &own.path)
        };
        if others.iter().any(|other| other.endpoint.name == own.name) {
            let name = own.name.escape_debug();
            let reason = format!("'{name}' is the name of another endpoint here; choose another");
            self.view.refuse("name", reason);
        }
        if let Some(other) = others.iter().find(is_same) {
            let reason = format!(
                "{} is what {} says already: one is enough, or they differ in `host` or `path`",
                own.port, other.view.path
            );
            self.view.refuse("port", reason);
        }
    }

    /// A port is one thing, whoever shares it.
    fn agrees_with(&self, others: &[Said<'_>]) {
        let own = self.port();
        let number = own.number;
        let same = { others.iter() }.find(|other| other.port().number == number);
        let Some(other) = same else {
            return;
        };
        let path = &other.service;
        if other.port().expose != own.expose {
            self.view.refuse(
                "expose",
                format!("{number} is the port of {path} too, which is exposed otherwise; say the same in both"),
            );
        }
        if other.port().is_https != own.is_https {
            self.view.refuse(
                "protocol",
                format!("{number} is the port of {path} too, and speaks either HTTP or HTTPS; say the same in both"),
            );
        }
    }
}

/// The device's own ports are others, or those of the first endpoints.
fn check_device(deployment: &Deployment, all: &[Said<'_>]) {
    let device = &deployment.device;
    let first = |is_https| { all.iter() }.find(|said| said.port().is_https == is_https);
    for said in all {
        let Port {
            number, is_https, ..
        } = said.port();
        let mut taken = vec![(device.admin_port, "device.admin_port")];
        if !is_https {
            taken.push((device.tls_port, "device.tls.port"));
        }
        if let Some((_, whose)) = taken.iter().find(|(taken, _)| *taken == Some(number)) {
            let reason = format!("{number} is {whose} already; choose another");
            said.view.refuse("port", reason);
        }
    }
    for (is_https, port, whose) in [
        (false, device.port, "device.port"),
        (true, device.tls_port, "device.tls.port"),
    ] {
        let Some(port) = port else { continue };
        match (first(is_https), all.first()) {
            (Some(said), _) if said.port().number != port => said.view.refuse(
                "port",
                format!("{whose} is another: say the same in both, or take {whose} out"),
            ),
            (None, Some(said)) if !is_https => said.view.refuse(
                "protocol",
                "all endpoints speak HTTPS, and device.port is that of HTTP; take it out",
            ),
            _ => {}
        }
    }
    if let (Some(said), true) = (first(true), device.certificates.is_empty()) {
        said.view.note(
            "protocol",
            "wants a certificate: without one in device.tls.certificates, the device does not start unless a flag of \
             its own names one",
        );
    }
}

/// The device's own address is that of the public ones, or of the one port that there is.
fn check_address(deployment: &Deployment, all: &[Said<'_>]) {
    let Some(bind) = deployment.device.bind else {
        return;
    };
    let has_public = { all.iter() }.any(|said| said.endpoint.expose == Expose::Public);
    for said in all {
        let is_public = said.endpoint.expose == Expose::Public;
        // Beside public ones, those within the device keep its own address.
        if is_public == bind.is_loopback() && (is_public || !has_public) {
            said.view.refuse(
                "expose",
                "device.bind says otherwise: `public` is for 0.0.0.0, :: or one of the device's \
                 addresses, and `internal` for 127.0.0.1 or ::1",
            );
        }
    }
}

/// Where requests without TLS are sent to HTTPS, those who reach the device find the same there.
fn check_redirect(deployment: &Deployment, file: &View<'_>) {
    let (Some(true), Ok(ports)) = (deployment.device.redirect_http, deployment.ports()) else {
        return;
    };
    let Some(tls) = file.map("device").and_then(|device| device.map("tls")) else {
        return;
    };
    let has_own = ports.iter().any(|port| port.is_https);
    let plain = ports.iter().filter(|port| !port.is_https);
    for (place, port) in plain.enumerate() {
        // HTTPS stands beside the first port where no endpoint speaks it.
        let is_beside = !has_own && place == 0;
        let is_led = is_beside || deployment.secure_port(port.number).is_some();
        if port.expose == Expose::Public && !is_led {
            tls.refuse(
                "redirect_http",
                format!(
                    "no service at port {} has an endpoint with `protocol: https` to go to; give one to it",
                    port.number
                ),
            );
        }
    }
}
