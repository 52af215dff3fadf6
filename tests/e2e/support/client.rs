//! A client that sends what it is told, and believes nothing that it reads.

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};

use super::{Daemon, PATIENCE};

/// One connection.
pub(crate) struct Client {
    stream: TcpStream,
    /// Read and not used yet.
    buffer: Vec<u8>,
}

/// An answer.
#[derive(Clone, Default)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Vec<(String, String)>,
    /// Whether the server lets the connection stand.
    pub(crate) keep_alive: bool,
}

/// GET over a connection of its own.
pub(crate) fn get(daemon: &Daemon, path: &str) -> Response {
    request(daemon, "GET", path, &[], b"")
}

/// A request over a connection of its own. Host, Connection and, with a body, Content-Length are
/// added unless given. The answer is read while the body is still being sent.
pub(crate) fn request(
    daemon: &Daemon,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Response {
    let mut head = format!("{method} {path} HTTP/1.1\r\n");
    let length = body.len().to_string();
    let given = |name: &str| {
        headers
            .iter()
            .any(|(given, _)| given.eq_ignore_ascii_case(name))
    };
    let mut fields = headers.to_vec();
    for (name, value) in [("host", "localhost"), ("connection", "close")] {
        if !given(name) {
            fields.push((name, value));
        }
    }
    if !body.is_empty() && !given("content-length") && !given("transfer-encoding") {
        fields.push(("content-length", &length));
    }
    for (name, value) in fields {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    let mut client = Client::connect(daemon);
    let mut sending = client.stream.try_clone().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            // The server may have answered and closed before it has all.
            let _ = sending
                .write_all(head.as_bytes())
                .and_then(|()| sending.write_all(body));
        });
        let answer = match method {
            "HEAD" => client.read_head(),
            _ => client.try_read_response(),
        };
        // Whatever came: the sender must not wait for a server that has stopped reading.
        let _ = client.stream.shutdown(Shutdown::Both);
        answer.unwrap_or_else(|error| panic!("{method} {path}: {error}"))
    })
}

impl Client {
    /// Connects; nothing is sent yet.
    pub(crate) fn connect(daemon: &Daemon) -> Client {
        Client::try_connect(daemon).unwrap_or_else(|error| panic!("cannot connect: {error}"))
    }

    /// Connects to a daemon that may be gone.
    pub(crate) fn try_connect(daemon: &Daemon) -> io::Result<Client> {
        let stream = TcpStream::connect(daemon.addr())?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Client {
            stream,
            buffer: Vec::new(),
        })
    }

    /// The same over a connection that is there.
    pub(crate) fn over(stream: TcpStream) -> Client {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Client {
            stream,
            buffer: Vec::new(),
        }
    }

    /// The socket itself, for tests about sockets.
    pub(crate) fn socket(&self) -> &TcpStream {
        &self.stream
    }

    /// Whether anything has come that was not read yet.
    pub(crate) fn has_news(&self) -> bool {
        self.stream.set_nonblocking(true).unwrap();
        let has_come = self.stream.peek(&mut [0]).is_ok();
        self.stream.set_nonblocking(false).unwrap();
        has_come
    }

    /// Sends these bytes.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_send(bytes)
            .unwrap_or_else(|error| panic!("cannot send: {error}"));
    }

    /// Sends these bytes to a server that may have closed.
    pub(crate) fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.write_all(bytes.as_ref())
    }

    /// Leaves so that the daemon is told: what is closed in order looks like a client that waits for its
    /// response.
    pub(crate) fn reset(self) {
        let at_once = Some(std::time::Duration::ZERO);
        rustix::net::sockopt::set_socket_linger(&self.stream, at_once).unwrap();
    }

    /// Sends no more; the server sees the end of the stream, unless it has closed already.
    pub(crate) fn shutdown_write(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// Reads one answer by its framing. A panic shows what came instead.
    pub(crate) fn read_response(&mut self) -> Response {
        self.try_read_response()
            .unwrap_or_else(|error| panic!("{error}"))
    }

    /// Reads one answer by its framing, or tells what is wrong with what came.
    pub(crate) fn try_read_response(&mut self) -> Result<Response, String> {
        let mut response = self.read_head()?;
        if matches!(response.status, 100..=199 | 204 | 304) {
            return Ok(response);
        }
        let coding = response.header("transfer-encoding").map(str::to_owned);
        let length = response.header("content-length").map(str::to_owned);
        match (coding.as_deref(), length) {
            (Some("chunked"), None) => {
                while let Some(chunk) = self.read_chunk()? {
                    response.body.extend_from_slice(&chunk);
                }
                response.trailers = self.read_fields()?;
            }
            (None, Some(length)) => {
                let length = length
                    .parse()
                    .map_err(|_| format!("content-length {length}"))?;
                response.body = self.read_exactly(length)?;
            }
            (None, None) if !response.keep_alive => response.body = self.read_to_end(),
            _ => return Err(format!("no framing to go by: {response:?}")),
        }
        Ok(response)
    }

    /// Reads an answer's status line and headers and nothing else, as an answer to HEAD wants it.
    pub(crate) fn read_head(&mut self) -> Result<Response, String> {
        let line = self.read_line()?;
        let wrong = || format!("not a status line: {line:?}");
        let (version, rest) = line.split_at_checked(9).ok_or_else(wrong)?;
        let (status, phrase) = rest.split_at_checked(3).ok_or_else(wrong)?;
        if version != "HTTP/1.1 " || !phrase.starts_with(' ') {
            return Err(wrong());
        }
        let status = status.parse().map_err(|_| wrong())?;
        let headers = self.read_fields()?;
        for name in ["content-length", "transfer-encoding", "connection", "date"] {
            let same = headers
                .iter()
                .filter(|(other, _)| other.eq_ignore_ascii_case(name));
            if same.count() > 1 {
                return Err(format!("more than one {name}: {headers:?}"));
            }
        }
        let mut response = Response {
            status,
            headers,
            ..Response::default()
        };
        let connection = response.header("connection").unwrap_or_default();
        response.keep_alive = !connection.eq_ignore_ascii_case("close");
        Ok(response)
    }

    /// Reads one chunk of a chunked body; `None` is the last one, before the trailers.
    pub(crate) fn read_chunk(&mut self) -> Result<Option<Vec<u8>>, String> {
        let line = self.read_line()?;
        let is_hex = !line.is_empty() && line.bytes().all(|byte| byte.is_ascii_hexdigit());
        let size = usize::from_str_radix(&line, 16).ok().filter(|_| is_hex);
        match size.ok_or_else(|| format!("not a chunk size: {line:?}"))? {
            0 => Ok(None),
            size => {
                let data = self.read_exactly(size)?;
                match self.read_exactly(2)?.as_slice() {
                    b"\r\n" => Ok(Some(data)),
                    other => Err(format!("a chunk of {size} ends with {other:?}")),
                }
            }
        }
    }

    /// Reads the chunks of what `echo` sends first at `/greet`.
    pub(crate) fn read_greeting(&mut self) {
        let mut left = 256 << 10;
        while left > 0 {
            let chunk = self.read_chunk().unwrap().unwrap();
            assert!(chunk.iter().all(|byte| *byte == b'h'), "not a greeting");
            left -= chunk.len();
        }
    }

    /// Reads header or trailer fields, to the empty line behind them.
    fn read_fields(&mut self) -> Result<Vec<(String, String)>, String> {
        let mut fields = Vec::new();
        loop {
            let line = self.read_line()?;
            if line.is_empty() {
                return Ok(fields);
            }
            let field = line.split_once(": ").filter(|(name, _)| {
                let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
                !name.is_empty() && name.bytes().all(is_token)
            });
            let (name, value) = field.ok_or_else(|| format!("not a field: {line:?}"))?;
            fields.push((name.to_owned(), value.to_owned()));
        }
    }

    /// Reads a line that ends with CR LF and holds neither.
    fn read_line(&mut self) -> Result<String, String> {
        loop {
            if let Some(end) = self.buffer.windows(2).position(|pair| pair == b"\r\n") {
                let line = String::from_utf8_lossy(&self.buffer[..end]).into_owned();
                self.buffer.drain(..end + 2);
                return match line.contains(['\r', '\n', '\0']) {
                    true => Err(format!("a stray control character: {line:?}")),
                    false => Ok(line),
                };
            }
            self.fill("a line")?;
        }
    }

    /// Reads this many bytes.
    pub(crate) fn read_exactly(&mut self, count: usize) -> Result<Vec<u8>, String> {
        while self.buffer.len() < count {
            self.fill(&format!("{count} bytes"))?;
        }
        let rest = self.buffer.split_off(count);
        Ok(std::mem::replace(&mut self.buffer, rest))
    }

    /// Reads until the server closes. A reset counts as that.
    pub(crate) fn read_to_end(&mut self) -> Vec<u8> {
        let mut bytes = std::mem::take(&mut self.buffer);
        match self.stream.read_to_end(&mut bytes) {
            Err(error) if error.kind() != ErrorKind::ConnectionReset => {
                panic!("{error} after {:?}", String::from_utf8_lossy(&bytes))
            }
            _ => bytes,
        }
    }

    /// Whether the server has closed, and sent nothing more before. Waits for it.
    pub(crate) fn is_closed(&mut self) -> bool {
        self.read_to_end().is_empty()
    }

    fn fill(&mut self, wanted: &str) -> Result<(), String> {
        let mut piece = [0; 64 << 10];
        let what = match self.stream.read(&mut piece) {
            Ok(0) => "the end of the stream".to_owned(),
            Ok(count) => {
                self.buffer.extend_from_slice(&piece[..count]);
                return Ok(());
            }
            Err(error) => error.to_string(),
        };
        let shown = &self.buffer[..self.buffer.len().min(500)];
        let held = String::from_utf8_lossy(shown);
        Err(format!("wanted {wanted}; {what} came after {held:?}"))
    }
}

impl Response {
    /// The first header of this name.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut fields = self.headers.iter();
        let found = fields.find(|(other, _)| other.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// The body as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text: String = self.text().chars().take(500).collect();
        f.debug_struct("Response")
            .field("status", &self.status)
            .field("headers", &self.headers)
            .field("trailers", &self.trailers)
            .field("bytes", &self.body.len())
            .field("text", &text)
            .finish()
    }
}
