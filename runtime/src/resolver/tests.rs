//! The resolver against name servers on loopback addresses.

#![expect(clippy::unwrap_used, reason = "a failed test should panic")]

mod flights;
mod look_ups;
pub(crate) mod server;

use std::net::{IpAddr, SocketAddr};
use std::sync::LazyLock;

use smol::Executor;

use super::{Addresses, ResolveError, Resolver, Settings};
use server::{Asked, Message, Server, TempFile, v4, v6};

/// Driven by a thread of its own, as the daemon's is.
pub(crate) static EXECUTOR: LazyLock<&'static Executor<'static>> = LazyLock::new(|| {
    let executor: &'static Executor<'static> = Box::leak(Box::new(Executor::new()));
    std::thread::spawn(|| smol::block_on(executor.run(std::future::pending::<()>())));
    executor
});

/// A resolver with files of its own.
pub(crate) struct Bench {
    pub(crate) resolver: Resolver,
    pub(crate) hosts: TempFile,
    pub(crate) resolv_conf: TempFile,
}

impl Bench {
    /// One that knows the name server at `address`, and `options` of its configuration.
    pub(crate) fn new(address: SocketAddr, options: &str) -> Bench {
        let conf = format!("nameserver {}\n{options}\n", address.ip());
        Bench::with_conf(&conf, address.port())
    }

    pub(crate) fn with_conf(conf: &str, port: u16) -> Bench {
        let hosts = TempFile::new("192.0.2.77 listed\n");
        let resolv_conf = TempFile::new(conf);
        let settings = Settings {
            hosts: hosts.path.clone(),
            resolv_conf: resolv_conf.path.clone(),
            port,
        };
        Bench {
            resolver: Resolver::with_settings(settings, &EXECUTOR),
            hosts,
            resolv_conf,
        }
    }

    fn resolve(&self, name: &str) -> Result<Addresses, ResolveError> {
        smol::block_on(self.resolver.resolve(name, None))
    }

    /// The addresses of a name that has some.
    fn found(&self, name: &str) -> Vec<String> {
        let found = self.resolve(name).unwrap();
        found.iter().map(IpAddr::to_string).collect()
    }
}

/// A server that knows one address of each family for every name.
fn knowing() -> Server {
    Server::new(|asked, reply| vec![known(asked, reply)])
}

fn known(asked: &Asked, reply: Message) -> Message {
    let data = match asked.is_v6 {
        true => v6("2001:db8::1"),
        false => v4("192.0.2.1"),
    };
    reply.answer(&asked.name, 300, data)
}

const BOTH: [&str; 2] = ["2001:db8::1", "192.0.2.1"];
