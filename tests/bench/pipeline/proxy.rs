//! The router's `forward` beside nginx as a plain proxy, before the same upstream.

use anyhow::{Context, Result, ensure};

use crate::bench::Run;
use crate::client::Client;
use crate::nginx;
use crate::pipeline::daemon::{Plugins, request};
use crate::pipeline::stages::{COLUMNS, Figures};
use crate::process::{Server, on_path};
use crate::table::Table;

/// Who stands between the clients and the upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// Nobody.
    Direct,
    /// nginx, with connections to the upstream kept.
    Nginx,
    /// The daemon, with a router that forwards everything.
    Zlayer,
}

impl Way {
    const ALL: [Way; 3] = [Way::Direct, Way::Nginx, Way::Zlayer];

    /// Its row's label.
    fn name(self) -> &'static str {
        match self {
            Way::Direct => "upstream alone",
            Way::Nginx => "nginx proxy_pass",
            Way::Zlayer => "zlayer forward",
        }
    }
}

/// Measures the ways in turn, in each round. Without nginx there is no upstream, and no figure.
pub(crate) fn measure(run: &mut Run, plugins: &Plugins) -> Result<()> {
    let mut all = Way::ALL.map(Figures::new);
    match on_path("nginx") {
        Some(program) => {
            run.program(nginx::version(&program)?);
            let folder = plugins.workshop.path("nginx-upstream");
            let mut upstream = nginx::server(&program, &folder)?;
            let request = request("/");
            upstream.first_response(&request).context("the upstream")?;
            let wanted = fetch(&upstream, &request)?;
            for number in 1..=run.rounds {
                for figures in &mut all {
                    let way = figures.what;
                    run.round(number, way.name());
                    let mut server = match way {
                        // A new one each time, as of the others.
                        Way::Direct => {
                            nginx::server(&program, &plugins.workshop.path("nginx-direct"))?
                        }
                        Way::Nginx => {
                            let folder = plugins.workshop.path("nginx-proxy");
                            nginx::proxy(&program, &folder, upstream.port())?
                        }
                        Way::Zlayer => forward(plugins, upstream.port())?,
                    };
                    server.first_response(&request).context(way.name())?;
                    ensure!(
                        fetch(&server, &request).context(way.name())? == wanted,
                        "{} does not respond as the upstream does",
                        way.name()
                    );
                    let round = figures.round(server, &request, run.seconds);
                    round.context(way.name())?;
                }
            }
            upstream.stop()?;
        }
        None => run.remark(nginx::MISSING),
    }
    let mut table = Table::new("proxies", "proxies before the same upstream", &COLUMNS);
    for figures in &all {
        table.row(figures.what.name(), figures.cells());
    }
    run.table(table);
    Ok(())
}

/// The body of a server's response.
fn fetch(server: &Server, request: &[u8]) -> Result<Vec<u8>> {
    let mut client = Client::connect(server.port())?;
    Ok(client.send(request)?.body.into_owned())
}

/// A daemon whose router sends every request to `port` of this machine. Few instances do: one never
/// waits, and with the default number idle ones would hold the memory that connections need.
fn forward(plugins: &Plugins, port: u16) -> Result<Server> {
    let rule = format!("stage-router:config.test.route=forward 127.0.0.1 {port} 1000 5000");
    let few = "stage-router:max-instances=8";
    let host = format!("stage-router:allow-hosts=127.0.0.1:{port}");
    plugins.daemon(&["stage-router", "hello"], &[&rule, &host, few])
}
