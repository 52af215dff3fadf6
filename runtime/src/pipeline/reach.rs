//! Which services a request reaches: those of whose endpoints one leads to them from the port that it came to, for the
//! host that it asks for, and on its path.
//!
//! That is decided once, before any stage sees the request: what middlewares make of `Host` changes nothing. It is for
//! those that answer, which are handlers, plugins that decide on WebSockets, and routers. Other stages take part
//! whichever way a request came.

use std::sync::Arc;

use http::header::{HOST, HeaderValue};
use zlayer_bundle::{ENDPOINTS_MAX, Expose, HostPattern, PathPattern};

use super::narrowing::normalised;
use crate::config::{PLUGINS_MAX, Placement};
use crate::message::Client;

// Each way is a bit. A plugin has one for each of its endpoints, or one if it has none.
const _: () = assert!(ENDPOINTS_MAX + PLUGINS_MAX <= u128::BITS as usize);

/// All ways that lead to plugins.
pub(super) struct Reach {
    /// In the order in which the plugins are asked to which they lead: those first that say more of a host, then
    /// those with the longer path, and in the declared order otherwise.
    ways: Vec<Way>,
    /// Whether they name one port at most: then they lead from whichever is open.
    is_one_port: bool,
    /// Whether all requests come all of these ways.
    is_open: bool,
}

/// A way to a plugin.
struct Way {
    /// Where the plugin stands in the declared order.
    plugin: usize,
    /// The port that the endpoint names; `None` is any.
    port: Option<u16>,
    /// It leads from ports alone that nobody but this device reaches.
    is_internal: bool,
    host: Option<HostPattern>,
    path: Option<PathPattern>,
}

/// The ways that a request comes, as bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reached(u128);

impl Default for Reached {
    /// All of them.
    fn default() -> Reached {
        Reached(u128::MAX)
    }
}

impl Reached {
    /// What keeps apart what is stored for requests that reach other services. `None`: all reach the same.
    pub(super) fn mark(self) -> Option<u128> {
        (self != Reached::default()).then_some(self.0)
    }

    /// Whether one of these ways is among them.
    pub(super) fn has(self, ways: Reached) -> bool {
        self.0 & ways.0 != 0
    }
}

/// Stages of one step, each with the bit of a way to it, in the order in which they are asked.
pub(super) type Order = Vec<(Reached, usize)>;

/// The stages among those in `order` that are reached, each once.
pub(super) fn reached(order: &Order, reached: Reached) -> impl Iterator<Item = usize> {
    order
        .iter()
        .enumerate()
        .filter_map(move |(place, (way, stage))| {
            let mut before = order[..place].iter();
            let is_asked = before.any(|(way, other)| other == stage && reached.has(*way));
            (reached.has(*way) && !is_asked).then_some(*stage)
        })
}

impl Reach {
    /// The ways to these plugins, which stand in the declared order.
    pub(super) fn new<'p>(placements: impl Iterator<Item = &'p Arc<Placement>>) -> Reach {
        let mut ways = Vec::new();
        for (plugin, placement) in placements.enumerate() {
            let way = Way {
                plugin,
                port: None,
                is_internal: false,
                host: None,
                path: None,
            };
            if placement.endpoints.is_empty() {
                ways.push(way);
                continue;
            }
            for endpoint in &placement.endpoints {
                let way = |host| Way {
                    port: Some(endpoint.port),
                    is_internal: endpoint.expose == Expose::Internal,
                    host,
                    path: endpoint.path.clone(),
                    ..way
                };
                match endpoint.hosts.is_empty() {
                    true => ways.push(way(None)),
                    false => ways.extend(endpoint.hosts.iter().cloned().map(Some).map(way)),
                }
            }
        }
        // What a bundle says is checked where it is read, and flags say nothing of endpoints.
        ways.truncate(u128::BITS as usize);
        let mut ports: Vec<u16> = ways.iter().filter_map(|way| way.port).collect();
        ports.dedup();
        let is_one_port = ports.len() <= 1;
        // A service without endpoints is reached by the ports of the others, and so by whom these are reached.
        let mut named = ways.iter().filter(|way| way.port.is_some());
        let is_internal = !ports.is_empty() && named.all(|way| way.is_internal);
        for way in ways.iter_mut().filter(|way| way.port.is_none()) {
            way.is_internal = is_internal;
        }
        let is_open = is_one_port && ways.iter().all(Way::is_open);
        // The sort is stable.
        ways.sort_by_key(|way| std::cmp::Reverse(way.rank()));
        Reach {
            ways,
            is_one_port,
            is_open,
        }
    }

    /// The ways that a request comes.
    pub(super) fn of(&self, head: &http::request::Parts, client: &Client) -> Reached {
        if self.is_open {
            return Reached::default();
        }
        let path = normalised(head.uri.path());
        // Behind a trusted proxy it is the proxy's client who asks for a host.
        let host = client.forwarded_host.as_ref();
        let host = host.or_else(|| head.headers.get(HOST));
        let host = host.map_or("", |host| HeaderValue::to_str(host).unwrap_or_default());
        self.those(|way| {
            self.leads_from(way, client.port, client.is_internal) && way.leads(host, &path)
        })
    }

    /// The ways to a plugin.
    pub(super) fn to(&self, plugin: usize) -> Reached {
        self.those(|way| way.plugin == plugin)
    }

    fn leads_from(&self, way: &Way, port: u16, is_internal: bool) -> bool {
        (is_internal || !way.is_internal)
            && (self.is_one_port || way.port.is_none_or(|own| own == port))
    }

    fn those(&self, is_one: impl Fn(&Way) -> bool) -> Reached {
        let ways = self.ways.iter().enumerate();
        let ways = ways.filter(|(_, way)| is_one(way));
        Reached(ways.fold(0, |bits, (place, _)| bits | 1 << place))
    }

    /// The stages of a step in the order of the ways to them. `stage_of` tells which is that of a plugin, if one is.
    pub(super) fn order(&self, stage_of: impl Fn(usize) -> Option<usize>) -> Order {
        let ways = self.ways.iter().enumerate();
        let order =
            ways.filter_map(|(place, way)| Some((Reached(1 << place), stage_of(way.plugin)?)));
        order.collect()
    }
}

impl Way {
    /// Whether all come it who come to its port.
    fn is_open(&self) -> bool {
        !self.is_internal && self.host.is_none() && self.path.is_none()
    }

    fn leads(&self, host: &str, path: &str) -> bool {
        self.host.as_ref().is_none_or(|own| own.covers(host))
            && self.path.as_ref().is_none_or(|own| own.covers(path))
    }

    /// How much it says, of the host first.
    fn rank(&self) -> (usize, usize) {
        // `/*` says no more than nothing.
        let path = self.path.as_ref().map_or(1, PathPattern::rank);
        (self.host.as_ref().map_or(0, HostPattern::rank), path)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use std::net::SocketAddr;

    use zlayer_bundle::Endpoint;

    use super::*;

    /// Endpoints as `PORT HOSTS PATH`: hosts with commas, or `-`; and a path, or `-`. Those are internal whose port
    /// has an `i` behind it.
    fn reach(plugins: &[&[&str]]) -> Reach {
        let endpoint = |said: &&str| {
            let words: Vec<&str> = said.split(' ').collect();
            let hosts = words[1].split(',').filter(|host| *host != "-");
            Endpoint {
                port: words[0].trim_end_matches('i').parse().unwrap(),
                expose: match words[0].ends_with('i') {
                    true => Expose::Internal,
                    false => Expose::Public,
                },
                hosts: hosts.map(|host| host.parse().unwrap()).collect(),
                path: (words[2] != "-").then(|| PathPattern::folder(words[2]).unwrap()),
                ..Endpoint::default()
            }
        };
        let placements: Vec<_> = { plugins.iter() }
            .map(|endpoints| {
                Arc::new(Placement {
                    endpoints: endpoints.iter().map(endpoint).collect(),
                    ..Placement::default()
                })
            })
            .collect();
        Reach::new(placements.iter())
    }

    type Asked = (http::request::Parts, Client);

    fn request(port: u16, host: &str, path: &str) -> Asked {
        let head = http::Request::builder().uri(path).header("host", host);
        let (head, ()) = head.body(()).unwrap().into_parts();
        let client = Client {
            port,
            ..SocketAddr::from(([192, 0, 2, 7], 4000)).into()
        };
        (head, client)
    }

    fn of(reach: &Reach, (head, client): &Asked) -> Reached {
        reach.of(head, client)
    }

    /// The plugins that a request reaches, in the order in which they are asked.
    fn plugins(reach: &Reach, asked: &Asked) -> Vec<usize> {
        reached(&reach.order(Some), of(reach, asked)).collect()
    }

    #[test]
    fn a_plugin_is_reached_by_its_own_endpoints() {
        let reach = reach(&[
            &["80 - -"],
            &["81 a.example,b.example -", "80 - /admin"],
            &[],
        ]);
        for (port, host, path, expected) in [
            (80, "x", "/", &[0, 2][..]),
            (80, "x", "/adm%69n/users", &[1, 0, 2]),
            (80, "x", "/x/../admin", &[1, 0, 2]),
            (80, "x", "/administrator", &[0, 2]),
            (81, "A.example:81", "/", &[1, 2]),
            (81, "b.example.", "/admin", &[1, 2]),
            (81, "c.example", "/", &[2]),
            (82, "a.example", "/", &[2]),
        ] {
            let found = plugins(&reach, &request(port, host, path));
            assert_eq!(found, expected, "{port} {host} {path}");
        }
    }

    #[test]
    fn whoever_says_more_is_asked_first_and_the_declared_order_decides_otherwise() {
        let reach = reach(&[
            &["80 - -"],
            &["80 *.example -"],
            &["80 - /a"],
            &["80 shop.example -", "80 - -"],
            &["80 - /a/b"],
            &["80 - /"],
        ]);
        let asked = |host, path| plugins(&reach, &request(80, host, path));
        assert_eq!(asked("x", "/"), [0, 3, 5]);
        assert_eq!(asked("x", "/a/b/c"), [4, 2, 0, 3, 5]);
        assert_eq!(asked("shop.example", "/a"), [3, 1, 2, 0, 5]);
        assert_eq!(asked("x.example", "/"), [1, 0, 3, 5]);
    }

    #[test]
    fn nothing_is_compared_where_every_request_reaches_all() {
        for plugins in [&[&[][..], &[]][..], &[&["80 - -"], &["80 - -"], &[]]] {
            let reach = reach(plugins);
            let reached = of(&reach, &request(0, "x", "/"));
            assert_eq!((reached, reached.mark()), (Reached::default(), None));
        }
        for plugins in [
            &[&["80 - -"][..], &["81 - -"]][..],
            &[&["80 a -"], &["80 - -"]],
            &[&["80 - /a"]],
        ] {
            let reached = of(&reach(plugins), &request(80, "x", "/"));
            assert!(reached.mark().is_some());
        }
    }

    #[test]
    fn what_is_internal_is_never_reached_by_a_port_that_others_reach() {
        for (plugins, port, public, internal) in [
            // Not even where one port alone is named, and at that port.
            (&[&["80i - -"][..]][..], 80, &[][..], &[0][..]),
            (&[&["80i - -"]], 8080, &[], &[0]),
            (&[&["80i h /a"]], 80, &[], &[0]),
            (&[&["80i - -"], &[]], 80, &[], &[0, 1]),
            (&[&["80i - -"], &["81 - -"], &[]], 80, &[2], &[0, 2]),
            (&[&["80i - -"], &["81 - -"], &[]], 81, &[1, 2], &[1, 2]),
            (&[&["80 - -"]], 8080, &[0], &[0]),
            (&[&["80 h -"]], 8080, &[0], &[0]),
            (&[&[]], 0, &[0], &[0]),
        ] {
            let reach = reach(plugins);
            let mut asked = request(port, "h", "/a");
            assert_eq!(self::plugins(&reach, &asked), public, "{plugins:?} {port}");
            asked.1.is_internal = true;
            let found = self::plugins(&reach, &asked);
            assert_eq!(found, internal, "{plugins:?} {port}");
        }
    }

    #[test]
    fn the_host_of_a_trusted_proxys_client_counts() {
        let reach = reach(&[&["80 shop.example -"], &["80 - -"]]);
        let mut asked = request(80, "10.0.0.1", "/");
        asked.1.forwarded_host = Some(HeaderValue::from_static("shop.example"));
        assert_eq!(plugins(&reach, &asked), [0, 1]);
    }

    #[test]
    fn as_many_as_there_may_be_have_a_bit_each() {
        let one = ["80 - -"];
        let many: Vec<&str> = (0..ENDPOINTS_MAX).map(|_| "81 - -").collect();
        let mut plugins: Vec<&[&str]> = vec![&[]; PLUGINS_MAX - 1];
        plugins[0] = &one;
        plugins.push(&many);
        let reach = reach(&plugins);
        let last = PLUGINS_MAX - 1;
        let found = self::plugins(&reach, &request(81, "x", "/"));
        assert_eq!((found.len(), found.last()), (last, Some(&last)));
        assert!(reach.to(last).has(of(&reach, &request(81, "x", "/"))));
        assert!(!reach.to(last).has(of(&reach, &request(80, "x", "/"))));
    }
}
