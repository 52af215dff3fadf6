//! The router's `forward` beside nginx as a plain proxy, before the same upstream.

use anyhow::{Context, Result, ensure};

use crate::load;
use crate::nginx;
use crate::place::{Place, request};
use crate::process::{Server, on_path};
use crate::stages::{Figures, round};

/// Who stands between the clients and the upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// Nobody.
    Direct,
    /// nginx, with connections to the upstream kept.
    Nginx,
    /// The daemon, with a router that forwards everything.
    Zlayer,
}

impl Way {
    const ALL: [Way; 3] = [Way::Direct, Way::Nginx, Way::Zlayer];

    /// In the table and in the JSON.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Way::Direct => "upstream alone",
            Way::Nginx => "nginx proxy_pass",
            Way::Zlayer => "zlayer forward",
        }
    }
}

/// Measures the ways in turn, `rounds` times; or says why that cannot be.
pub(crate) fn measure(
    place: &Place,
    rounds: u32,
    seconds: u64,
) -> Result<Result<Vec<Figures<Way>>, String>> {
    let Some(program) = on_path("nginx") else {
        return Ok(Err(
            "nginx is not on PATH nor in /usr/sbin: no proxies are compared (Debian: nginx-light)"
                .to_owned(),
        ));
    };
    let request = request("/");
    let mut upstream = nginx::upstream(&program, place.folder())?;
    upstream.first_answer(&request).context("the upstream")?;
    let wanted = load::fetch(upstream.port(), &request)?;
    let mut all = Way::ALL.map(Figures::new);
    for number in 1..=rounds {
        for figures in &mut all {
            let way = figures.what;
            eprintln!("proxy, round {number} of {rounds}: {}", way.name());
            let mut server = match way {
                // A new one each time, as of the others.
                Way::Direct => nginx::upstream(&program, &place.path("direct"))?,
                Way::Nginx => nginx::proxy(&program, place.folder(), upstream.port())?,
                Way::Zlayer => forward(place, upstream.port())?,
            };
            let answered = server
                .first_answer(&request)
                .and_then(|_| load::fetch(server.port(), &request));
            if let (Way::Zlayer, Err(error)) = (way, &answered) {
                let error = error.to_string();
                return Ok(Err(format!(
                    "no proxies are compared: this daemon does not forward ({})",
                    error.lines().next().unwrap_or_default()
                )));
            }
            ensure!(
                answered.with_context(|| way.name())? == wanted,
                "{} does not answer as the upstream does",
                way.name()
            );
            figures.add(round(server, &request, seconds).context(way.name())?);
        }
    }
    upstream.stop()?;
    Ok(Ok(all.into()))
}

/// A daemon whose router sends every request to `port` of this machine. Few instances do: one never
/// waits, and with the default number idle ones would hold the memory that connections need.
fn forward(place: &Place, port: u16) -> Result<Server> {
    let rule = format!("stage-router:config.test.route=forward 127.0.0.1 {port} 1000 5000");
    let few = "stage-router:max-instances=8";
    place.daemon(&["stage-router", "hello"], &[&rule, few])
}
