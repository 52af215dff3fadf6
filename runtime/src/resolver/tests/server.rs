//! Replies of name servers for tests, and a small server that sends them.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

/// A reply under construction, byte by byte, so that it can also be wrong.
#[derive(Clone)]
pub(crate) struct Message {
    head: [u8; 12],
    question: Vec<u8>,
    answers: Vec<Vec<u8>>,
    authority: Vec<Vec<u8>>,
}

/// Type and data of a record.
pub(crate) type Data = (u16, Vec<u8>);

pub(crate) fn v4(address: &str) -> Data {
    (1, address.parse::<Ipv4Addr>().unwrap().octets().to_vec())
}

pub(crate) fn v6(address: &str) -> Data {
    (28, address.parse::<Ipv6Addr>().unwrap().octets().to_vec())
}

pub(crate) fn alias(name: &str) -> Data {
    (5, wire(name))
}

/// A name as a message has it.
fn wire(name: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for label in name.split('.').filter(|label| !label.is_empty()) {
        bytes.push(u8::try_from(label.len()).unwrap());
        bytes.extend(label.as_bytes());
    }
    bytes.push(0);
    bytes
}

fn record(name: &str, seconds: u32, (kind, data): Data) -> Vec<u8> {
    let mut bytes = wire(name);
    bytes.extend(kind.to_be_bytes());
    bytes.extend([0, 1]);
    bytes.extend(seconds.to_be_bytes());
    bytes.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
    bytes.extend(data);
    bytes
}

impl Message {
    /// A reply without records.
    pub(crate) fn reply_to(question: &[u8]) -> Message {
        let mut head = [0; 12];
        head[..2].copy_from_slice(&question[..2]);
        head[2] = 0x81;
        head[3] = 0x80;
        head[5] = 1;
        Message {
            head,
            question: question[12..].to_vec(),
            answers: Vec::new(),
            authority: Vec::new(),
        }
    }

    pub(crate) fn answer(mut self, name: &str, seconds: u32, data: Data) -> Message {
        self.answers.push(record(name, seconds, data));
        self
    }

    pub(crate) fn soa(mut self, seconds: u32, minimum: u32) -> Message {
        let mut data = [wire("ns"), wire("admin")].concat();
        for number in [1, 2, 3, 4, minimum] {
            data.extend(number.to_be_bytes());
        }
        self.authority.push(record("", seconds, (6, data)));
        self
    }

    pub(crate) fn rcode(mut self, code: u8) -> Message {
        self.head[3] |= code;
        self
    }

    pub(crate) fn truncated(mut self) -> Message {
        self.head[2] |= 2;
        self
    }

    pub(crate) fn id(mut self, change: u8) -> Message {
        self.head[1] ^= change;
        self
    }

    /// Has it answer a question for another name.
    pub(crate) fn rename(mut self, name: &str) -> Message {
        let types = self.question[self.question.len() - 4..].to_vec();
        self.question = [wire(name), types].concat();
        self
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut head = self.head;
        head[7] = u8::try_from(self.answers.len()).unwrap();
        head[9] = u8::try_from(self.authority.len()).unwrap();
        let records = [self.answers.concat(), self.authority.concat()].concat();
        [&head[..], &self.question, &records].concat()
    }
}

/// A question as a server sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) name: String,
    pub(crate) is_v6: bool,
    pub(crate) is_tcp: bool,
}

/// A name server on a loopback address, over UDP and TCP. Its threads end with the test's process.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    /// All that it was asked so far.
    pub(crate) asked: Arc<Mutex<Vec<Asked>>>,
}

type Script = dyn Fn(&Asked, Message) -> Vec<Message> + Send + Sync;

impl Server {
    /// Starts one at `address`. The script says for each question which replies are sent, of which
    /// it gets the empty one.
    pub(crate) fn at(
        address: SocketAddr,
        script: impl Fn(&Asked, Message) -> Vec<Message> + Send + Sync + 'static,
    ) -> Server {
        // Both sockets need one port, and that of the first may be taken for the second.
        let (tcp, udp) = (0..100)
            .find_map(|_| {
                let tcp = TcpListener::bind(address).ok()?;
                let udp = UdpSocket::bind(tcp.local_addr().ok()?).ok()?;
                Some((tcp, udp))
            })
            .unwrap();
        let address = udp.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let script: Arc<Script> = Arc::new(script);
        let answer = {
            let asked = Arc::clone(&asked);
            move |question: &[u8], is_tcp| {
                let known = seen(question, is_tcp);
                asked.lock().unwrap().push(known.clone());
                script(&known, Message::reply_to(question))
            }
        };
        std::thread::spawn({
            let answer = answer.clone();
            move || {
                let mut buffer = [0; 512];
                while let Ok((length, from)) = udp.recv_from(&mut buffer) {
                    for reply in answer(&buffer[..length], false) {
                        let _ = udp.send_to(&reply.bytes(), from);
                    }
                }
            }
        });
        std::thread::spawn(move || {
            while let Ok((mut stream, _)) = tcp.accept() {
                let mut length = [0; 2];
                if stream.read_exact(&mut length).is_err() {
                    continue;
                }
                let mut question = vec![0; u16::from_be_bytes(length).into()];
                if stream.read_exact(&mut question).is_err() {
                    continue;
                }
                for reply in answer(&question, true) {
                    let bytes = reply.bytes();
                    let length = u16::try_from(bytes.len()).unwrap().to_be_bytes();
                    let _ = stream.write_all(&[&length[..], &bytes].concat());
                }
            }
        });
        Server { address, asked }
    }

    /// One at a free port of 127.0.0.1.
    pub(crate) fn new(
        script: impl Fn(&Asked, Message) -> Vec<Message> + Send + Sync + 'static,
    ) -> Server {
        Server::at(SocketAddr::from(([127, 0, 0, 1], 0)), script)
    }

    /// The names that it was asked for the addresses of one family, in order.
    pub(crate) fn names(&self) -> Vec<String> {
        let asked = self.asked.lock().unwrap();
        let v4 = asked.iter().filter(|asked| !asked.is_v6);
        v4.map(|asked| asked.name.clone()).collect()
    }
}

/// What a question asks for.
pub(crate) fn seen(question: &[u8], is_tcp: bool) -> Asked {
    let mut labels = Vec::new();
    let mut at = 12;
    while question[at] > 0 {
        let end = at + 1 + usize::from(question[at]);
        labels.push(String::from_utf8(question[at + 1..end].to_vec()).unwrap());
        at = end;
    }
    Asked {
        name: labels.join("."),
        is_v6: question[at + 2] == 28,
        is_tcp,
    }
}

/// A file of its own below the temporary folder, which goes with it.
pub(crate) struct TempFile {
    pub(crate) path: PathBuf,
}

impl TempFile {
    pub(crate) fn new(text: &str) -> TempFile {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("zlayer-resolver-{}-{count}", std::process::id());
        let file = TempFile {
            path: std::env::temp_dir().join(name),
        };
        file.write(text);
        file
    }

    pub(crate) fn write(&self, text: &str) {
        std::fs::write(&self.path, text).unwrap();
    }

    /// Makes it look as if it had been changed long ago.
    pub(crate) fn age(&self) {
        let file = std::fs::File::options().write(true).open(&self.path);
        let long_ago = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        file.unwrap().set_modified(long_ago).unwrap();
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}
