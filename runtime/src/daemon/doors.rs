//! Where clients come in: which ports are listened at.

mod telling;

use std::io::ErrorKind;
use std::sync::Arc;

use crate::config::Door as Wanted;
use crate::error::{Error, Result};
use crate::server::{Door, Opened};

pub(super) use telling::{tell, tell_change};

/// The doors that are to be open next, of which those are listened at already that were not open: clients wait in the
/// kernel's backlog. Where it comes to nothing, it is dropped, and what it has begun is undone.
///
/// A port that is open at another address has to be closed for the new one, which whoever uses it notices. That is done
/// last, by [`whole`](Plan::whole) or [`in_part`](Plan::in_part): what is refused touches nothing that is open.
#[derive(Default)]
pub(super) struct Plan {
    wanted: Vec<Wanted>,
    /// The same, with the ports that the system chose.
    settled: Vec<Wanted>,
    /// The doors of these that are open.
    doors: Vec<Option<Arc<Door>>>,
    /// The places among them whose doors are to take a port from one of the others.
    exchanged: Vec<usize>,
    next: Vec<Opened>,
    /// Which others are wanted, and why they are not among them.
    failed: Vec<(Wanted, Error)>,
    /// What is open and not among them.
    others: Vec<Opened>,
    /// Doors that were opened for this.
    opened: Vec<Arc<Door>>,
    /// Those that were open before: they may be bound still.
    kept: Vec<Opened>,
    /// Doors that were closed for this: their ports are opened at other addresses.
    closed: Vec<Arc<Door>>,
}

/// Plans how the doors that are `open` become those that are `wanted`. What both have stays the same socket.
/// `closed` were open before, and can be opened again whatever rights this process has by now. Without a certificate
/// there is no HTTPS.
pub(super) fn plan(open: &[Opened], closed: &[Opened], wanted: &[Wanted], has_https: bool) -> Plan {
    let mut plan = Plan::default();
    plan.others.extend_from_slice(open);
    plan.kept.extend_from_slice(closed);
    let is_spoken = |door: &Wanted| has_https || !door.is_https;
    let settled = settled(open, wanted);
    // First those that stay, so that what is left may be closed for others.
    let mut doors: Vec<Option<Arc<Door>>> = { settled.iter() }
        .map(|door| {
            let mut others = plan.others.iter();
            let place = others.position(|one| one.door.address() == Some(door.address))?;
            is_spoken(door).then(|| plan.others.remove(place).door)
        })
        .collect();
    for (place, (door, found)) in settled.iter().zip(&mut doors).enumerate() {
        if found.is_some() {
            continue;
        }
        let opened = match is_spoken(door) {
            true => open_one(door, closed),
            false => Err(Error::Refused(format!(
                "HTTPS is not spoken on {}: no certificate was read when this daemon was started",
                door.address
            ))),
        };
        match opened {
            Ok(opened) => {
                plan.opened.push(Arc::clone(&opened));
                *found = Some(opened);
            }
            // Without the right to it the other could not be opened again either: that is another error.
            Err(error) if is_taken(&error) && plan.place_of(door.address.port()).is_some() => {
                plan.exchanged.push(place);
            }
            Err(error) => plan.failed.push((door.clone(), error)),
        }
    }
    plan.wanted = wanted.to_vec();
    plan.settled = settled;
    plan.doors = doors;
    plan
}

/// Opens the doors of a daemon that starts.
///
/// # Errors
///
/// One cannot be opened, with what would mend that: a flag may choose the first port of each kind, and an endpoint has
/// the others.
pub(super) fn at_start(wanted: &[Wanted], has_https: bool) -> Result<Plan> {
    let plan = plan(&[], &[], wanted, has_https);
    let hint = plan.failed.first().map_or(String::new(), |(failed, _)| {
        let mut alike = wanted
            .iter()
            .filter(|door| door.is_https == failed.is_https);
        match alike.next() == Some(failed) {
            true => format!("choose another {}", failed.flag()),
            false => "give its endpoint another port".to_owned(),
        }
    });
    plan.whole().map_err(|error| match error {
        Error::Device { what, source } if source.kind() == ErrorKind::AddrInUse => {
            Error::device(format!("{what}, {hint}"), source)
        }
        other => other,
    })
}

/// What is wanted, where a port that the system chose is known already: it stays what it is.
fn settled(open: &[Opened], wanted: &[Wanted]) -> Vec<Wanted> {
    let mut chosen: Vec<&Opened> = { open.iter() }
        .filter(|one| one.wanted.address.port() == 0)
        .collect();
    let settled = wanted.iter().map(|door| {
        let mut door = door.clone();
        let mut known = chosen.iter();
        if door.address.port() == 0
            && let Some(place) = known.position(|one| one.wanted.is_https == door.is_https)
            && let Some(address) = chosen.remove(place).door.address()
        {
            door.address.set_port(address.port());
        }
        door
    });
    settled.collect()
}

impl Plan {
    /// That nothing changes.
    pub(super) fn of(next: Vec<Opened>) -> Plan {
        let mut plan = Plan::default();
        plan.next = next;
        plan
    }

    /// The plan, if all that is wanted is open with it.
    ///
    /// # Errors
    ///
    /// Something cannot be opened; nothing has changed.
    pub(super) fn whole(mut self) -> Result<Plan> {
        self.exchange_where(Vec::is_empty);
        match self.failed.is_empty() {
            true => Ok(self.made()),
            false => Err(self.failed.swap_remove(0).1),
        }
    }

    /// The plan of a start that serves nothing, as far as it can be followed. Nobody may wait for connections yet.
    pub(super) fn at_the_start(mut self) -> Plan {
        for (_, error) in self.failed.drain(..) {
            log::error!(
                "{error}; nobody is reached there until something else is installed, or started"
            );
        }
        self.made()
    }

    /// The plan, as far as it can be followed. Where something cannot be opened, what was open stays so beside it, for
    /// whoever is reached there.
    pub(super) fn in_part(mut self) -> Plan {
        self.exchange_where(|_| true);
        self = self.made();
        self.next.retain(|one| {
            let ready = one.door.make_ready();
            let ready = ready.map_err(|error| self.failed.push((one.wanted.clone(), error)));
            ready.is_ok()
        });
        if self.failed.is_empty() {
            return self;
        }
        for (_, error) in self.failed.drain(..) {
            log::error!("{error}; that holds from the next start on");
        }
        let others = std::mem::take(&mut self.others);
        self.next.extend(others);
        self.next.sort_by_key(|one| one.wanted.is_https);
        let doors: Vec<_> = { self.next.iter() }
            .map(|one| Arc::clone(&one.door))
            .collect();
        for one in &mut self.next {
            let is_open = |to: &Arc<Door>| doors.iter().any(|door| Arc::ptr_eq(door, to));
            one.redirect = one.redirect.take().filter(is_open);
        }
        self
    }

    /// Has the doors be ready, for those who wait for connections.
    ///
    /// # Errors
    ///
    /// One cannot be waited for.
    pub(super) fn make_ready(&self) -> Result<()> {
        self.next.iter().try_for_each(|one| one.door.make_ready())
    }

    /// The doors that it makes, whatever becomes of them.
    pub(super) fn follow(mut self) -> Vec<Opened> {
        self.opened.clear();
        self.closed.clear();
        std::mem::take(&mut self.next)
    }

    /// Opens the doors that take a port from others, as long as what has failed by then allows it.
    fn exchange_where(&mut self, may: fn(&Vec<(Wanted, Error)>) -> bool) {
        for place in std::mem::take(&mut self.exchanged) {
            if !may(&self.failed) {
                return;
            }
            let wanted = self.settled[place].clone();
            match self.open_instead(&wanted) {
                Ok(opened) => self.doors[place] = Some(opened),
                Err(error) => self.failed.push((wanted, error)),
            }
        }
    }

    /// With the doors that are open by now.
    fn made(mut self) -> Plan {
        let wanted = std::mem::take(&mut self.wanted);
        let next = wanted.into_iter().zip(&self.doors);
        let next = next.filter_map(|(wanted, door)| {
            Some(Opened {
                door: Arc::clone(door.as_ref()?),
                redirect: (wanted.redirect).and_then(|to| self.doors.get(to)?.clone()),
                wanted,
            })
        });
        self.next = next.collect();
        self
    }

    fn place_of(&self, port: u16) -> Option<usize> {
        let is_its = |other: &Opened| other.door.address().is_some_and(|own| own.port() == port);
        self.others.iter().position(is_its)
    }

    /// Opens a door, and closes one of the others for it that has its port at another address.
    fn open_instead(&mut self, wanted: &Wanted) -> Result<Arc<Door>> {
        let Some(place) = self.place_of(wanted.address.port()) else {
            // Another of these doors has taken it already.
            let opened = open_one(wanted, &[])?;
            self.opened.push(Arc::clone(&opened));
            return Ok(opened);
        };
        self.others[place].door.close();
        match open_one(wanted, &self.kept) {
            Ok(opened) => {
                self.closed.push(self.others.remove(place).door);
                self.opened.push(Arc::clone(&opened));
                Ok(opened)
            }
            Err(error) => {
                reopen(&self.others[place].door);
                Err(error)
            }
        }
    }
}

impl Drop for Plan {
    fn drop(&mut self) {
        // Before the others: they may have the same port.
        for door in self.opened.drain(..) {
            door.close();
        }
        for door in self.closed.drain(..) {
            reopen(&door);
        }
    }
}

fn open_one(wanted: &Wanted, closed: &[Opened]) -> Result<Arc<Door>> {
    // A port that the system chose would be another one.
    let mut closed = closed.iter().filter(|one| one.wanted.address.port() != 0);
    match closed.find(|one| one.wanted.address == wanted.address) {
        Some(one) => one.door.reopen().map(|()| Arc::clone(&one.door)),
        None => Door::bind(wanted).map(Arc::new),
    }
}

fn reopen(door: &Door) {
    if let Err(error) = door.reopen() {
        log::error!("{error}; that holds until the next start");
    }
}

fn is_taken(error: &Error) -> bool {
    matches!(error, Error::Device { source, .. } if source.kind() == ErrorKind::AddrInUse)
}

/// Why what is wanted while the daemon serves is refused, with what would mend it.
pub(super) fn refused(error: Error) -> Error {
    let mends = match &error {
        Error::Device { source, .. } => match source.kind() {
            ErrorKind::AddrInUse => "end that one, or give the endpoint another port",
            ErrorKind::PermissionDenied => {
                "give the endpoint another port, or stop the daemon to install it or roll back, and start it again: such \
                 a port is opened at a start, before the right to it is given up"
            }
            _ => return error,
        },
        _ => {
            "stop the daemon to install it or roll back, and start it again: certificates are read at a start, from --tls-cert and \
             --tls-key, --tls-credential or device.tls.certificates"
        }
    };
    Error::Refused(format!("{error}; {mends}"))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use std::net::{SocketAddr, TcpListener, TcpStream};

    use super::*;

    fn door(address: SocketAddr) -> Wanted {
        Wanted {
            address,
            is_https: false,
            named: address.port(),
            redirect: None,
        }
    }

    fn secure(address: SocketAddr) -> Wanted {
        Wanted {
            is_https: true,
            ..door(address)
        }
    }

    fn local(port: u16) -> SocketAddr {
        ([127, 0, 0, 1], port).into()
    }

    /// Ports that nobody listens at.
    fn free<const N: usize>() -> [u16; N] {
        let bound = [(); N].map(|()| TcpListener::bind(local(0)).unwrap());
        bound.map(|listener| listener.local_addr().unwrap().port())
    }

    fn opened(wanted: &[Wanted]) -> Vec<Opened> {
        plan(&[], &[], wanted, true).whole().unwrap().follow()
    }

    fn addresses(opened: &[Opened]) -> Vec<SocketAddr> {
        let doors = opened.iter();
        doors.map(|one| one.door.address().unwrap()).collect()
    }

    fn is_listened_at(port: u16) -> bool {
        TcpStream::connect(local(port)).is_ok()
    }

    #[test]
    fn what_both_have_stays_the_same_socket_and_what_is_new_is_listened_at() {
        let [kept, old, new] = free();
        let open = opened(&[door(local(old)), door(local(kept))]);
        let wanted = [
            door(local(new)),
            Wanted {
                named: 1,
                ..secure(local(kept))
            },
        ];
        let next = plan(&open, &[], &wanted, true).whole().unwrap().follow();
        assert_eq!(addresses(&next), [local(new), local(kept)]);
        assert!(Arc::ptr_eq(&next[1].door, &open[1].door));
        assert_eq!(next[1].wanted, wanted[1]);
        assert!(is_listened_at(new));
    }

    #[test]
    fn a_port_that_the_system_chose_stays_what_it_was() {
        let open = opened(&[door(local(0)), secure(local(0))]);
        let [http, https] = [0, 1].map(|place| addresses(&open)[place].port());
        let next = plan(&open, &[], &[secure(local(0))], true).whole();
        let next = next.unwrap().follow();
        assert_eq!(addresses(&next), [local(https)]);
        // At another address, too.
        let public = SocketAddr::from(([0, 0, 0, 0], 0));
        let next = plan(&open, &[], &[door(public)], true).whole();
        let next = next.unwrap().follow();
        assert_eq!(addresses(&next)[0].port(), http);
    }

    #[test]
    fn a_port_that_was_public_is_opened_for_this_device_alone_and_back_if_it_comes_to_nothing() {
        let [port] = free();
        let public = SocketAddr::from(([0, 0, 0, 0], port));
        let elsewhere = || TcpStream::connect(SocketAddr::from(([127, 0, 0, 2], port)));
        let open = opened(&[door(public)]);
        let plan = plan(&open, &[], &[door(local(port))], false).whole();
        assert!(is_listened_at(port) && elsewhere().is_err());
        drop(plan);
        assert!(elsewhere().is_ok());
    }

    #[test]
    fn what_cannot_be_opened_is_refused_and_leaves_everything_as_it_was() {
        let taken = TcpListener::bind(local(0)).unwrap();
        let [old, new] = free();
        let open = opened(&[door(local(old))]);
        let wanted = [door(local(new)), door(taken.local_addr().unwrap())];
        let Err(error) = plan(&open, &[], &wanted, false).whole() else {
            panic!("it is taken");
        };
        let told = refused(error).to_string();
        assert!(told.contains("cannot listen on 127.0.0.1:"), "{told}");
        assert!(told.contains("give the endpoint another port"), "{told}");
        assert!(!told.contains("--port"), "no flag counts any more: {told}");
        assert!(is_listened_at(old) && !is_listened_at(new));
    }

    #[test]
    fn a_start_whose_port_is_taken_is_told_of_the_flag_that_chooses_it_if_one_does() {
        let taken = TcpListener::bind(local(0)).unwrap();
        let taken = taken.local_addr().unwrap();
        let other = || door(local(0));
        for (wanted, mends) in [
            (vec![door(taken), other()], "there, choose another --port:"),
            (vec![other(), secure(taken)], "choose another --tls-port:"),
            (
                vec![other(), door(taken)],
                "give its endpoint another port:",
            ),
        ] {
            let told = at_start(&wanted, true).err().unwrap().to_string();
            assert!(told.contains(mends), "{told}");
        }
    }

    #[test]
    fn what_is_refused_does_not_touch_a_port_that_would_have_to_be_closed_for_it() {
        let taken = TcpListener::bind(local(0)).unwrap();
        let [port] = free();
        let open = opened(&[door(local(port))]);
        // Had it been closed, whoever waits in its backlog would be turned away.
        let waiting = TcpStream::connect(local(port)).unwrap();
        waiting.set_nonblocking(true).unwrap();
        let public = door(SocketAddr::from(([0, 0, 0, 0], port)));
        let wanted = [public, door(taken.local_addr().unwrap())];
        assert!(plan(&open, &[], &wanted, false).whole().is_err());
        let still_waits = waiting.peek(&mut [0]).unwrap_err();
        assert_eq!(still_waits.kind(), ErrorKind::WouldBlock);
    }

    #[test]
    fn what_cannot_be_opened_leaves_the_others_open_as_they_were() {
        let taken = TcpListener::bind(local(0)).unwrap();
        let [old, kept] = free();
        let open = opened(&[door(local(old)), door(local(kept))]);
        let wanted = [door(taken.local_addr().unwrap()), door(local(kept))];
        let next = plan(&open, &[], &wanted, false);
        let next = next.in_part().follow();
        assert_eq!(addresses(&next), [local(kept), local(old)]);
    }

    #[test]
    fn a_start_that_serves_nothing_opens_what_it_can() {
        let taken = TcpListener::bind(local(0)).unwrap();
        let [port] = free();
        let wanted = [door(taken.local_addr().unwrap()), door(local(port))];
        let next = plan(&[], &[], &wanted, false).at_the_start().follow();
        assert_eq!(addresses(&next), [local(port)]);
        let next = plan(&[], &[], &wanted[..1], false).at_the_start();
        assert!(next.follow().is_empty());
    }

    #[test]
    fn what_was_closed_is_opened_again() {
        let [port, other] = free();
        let before = opened(&[door(local(port))]);
        before[0].door.close();
        assert!(!is_listened_at(port));
        let open = opened(&[door(local(other))]);
        let next = plan(&open, &before, &[secure(local(port))], true);
        assert!(is_listened_at(port));
        let next = next.whole().unwrap().follow();
        assert!(Arc::ptr_eq(&next[0].door, &before[0].door));
    }

    #[test]
    fn without_a_certificate_no_https_is_opened_and_a_redirect_leads_where_it_should() {
        let [plain, other, tls] = free();
        let wanted = [
            door(local(other)),
            Wanted {
                redirect: Some(2),
                ..door(local(plain))
            },
            secure(local(tls)),
        ];
        let open = opened(&wanted[..1]);
        let next = plan(&open, &[], &wanted, true).whole().unwrap().follow();
        let to = next[1].redirect.as_ref().and_then(|door| door.address());
        assert_eq!(to, Some(local(tls)));
        drop(next);
        let next = plan(&open, &[], &wanted, false);
        let next = next.in_part().follow();
        assert_eq!(addresses(&next), [local(other), local(plain)]);
        assert!(next.iter().all(|one| one.redirect.is_none()));
        drop(next);
        let told = plan(&open, &[], &wanted, false).whole().err().map(refused);
        let told = told.unwrap().to_string();
        assert!(told.contains("certificates are read at a start"), "{told}");
    }
}
