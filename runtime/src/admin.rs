//! The admin interface: metrics, status and health over HTTP/1.1, for this device alone.
//!
//! It listens on a Unix socket in the data folder, which only the daemon's own user may use, and on
//! loopback TCP if that was asked for. TCP, which every user of the device can reach, only reads:
//! what changes something works over the Unix socket alone ([`commands`]). The interface goes on
//! while the daemon drains.

mod answer;
mod cache;
mod changes;
mod client;
mod commands;
mod connection;
mod deployments;
#[cfg(test)]
pub mod fuzz;
mod json;
mod loopback;
mod message;
mod pages;
mod places;
mod process;
mod query;
mod reading;
mod section;
mod series;
mod status;
mod store;
mod upload;
mod view;

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use smol::lock::RwLock;
use smol::{Executor, Timer, net};

use crate::error::{Error, Result};
use crate::memory::{Budget, Reservation};
use crate::timeout::within;
use crate::wire::Socket;
use connection::Connection;
use places::{Place, Places};

pub use changes::AT_NEXT_START;
pub use client::{Change, DEFAULT_DATA_DIR, Upload, change, print_status, purge};
pub use deployments::{Changed, Changing, Deployed, Deployments, Telling, Trial, Uploaded};
pub(crate) use json::Json;
pub use process::open_before_confinement;
pub use view::View;

/// Memory that the interface may take: [`CONNECTIONS`] on each of two sockets, with a head of 8 KiB
/// and a short response of at most 2 KiB, and [`PAGES_BYTES`].
pub use zlayer_bundle::ADMIN_SHARE;
/// The part of it for all pages of metrics and status that are on their way. A page that does not
/// fit is charged to the budget while it lasts.
const PAGES_BYTES: usize = 48 << 10;
/// Connections at the same time on one socket; for one more, one that is silent has to go. Each
/// socket has its own, so that nobody who can only reach the TCP port keeps others from the Unix
/// socket.
const CONNECTIONS: usize = 4;
/// The socket's name in the data folder.
const SOCKET: &str = "admin.sock";
/// Where the socket is made, so that nobody can use it before its mode is set. This path is no
/// longer than the socket's own, so if one fits into an address, both do.
const UNFINISHED: [&str; 2] = [".admin", "s"];
/// Pause after an accept that failed because descriptors or memory were missing.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The bound sockets. Whoever connects before [`Admin::serve`] waits in the backlog.
#[derive(Debug)]
pub struct Admin {
    unix: Option<UnixListener>,
    tcp: Option<TcpListener>,
    open: Open,
}

impl Admin {
    /// Binds a socket in `folder`, whose lock the caller holds, and `port` on 127.0.0.1 if one is
    /// given (0 lets the system choose). The daemon can work without its Unix socket, so what is
    /// wrong with that is only a warning.
    ///
    /// # Errors
    ///
    /// The port cannot be bound.
    pub fn bind(folder: &Path, port: Option<u16>) -> Result<Admin> {
        let path = folder.join(SOCKET);
        let unix = match bind_unix(folder, &path) {
            Ok(listener) => Some(listener),
            Err(error) => {
                let hint = match error.kind() {
                    // std returns this where a path does not fit sockaddr_un (unix(7): 108 bytes).
                    io::ErrorKind::InvalidInput => {
                        "; its path is too long for a socket, choose a --data-dir with a shorter one"
                    }
                    _ => "",
                };
                log::warn!("no admin interface at {}{hint}: {error}", path.display());
                None
            }
        };
        let open = Open {
            path,
            changes: Arc::default(),
        };
        let tcp = port.map(|port| {
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
            TcpListener::bind(address).map_err(|error| {
                Error::device(
                    format!("cannot listen on {address} for the admin interface; choose another --admin-port"),
                    error,
                )
            })
        });
        Ok(Admin {
            unix,
            tcp: tcp.transpose()?,
            open,
        })
    }

    /// The address that it listens on over TCP, if it does.
    pub fn address(&self) -> Option<SocketAddr> {
        self.tcp.as_ref()?.local_addr().ok()
    }

    /// Serves `view` in tasks of `executor`, as long as that runs.
    ///
    /// # Errors
    ///
    /// A socket cannot be used.
    pub fn serve(self, view: View, executor: &'static Executor<'static>) -> Result<Open> {
        let unusable = |error| Error::device("cannot use the admin interface's socket", error);
        let shared = Arc::new(AdminShared {
            view,
            executor,
            pages: Budget::new(PAGES_BYTES),
            changes: Arc::clone(&self.open.changes),
        });
        if let Some(listener) = self.unix {
            let listener = net::unix::UnixListener::try_from(listener).map_err(unusable)?;
            let (shared, places) = (Arc::clone(&shared), Places::new(CONNECTIONS));
            let accepting = async move {
                loop {
                    let accepted = listener.accept().await;
                    let accepted = accepted.map(|(stream, _)| Box::new(stream) as Box<dyn Socket>);
                    shared.spawn(accepted, false, &places).await;
                }
            };
            executor.spawn(accepting).detach();
        }
        if let Some(listener) = self.tcp {
            let listener = net::TcpListener::try_from(listener).map_err(unusable)?;
            let places = Places::new(CONNECTIONS);
            let accepting = async move {
                loop {
                    let accepted = listener.accept().await;
                    let accepted = accepted.map(|(stream, _)| Box::new(stream) as Box<dyn Socket>);
                    shared.spawn(accepted, true, &places).await;
                }
            };
            executor.spawn(accepting).detach();
        }
        Ok(self.open)
    }
}

/// The interface while it is open. Dropping it removes the socket.
#[derive(Debug)]
pub struct Open {
    path: PathBuf,
    changes: Arc<RwLock<()>>,
}

impl Open {
    /// Waits until whoever has begun to change something is told what came of it, at most for `time`. Nobody begins
    /// another meanwhile.
    pub async fn finish(&self, time: Duration) {
        within(time, self.changes.write()).await;
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        // If the socket stays, the next daemon replaces it.
        let _ = remove_socket(&self.path);
    }
}

/// What all connections have in common.
struct AdminShared {
    view: View,
    executor: &'static Executor<'static>,
    /// The budget of [`PAGES_BYTES`].
    pages: Arc<Budget>,
    /// Read by whoever changes something, until that is told.
    changes: Arc<RwLock<()>>,
}

fn bind_unix(folder: &Path, path: &Path) -> io::Result<UnixListener> {
    remove_socket(path)?;
    let private = folder.join(UNFINISHED[0]);
    let unfinished = private.join(UNFINISHED[1]);
    // Remove what a killed daemon left.
    let _ = remove_socket(&unfinished);
    let _ = fs::remove_dir(&private);
    let made = DirBuilder::new().mode(0o700).create(&private);
    made.map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => {
            let what = format!("{} is in the way; move it away", private.display());
            io::Error::new(io::ErrorKind::AlreadyExists, what)
        }
        _ => error,
    })?;
    let bound = (|| {
        let listener = UnixListener::bind(&unfinished)?;
        fs::set_permissions(&unfinished, Permissions::from_mode(0o600))?;
        fs::rename(&unfinished, path)?;
        Ok(listener)
    })();
    let _ = fs::remove_dir(&private);
    bound
}

/// Removes a socket, and nothing that is not one.
fn remove_socket(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_socket() => fs::remove_file(path),
        Ok(_) => Err(io::Error::new(
            io::ErrorKind::AlreadyExists,
            "something that is no socket has that name; move it away",
        )),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

impl AdminShared {
    /// Reserves memory for a page, in the interface's own share or else in the daemon's budget.
    fn reserve(&self, bytes: usize) -> Option<Reservation> {
        let own = self.pages.reserve(bytes);
        own.or_else(|| self.view.budget.reserve(bytes))
    }

    async fn spawn(
        self: &Arc<Self>,
        accepted: io::Result<Box<dyn Socket>>,
        is_tcp: bool,
        places: &Places,
    ) {
        match accepted {
            Ok(stream) => {
                let shared = Arc::clone(self);
                let place: Arc<Place> = places.take().await;
                let serving = async move {
                    Connection::new(stream, is_tcp).serve(&shared, &place).await;
                };
                self.executor.spawn(serving).detach();
            }
            Err(error) => {
                log::warn!("admin interface: cannot accept a connection: {error}");
                Timer::after(ACCEPT_PAUSE).await;
            }
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use super::*;
    use crate::data_dir::temporary_folder;

    #[test]
    fn the_socket_is_private_and_replaces_a_stale_one() {
        let folder = temporary_folder().unwrap();
        for _ in 0..2 {
            let admin = Admin::bind(&folder, Some(0)).unwrap();
            assert!(admin.unix.is_some() && admin.address().unwrap().ip().is_loopback());
            let mode = fs::metadata(&admin.open.path).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
            std::os::unix::net::UnixStream::connect(&admin.open.path).unwrap();
            assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
            // The first stays behind as a killed daemon's does.
            std::mem::forget(admin);
        }
        drop(Open {
            path: folder.join(SOCKET),
            changes: Arc::default(),
        });
        fs::remove_dir(&folder).unwrap();
    }

    #[test]
    fn what_is_no_socket_is_left_alone_and_a_long_path_is_no_reason_to_stop() {
        let folder = temporary_folder().unwrap();
        // What a killed daemon leaves is taken away, what others put there is named.
        let private = folder.join(UNFINISHED[0]);
        fs::create_dir(&private).unwrap();
        UnixListener::bind(private.join(UNFINISHED[1])).unwrap();
        assert!(bind_unix(&folder, &folder.join(SOCKET)).is_ok());
        assert!(!private.exists());
        fs::create_dir(&private).unwrap();
        fs::write(private.join("mine"), "a file").unwrap();
        let refused = bind_unix(&folder, &folder.join(SOCKET)).unwrap_err();
        assert!(refused.to_string().contains("/.admin "), "{refused}");
        assert_eq!(fs::read(private.join("mine")).unwrap(), b"a file");
        fs::remove_dir_all(&private).unwrap();
        fs::write(folder.join(SOCKET), "a file").unwrap();
        assert!(Admin::bind(&folder, None).unwrap().unix.is_none());
        assert_eq!(fs::read(folder.join(SOCKET)).unwrap(), b"a file");
        let long = folder.join("x".repeat(100));
        fs::create_dir(&long).unwrap();
        assert!(Admin::bind(&long, None).unwrap().unix.is_none());
        assert_eq!(fs::read_dir(&long).unwrap().count(), 0);
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_port_that_is_taken_is_an_error_that_names_the_flag() {
        let folder = temporary_folder().unwrap();
        let first = Admin::bind(&folder, Some(0)).unwrap();
        let port = first.address().unwrap().port();
        let message = Admin::bind(&folder, Some(port)).unwrap_err().to_string();
        assert!(
            message.contains("--admin-port") && message.contains("127.0.0.1"),
            "{message}"
        );
        fs::remove_dir_all(&folder).unwrap();
    }
}
