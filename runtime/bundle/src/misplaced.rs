//! Settings that mean nothing for the roles of the plugin that they are given to.
//!
//! Whoever gives one has mistaken the plugin or the setting, and believes in a protection that is not there.

use crate::Role;

/// Which of the settings that are for some roles alone are given to a plugin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RoleSettings {
    /// Which bodies it is called for.
    pub bodies: bool,
    /// Whether it sees bodies.
    pub request_body: bool,
    /// Request headers that tell clients apart.
    pub personal_headers: bool,
    /// Requests that one instance serves.
    pub reuse: bool,
    /// What becomes of a request when it fails.
    pub on_failure: bool,
    /// The handlers that it takes part for.
    pub services: bool,
    /// The hosts of an endpoint.
    pub hosts: bool,
    /// The path of an endpoint.
    pub path: bool,
}

impl RoleSettings {
    /// Finds one that none of `roles` looks at. Returns the name of its flag, and whose it is.
    pub fn misplaced(self, roles: &[Role]) -> Option<(&'static str, &'static str)> {
        const ANSWERING: [Role; 2] = [Role::Handler, Role::HttpHandler];
        const ASKED_WITH_BODIES: [Role; 3] = [Role::Authenticator, Role::RateLimiter, Role::Router];
        let plays = |some: &[Role]| roles.iter().any(|role| some.contains(role));
        let is_stage = roles.iter().any(|role| !ANSWERING.contains(role));
        let stages = "stages before handlers";
        // Others take part whichever way a request comes.
        let is_reached = plays(&ANSWERING) || plays(&[Role::Router, Role::WebSocket]);
        let reached = "handlers, routers and plugins that decide on WebSockets (a stage has `paths` and `services`)";
        [
            (
                "bodies",
                self.bodies,
                plays(&[Role::Transformer]),
                "transformers",
            ),
            (
                "request-body",
                self.request_body,
                plays(&ASKED_WITH_BODIES),
                "authenticators, rate limiters and routers",
            ),
            (
                "personal-headers",
                self.personal_headers,
                plays(&[Role::Cache]),
                "caches",
            ),
            (
                "reuse",
                self.reuse,
                plays(&[Role::HttpHandler]),
                "HTTP handlers (other plugins keep their instances)",
            ),
            ("on-failure", self.on_failure, is_stage, stages),
            ("services", self.services, is_stage, stages),
            ("endpoints.host", self.hosts, is_reached, reached),
            ("endpoints.path", self.path, is_reached, reached),
        ]
        .into_iter()
        .find(|(_, is_given, is_its, _)| *is_given && !is_its)
        .map(|(setting, _, _, whose)| (setting, whose))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_is_for_those_who_look_at_it() {
        let given = |give: fn(&mut RoleSettings)| {
            let mut settings = RoleSettings::default();
            give(&mut settings);
            settings
        };
        let reached = [
            Role::Router,
            Role::WebSocket,
            Role::Handler,
            Role::HttpHandler,
        ];
        let settings: [(&str, RoleSettings, &[Role]); 8] = [
            (
                "bodies",
                given(|one| one.bodies = true),
                &[Role::Transformer],
            ),
            (
                "request-body",
                given(|one| one.request_body = true),
                &[Role::Authenticator, Role::RateLimiter, Role::Router],
            ),
            (
                "personal-headers",
                given(|one| one.personal_headers = true),
                &[Role::Cache],
            ),
            ("reuse", given(|one| one.reuse = true), &[Role::HttpHandler]),
            (
                "on-failure",
                given(|one| one.on_failure = true),
                &Role::ALL[2..],
            ),
            (
                "services",
                given(|one| one.services = true),
                &Role::ALL[2..],
            ),
            ("endpoints.host", given(|one| one.hosts = true), &reached),
            ("endpoints.path", given(|one| one.path = true), &reached),
        ];
        let told = |given: RoleSettings, roles: &[Role]| {
            given.misplaced(roles).map(|(setting, _)| setting)
        };
        for (setting, given, its) in settings {
            for role in Role::ALL {
                let wanted = (!its.contains(&role)).then_some(setting);
                assert_eq!(told(given, &[role]), wanted, "{setting} of {role}");
            }
            // One role of several is enough.
            let [one, ..] = its else { continue };
            assert_eq!(told(given, &[Role::Handler, *one]), None);
        }
        assert_eq!(told(RoleSettings::default(), &[Role::Handler]), None);
    }
}
