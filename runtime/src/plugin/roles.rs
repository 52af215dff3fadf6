//! Which roles a plugin can play, read from the interfaces that its component exports.

use wasmtime::Store;
use wasmtime::component::{Instance, InstancePre};
use wasmtime_wasi_http::p2::bindings::{Proxy, ProxyIndices};
use zlayer_bundle::Role;

use crate::host::{
    HostState, authenticator, caching, handler, middleware, rate_limiter, router, transformer,
    websocket,
};

/// Where a component's exports are, looked up once. An interface that the component lacks, or
/// exports with other types than the contract's, is not one of its roles.
pub(super) struct Roles {
    pub(super) handler: Option<handler::GuestIndices>,
    pub(super) http: Option<ProxyIndices>,
    pub(super) transformer: Option<transformer::GuestIndices>,
    pub(super) authenticator: Option<authenticator::GuestIndices>,
    pub(super) rate_limiter: Option<rate_limiter::GuestIndices>,
    pub(super) router: Option<router::GuestIndices>,
    pub(super) middleware: Option<middleware::GuestIndices>,
    pub(super) websocket: Option<websocket::GuestIndices>,
    pub(super) caching: Option<caching::GuestIndices>,
}

/// The functions of one instance, by role.
pub struct Guests {
    /// `zlayer:plugin/handler`; its `init` has succeeded.
    pub handler: Option<handler::Guest>,
    /// `wasi:http/incoming-handler`.
    pub http: Option<Proxy>,
    /// `zlayer:plugin/transformer`.
    pub transformer: Option<transformer::Guest>,
    /// `zlayer:plugin/authenticator`.
    pub authenticator: Option<authenticator::Guest>,
    /// `zlayer:plugin/rate-limiter`.
    pub rate_limiter: Option<rate_limiter::Guest>,
    /// `zlayer:plugin/router`.
    pub router: Option<router::Guest>,
    /// `zlayer:plugin/middleware`.
    pub middleware: Option<middleware::Guest>,
    /// `zlayer:plugin/websocket`.
    pub websocket: Option<websocket::Guest>,
    /// `zlayer:plugin/caching`.
    pub caching: Option<caching::Guest>,
}

impl Roles {
    pub(super) fn of(linked: &InstancePre<HostState>) -> Roles {
        Roles {
            handler: handler::GuestIndices::new(linked).ok(),
            http: ProxyIndices::new(linked).ok(),
            transformer: transformer::GuestIndices::new(linked).ok(),
            authenticator: authenticator::GuestIndices::new(linked).ok(),
            rate_limiter: rate_limiter::GuestIndices::new(linked).ok(),
            router: router::GuestIndices::new(linked).ok(),
            middleware: middleware::GuestIndices::new(linked).ok(),
            websocket: websocket::GuestIndices::new(linked).ok(),
            caching: caching::GuestIndices::new(linked).ok(),
        }
    }

    /// Forgets all roles but those that are granted: nobody calls them.
    pub(super) fn keep(&mut self, granted: &[Role]) {
        // This is written out because each line has another generated type.
        for role in Role::ALL.iter().filter(|role| !granted.contains(role)) {
            match role {
                Role::Handler => self.handler = None,
                Role::HttpHandler => self.http = None,
                Role::Transformer => self.transformer = None,
                Role::Authenticator => self.authenticator = None,
                Role::RateLimiter => self.rate_limiter = None,
                Role::Middleware => self.middleware = None,
                Role::Router => self.router = None,
                Role::Cache => self.caching = None,
                Role::WebSocket => self.websocket = None,
            }
        }
    }

    /// Whether the plugin has `role`.
    pub(super) fn has(&self, role: Role) -> bool {
        match role {
            Role::Handler => self.handler.is_some(),
            Role::HttpHandler => self.http.is_some(),
            Role::Transformer => self.transformer.is_some(),
            Role::Authenticator => self.authenticator.is_some(),
            Role::RateLimiter => self.rate_limiter.is_some(),
            Role::Middleware => self.middleware.is_some(),
            Role::Router => self.router.is_some(),
            Role::Cache => self.caching.is_some(),
            Role::WebSocket => self.websocket.is_some(),
        }
    }

    /// Whether the plugin has one of the contract's own roles. Its instances may hold state, so
    /// they are kept.
    pub(super) fn is_stateful(&self) -> bool {
        let own = |role: &Role| *role != Role::HttpHandler && self.has(*role);
        Role::ALL.iter().any(own)
    }

    /// Whether the plugin has any role.
    pub(super) fn any(&self) -> bool {
        Role::ALL.iter().any(|role| self.has(*role))
    }

    /// Whether the plugin is called again when the response is on its way back.
    pub(super) fn sees_responses(&self) -> bool {
        let roles = [Role::Transformer, Role::Middleware, Role::Cache];
        roles.iter().any(|role| self.has(*role))
    }

    pub(super) fn load(
        &self,
        store: &mut Store<HostState>,
        instance: &Instance,
    ) -> wasmtime::Result<Guests> {
        // This is written out because each line has another generated type.
        let mut guests = Guests {
            handler: None,
            http: None,
            transformer: None,
            authenticator: None,
            rate_limiter: None,
            router: None,
            middleware: None,
            websocket: None,
            caching: None,
        };
        if let Some(role) = &self.handler {
            guests.handler = Some(role.load(&mut *store, instance)?);
        }
        if let Some(role) = &self.http {
            guests.http = Some(role.load(&mut *store, instance)?);
        }
        if let Some(role) = &self.transformer {
            guests.transformer = Some(role.load(&mut *store, instance)?);
        }
        if let Some(role) = &self.authenticator {
            guests.authenticator = Some(role.load(&mut *store, instance)?);
        }
        if let Some(role) = &self.rate_limiter {
            guests.rate_limiter = Some(role.load(&mut *store, instance)?);
        }
        if let Some(role) = &self.router {
            guests.router = Some(role.load(&mut *store, instance)?);
        }
        if let Some(role) = &self.middleware {
            guests.middleware = Some(role.load(&mut *store, instance)?);
        }
        if let Some(role) = &self.websocket {
            guests.websocket = Some(role.load(&mut *store, instance)?);
        }
        if let Some(role) = &self.caching {
            guests.caching = Some(role.load(&mut *store, instance)?);
        }
        Ok(guests)
    }
}
