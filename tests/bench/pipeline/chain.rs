//! The chains that are measured: a handler, and the stages before it.

/// What makes the response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Handler {
    /// `hello`, by wasi:http, with instances that are reused.
    Http,
    /// `full-plugin`, by the contract's own handler interface.
    Typed,
}

impl Handler {
    /// Its table's title.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Handler::Http => "stages before a wasi:http handler (hello, instances reused)",
            Handler::Typed => "stages before a typed handler (full-plugin)",
        }
    }

    /// Its table's name.
    pub(crate) fn table(self) -> &'static str {
        match self {
            Handler::Http => "stages",
            Handler::Typed => "typed",
        }
    }

    /// Its guest.
    pub(crate) fn guest(self) -> &'static str {
        match self {
            Handler::Http => "hello",
            Handler::Typed => "full-plugin",
        }
    }

    /// A path that it serves.
    const fn path(self) -> &'static str {
        match self {
            Handler::Http => "/",
            Handler::Typed => "/api/bench",
        }
    }
}

/// A handler with stages before it.
pub(crate) struct Chain {
    /// Its row's.
    pub(crate) label: &'static str,
    /// The handler.
    pub(crate) handler: Handler,
    /// Guests, each of which is one stage.
    pub(crate) stages: &'static [&'static str],
    /// What the deployment says of single guests.
    pub(crate) settings: &'static [&'static str],
    /// What is asked for.
    pub(crate) path: &'static str,
    /// Every response but the first comes from the cache.
    pub(crate) is_cached: bool,
}

impl Chain {
    const fn new(label: &'static str, handler: Handler, stages: &'static [&'static str]) -> Chain {
        Chain {
            label,
            handler,
            stages,
            settings: &[],
            path: handler.path(),
            is_cached: false,
        }
    }
}

/// All of them; the first of each handler is the handler alone.
pub(crate) const CHAINS: &[Chain] = &[
    Chain::new("0 stages", Handler::Http, &[]),
    Chain::new("1: authenticate", Handler::Http, &[AUTHENTICATE]),
    Chain::new("1: rate-limit", Handler::Http, &[LIMIT]),
    Chain::new("1: middleware", Handler::Http, &[MIDDLEWARE]),
    Chain::new("1: cache, nothing kept", Handler::Http, &[CACHE]),
    Chain {
        path: "/api/bench",
        is_cached: true,
        ..Chain::new("1: cache, all from it", Handler::Http, &[CACHE])
    },
    Chain::new("1: route", Handler::Http, &[ROUTE]),
    Chain {
        settings: &["header-transformer:bodies=none"],
        ..Chain::new("1: transform, heads", Handler::Http, &[TRANSFORM])
    },
    Chain::new(
        "1: transform, heads and bodies",
        Handler::Http,
        &[TRANSFORM],
    ),
    Chain::new("3 stages", Handler::Http, THREE),
    Chain::new("6 stages", Handler::Http, SIX),
    Chain::new("0 stages", Handler::Typed, &[]),
    Chain::new("1: middleware", Handler::Typed, &[MIDDLEWARE]),
    Chain::new("3 stages", Handler::Typed, THREE),
    Chain::new("6 stages", Handler::Typed, SIX),
];

const AUTHENTICATE: &str = "jwt-authenticator";
const LIMIT: &str = "per-client-limiter";
const MIDDLEWARE: &str = "middleware";
/// The same guest under another name: a plugin takes part once.
pub(crate) const SECOND_MIDDLEWARE: &str = "middleware-2";
const CACHE: &str = "smart-cache";
const ROUTE: &str = "router";
const TRANSFORM: &str = "header-transformer";

const THREE: &[&str] = &[AUTHENTICATE, LIMIT, MIDDLEWARE];
const SIX: &[&str] = &[
    AUTHENTICATE,
    LIMIT,
    MIDDLEWARE,
    SECOND_MIDDLEWARE,
    ROUTE,
    TRANSFORM,
];
