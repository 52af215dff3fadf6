//! The look-up of one name: through the search list, both families side by side.

use std::net::IpAddr;
use std::pin::pin;
use std::time::Duration;

use domain::base::iana::Rcode;
use futures_lite::future::or;

use super::error::{ResolveError, ResolveFailure};
use super::message::{Family, Question, Reply};
use super::servers::{Servers, Unanswered};
use super::{Addresses, FAILED, Found, not_a_name};
use crate::timeout::within;

/// How long addresses of one family wait for those of the other (RFC 8305 section 3).
const RESOLUTION_DELAY: Duration = Duration::from_millis(50);
/// How long the other family is waited for behind that, while the first is used already.
const OTHER_FAMILY: Duration = Duration::from_secs(10);
/// How long AAAA is waited for once it is known that the name has no address of IPv4. Some home
/// routers never answer for AAAA, and the next name of the search list should not wait for that.
/// Servers that do answer mostly need far less, also when they have to ask others first.
///
/// There is no such time the other way round. No server is known to ignore A, most names have IPv4
/// alone, and one lost reply is asked for again only after seconds.
const SILENT_V6: Duration = Duration::from_secs(1);
/// How long the addresses of one family are kept at most, if nobody answered for the other.
pub(super) const INCOMPLETE: Duration = Duration::from_secs(30);
/// How long a name that is not there is known as that, if the reply does not say (RFC 2308 section
/// 5 wants it not kept at all; this long it takes the edge off a loop).
const NOT_FOUND: Duration = Duration::from_secs(1);

/// Looks `name` up, and says how long what it found may be kept. If one family is there and the
/// other keeps everybody waiting, `early` gets the one.
pub(super) async fn look_up(
    servers: &Servers,
    name: &str,
    early: impl Fn(Addresses),
) -> (Found, Duration) {
    let mut asked = Vec::new();
    let mut without_address = false;
    let mut kept = None::<Duration>;
    let mut failed = None;
    for candidate in servers.conf.candidates(name) {
        match both_families(servers, &candidate, &early).await {
            Outcome::Found(addresses, time) => return (Ok(addresses), time),
            Outcome::Nothing { exists, time } => {
                without_address |= exists;
                let time = time.unwrap_or(NOT_FOUND);
                kept = Some(kept.map_or(time, |kept| kept.min(time)));
                asked.push(candidate);
            }
            Outcome::Unanswered(unanswered) => {
                // Whoever is not there for one name is not there for the next.
                let is_over = unanswered.all_dead;
                failed = Some((candidate, unanswered));
                if is_over {
                    break;
                }
            }
            Outcome::NotAName => {}
        }
    }
    if let Some((candidate, unanswered)) = failed {
        return (Err(unanswered_error(&candidate, &unanswered)), FAILED);
    }
    let Some(kept) = kept else {
        return (Err(not_a_name(name)), NOT_FOUND);
    };
    let what = match without_address {
        true => "has no address",
        false => "does not exist",
    };
    let known = servers.conf.servers.iter();
    let known: Vec<_> = known.map(|one| one.address.to_string()).collect();
    let detail = format!(
        "'{name}' {what}: it is not in /etc/hosts, and the name server ({}) has nothing for {}; \
         check how it is spelt, or add it there",
        known.join(", "),
        asked.join(", ")
    );
    let code = match without_address {
        true => Rcode::NOERROR,
        false => Rcode::NXDOMAIN,
    };
    let error = ResolveError::new(ResolveFailure::NotFound, detail);
    (Err(error.with_code(Some(code))), kept)
}

fn unanswered_error(name: &str, unanswered: &Unanswered) -> ResolveError {
    let Unanswered { shown, .. } = unanswered;
    let detail = format!(
        "no name server answered for '{name}' ({shown}); see 'nameserver' in /etc/resolv.conf"
    );
    let reason = match unanswered.all_silent {
        true => ResolveFailure::Timeout,
        false => ResolveFailure::ServersFail,
    };
    ResolveError::new(reason, detail).with_code(unanswered.code)
}

/// What the servers say of one full name.
enum Outcome {
    Found(Addresses, Duration),
    /// There is no such name, or one without addresses.
    Nothing {
        exists: bool,
        time: Option<Duration>,
    },
    Unanswered(Unanswered),
    /// Nobody can be asked for it.
    NotAName,
}

async fn both_families(servers: &Servers, name: &str, early: &impl Fn(Addresses)) -> Outcome {
    let asked = (
        Question::new(name, Family::V6),
        Question::new(name, Family::V4),
    );
    let (Some(v6), Some(v4)) = asked else {
        return Outcome::NotAName;
    };
    // In boxes, since futures that hold others by value hold them twice and more.
    let mut v6 = Box::pin(servers.ask(&v6));
    let mut v4 = Box::pin(servers.ask(&v4));
    let (first, is_v6) = or(async { (v6.as_mut().await, true) }, async {
        (v4.as_mut().await, false)
    })
    .await;
    let mut other = pin!(async {
        match is_v6 {
            true => v4.await,
            false => v6.await,
        }
    });
    let second = match &first {
        Ok(Reply::Addresses(found, _)) => match within(RESOLUTION_DELAY, other.as_mut()).await {
            Some(second) => Some(second),
            None => {
                early(found.as_slice().into());
                within(OTHER_FAMILY, other.as_mut()).await
            }
        },
        // The name is not there, for whatever type (RFC 2308 section 2.1, RFC 8020 section 2).
        Ok(Reply::NoName(_)) if !is_v6 => None,
        // Some servers say so of names that have IPv4 alone (RFC 4074 section 4.2). If they also
        // have an address, it is about to come.
        Ok(Reply::NoName(_)) => within(RESOLUTION_DELAY, other.as_mut()).await,
        Ok(Reply::NoAddress(_)) if !is_v6 => within(SILENT_V6, other.as_mut()).await,
        _ => Some(other.await),
    };
    match is_v6 {
        true => together([Some(first), second]),
        false => together([second, Some(first)]),
    }
}

/// Puts together what was said of both families. None stands for one that was not waited for.
fn together(replies: [Option<Result<Reply, Unanswered>>; 2]) -> Outcome {
    let mut found: Vec<IpAddr> = Vec::new();
    let mut times = Vec::new();
    let mut negative = Vec::new();
    let mut exists = false;
    let mut is_no_name = false;
    let mut is_half = false;
    let mut unanswered = None;
    for reply in replies {
        let Some(reply) = reply else {
            times.push(INCOMPLETE);
            is_half = true;
            continue;
        };
        match reply {
            Ok(Reply::Addresses(addresses, time)) => {
                found.extend(addresses);
                times.push(time);
            }
            Ok(Reply::NoAddress(time)) => {
                exists = true;
                negative.extend(time);
            }
            Ok(Reply::NoName(time)) => {
                is_no_name = true;
                negative.extend(time);
            }
            // `Servers::ask` returns none of these.
            Ok(Reply::Truncated | Reply::Failed(_) | Reply::Malformed) => {}
            Err(error) => {
                times.push(INCOMPLETE);
                unanswered = Some(error);
            }
        }
    }
    // That there is an address after all may come out the next time.
    if is_half && !is_no_name {
        negative.push(FAILED);
    }
    match unanswered {
        _ if !found.is_empty() => {
            Outcome::Found(found.into(), times.into_iter().min().unwrap_or_default())
        }
        Some(unanswered) if !is_no_name => Outcome::Unanswered(unanswered),
        _ => Outcome::Nothing {
            exists,
            time: negative.into_iter().min(),
        },
    }
}
