//! One question to one name server, over UDP (RFC 1035 section 4.2.1) or TCP (RFC 7766).

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use domain::base::iana::Rcode;
use futures_lite::{AsyncReadExt, AsyncWriteExt};
use smol::Async;

use super::message::{Question, Reply};
use crate::timeout::before;

/// Bytes of a datagram that are read. A server that was not told of more sends 512 at most (RFC
/// 1035 section 4.2.1).
const DATAGRAM: usize = 1232;
/// Bytes of a reply over TCP that are read: 200 addresses and more.
const STREAM: u16 = 4 << 10;
/// How many datagrams that are no reply to the question are passed over. After that somebody is
/// guessing, and the question is asked over TCP, where nobody can (RFC 5452 section 9).
const STRAYS: usize = 16;

/// Why a server has not answered a question.
#[derive(Debug)]
pub(super) enum Fault {
    /// Nothing came within this time.
    Silent(Duration),
    /// It cannot be reached.
    Unreachable(io::Error),
    /// It says that it cannot tell, or does not want to.
    Refused(Rcode),
    /// It sends what is not valid, or too long.
    Malformed,
}

impl Fault {
    /// Whether the server itself is at fault, not what it was asked for.
    pub(super) fn is_dead(&self) -> bool {
        matches!(self, Fault::Silent(_) | Fault::Unreachable(_))
    }
}

impl Fault {
    /// What the server answered, if it did.
    pub(super) fn code(&self) -> Option<Rcode> {
        match self {
            Fault::Refused(code) => Some(*code),
            Fault::Silent(_) | Fault::Unreachable(_) | Fault::Malformed => None,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Silent(time) => write!(f, "no reply within {time:?}"),
            Fault::Unreachable(error) => error.fmt(f),
            Fault::Refused(code) => write!(f, "{code}"),
            Fault::Malformed => f.write_str("its reply is not valid"),
        }
    }
}

/// Asks `server`. The reply says that the name has addresses, or that it has none.
pub(super) async fn ask(
    server: SocketAddr,
    question: &Question,
    id: u16,
    time: Duration,
    use_tcp: bool,
) -> Result<Reply, Fault> {
    let end = Instant::now() + time;
    let asked = async {
        let datagram = match use_tcp {
            true => None,
            false => over_udp(server, question, id).await?,
        };
        match datagram {
            Some(Reply::Truncated) | None => over_tcp(server, question, id).await,
            Some(reply) => Ok(reply),
        }
    };
    match before(end, asked).await {
        None => Err(Fault::Silent(time)),
        Some(Err(error)) => Err(match error.kind() {
            io::ErrorKind::InvalidData => Fault::Malformed,
            _ => Fault::Unreachable(error),
        }),
        Some(Ok(Reply::Failed(code))) => Err(Fault::Refused(code)),
        Some(Ok(Reply::Malformed | Reply::Truncated)) => Err(Fault::Malformed),
        Some(Ok(reply)) => Ok(reply),
    }
}

/// Asks in one datagram. None if too many strangers answered.
async fn over_udp(server: SocketAddr, question: &Question, id: u16) -> io::Result<Option<Reply>> {
    let any = match server {
        SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
    };
    // A socket for each question: the kernel gives it a port that nobody can guess, and lets only
    // this server's datagrams through (RFC 5452 section 9.2).
    let socket = Async::<UdpSocket>::bind(any)?;
    socket.get_ref().connect(server)?;
    socket.send(question.encode(id).as_slice()).await?;
    // Not inside the future, which is moved about, and of which a look-up holds several.
    // One byte more than a datagram may have shows that it was cut.
    let mut buffer = vec![0; DATAGRAM + 1];
    for _ in 0..STRAYS {
        let length = socket.recv(&mut buffer).await?;
        if length > DATAGRAM {
            return Ok(Some(Reply::Truncated));
        }
        let message = buffer.get(..length).unwrap_or_default();
        if let Some(reply) = question.read(id, message) {
            return Ok(Some(reply));
        }
    }
    Ok(None)
}

/// Asks over a connection, where each message stands behind its length (RFC 1035 section 4.2.2).
async fn over_tcp(server: SocketAddr, question: &Question, id: u16) -> io::Result<Reply> {
    let mut stream = Async::<TcpStream>::connect(server).await?;
    let message = question.encode(id);
    let message = message.as_slice();
    // No question is that long.
    let length = u16::try_from(message.len()).unwrap_or(u16::MAX);
    let whole = [&length.to_be_bytes()[..], message].concat();
    stream.write_all(&whole).await?;
    let mut length = [0; 2];
    stream.read_exact(&mut length).await?;
    let length = u16::from_be_bytes(length);
    if length > STREAM {
        return Ok(Reply::Malformed);
    }
    let mut reply = vec![0; length.into()];
    stream.read_exact(&mut reply).await?;
    Ok(question.read(id, &reply).unwrap_or(Reply::Malformed))
}
