//! The worlds of the contract: which roles a component plays in each, and what it imports there.
//!
//! A component does not say in which world it was built. Its roles tell what it may need: a
//! transformer has no use for secrets.

use crate::{Capabilities, Capability, Role};

/// What the worlds of most roles import: configuration, the store, the log.
const USUAL: Capabilities = Capabilities::NONE
    .with(Capability::Config)
    .with(Capability::Keyvalue)
    .with(Capability::Logging);

impl Role {
    /// The contract's world whose component plays this role alone.
    pub fn world(self) -> &'static str {
        match self {
            Role::Handler => "zlayer-plugin",
            Role::HttpHandler => "zlayer-http-handler",
            Role::Transformer => "zlayer-transformer",
            Role::Authenticator => "zlayer-authenticator",
            Role::RateLimiter => "zlayer-rate-limiter",
            Role::Middleware => "zlayer-middleware",
            Role::Router => "zlayer-router",
            Role::Cache => "zlayer-cache",
            Role::WebSocket => "zlayer-websocket",
        }
    }

    /// What that world imports of the host. `wit/` says the same; a test of the host tool compares
    /// the two.
    pub fn capabilities(self) -> Capabilities {
        use Capability::{Config, HttpClient, Logging, Metrics, Secrets};
        match self {
            Role::Handler => USUAL.with(Secrets).with(Metrics).with(HttpClient),
            Role::HttpHandler | Role::Router => USUAL.with(HttpClient),
            Role::Transformer => Capabilities::NONE.with(Logging),
            Role::Authenticator => USUAL.with(Secrets).with(HttpClient),
            Role::RateLimiter | Role::Cache => USUAL.with(Metrics),
            Role::Middleware => Capabilities::NONE
                .with(Config)
                .with(Logging)
                .with(HttpClient),
            Role::WebSocket => USUAL.with(Secrets).with(Metrics),
        }
    }

    /// What the worlds of all these roles import together.
    pub fn capabilities_of(roles: &[Role]) -> Capabilities {
        let worlds = roles.iter().map(|role| role.capabilities());
        worlds.fold(Capabilities::NONE, Capabilities::and)
    }

    /// Whether one plugin is meant to play all of these: each of them answers requests, or it is one
    /// alone. The plugin guide writes caches and WebSockets beside the handler that they belong to.
    pub fn belong_together(roles: &[Role]) -> bool {
        let answers = |role: &Role| {
            matches!(
                role,
                Role::Handler | Role::HttpHandler | Role::Cache | Role::WebSocket
            )
        };
        roles.len() == 1 || roles.iter().all(answers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_has_what_its_world_imports() {
        let told = Role::ALL.map(|role| format!("{role}: {}", role.capabilities()));
        assert_eq!(
            told,
            [
                "handler: config, keyvalue, logging, secrets, metrics, http-client",
                "http-handler: config, keyvalue, logging, http-client",
                "transformer: logging",
                "authenticator: config, keyvalue, logging, secrets, http-client",
                "rate-limiter: config, keyvalue, logging, metrics",
                "middleware: config, logging, http-client",
                "router: config, keyvalue, logging, http-client",
                "cache: config, keyvalue, logging, metrics",
                "websocket: config, keyvalue, logging, secrets, metrics",
            ]
        );
        let both = Role::capabilities_of(&[Role::Transformer, Role::Cache]);
        assert_eq!(both.to_string(), "config, keyvalue, logging, metrics");
    }

    #[test]
    fn roles_of_one_service_belong_together_and_stages_stand_alone() {
        for role in Role::ALL {
            assert!(Role::belong_together(&[role]), "{role}");
        }
        let service = [
            Role::Handler,
            Role::HttpHandler,
            Role::Cache,
            Role::WebSocket,
        ];
        assert!(Role::belong_together(&service));
        for stage in [Role::Transformer, Role::Router, Role::Authenticator] {
            assert!(!Role::belong_together(&[Role::Handler, stage]), "{stage}");
        }
        assert!(!Role::belong_together(&[Role::Transformer, Role::Router]));
    }
}
