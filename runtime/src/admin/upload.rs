//! A bundle that is sent to be installed: read from the connection as it comes, piece by piece, by a thread that
//! waits for the disk.

use std::io::{self, Read};
use std::time::Duration;

use futures_lite::future::or;
use smol::channel::{Receiver, Sender, bounded};
use smol::io::{AsyncReadExt, AsyncWriteExt};
use zlayer_http1::{BodyDecoder, Decoded, Limits};

use super::message::Upload;
use crate::timeout::within;
use crate::wire::{Socket, stopped};

/// Bytes of a piece.
const PIECE: usize = 16 << 10;
/// Pieces that wait for the thread.
const WAITING: usize = 2;
/// Memory that an upload takes: the pieces that wait, the one that is read and the one that is used.
pub(super) const UPLOAD_BYTES: usize = PIECE * (WAITING + 2);
/// How long the client may send nothing.
const PATIENCE: Duration = Duration::from_secs(30);

/// What reads an upload, in the order in which it comes.
pub(super) struct Pieces {
    pieces: Receiver<io::Result<Vec<u8>>>,
    current: io::Cursor<Vec<u8>>,
}

/// Where an upload goes, and what reads it there.
pub(super) fn channel() -> (Sender<io::Result<Vec<u8>>>, Pieces) {
    let (to, pieces) = bounded(WAITING);
    let current = io::Cursor::default();
    (to, Pieces { pieces, current })
}

impl Read for Pieces {
    /// Blocks until there is more.
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.current.read(into)? {
                0 if !into.is_empty() => match self.pieces.recv_blocking() {
                    Ok(piece) => self.current = io::Cursor::new(piece?),
                    // Its end.
                    Err(_) => return Ok(0),
                },
                count => return Ok(count),
            }
        }
    }
}

/// Reads an upload to its end, of which `begun` has come with the head. What nobody reads any more is dropped, so
/// that the client, which may not listen before it has sent all, gets its response. A daemon that is to `stop` reads
/// no more of it.
pub(super) async fn receive(
    stream: &mut Box<dyn Socket>,
    upload: Upload,
    begun: Vec<u8>,
    to: Sender<io::Result<Vec<u8>>>,
    stop: &Receiver<()>,
) -> io::Result<()> {
    let received = try_receive(stream, upload, begun, &to, stop).await;
    if let Err(error) = &received {
        // Nobody reads it any more if this fails.
        let _ = to
            .send(Err(io::Error::new(error.kind(), error.to_string())))
            .await;
    }
    received
}

async fn try_receive(
    stream: &mut Box<dyn Socket>,
    upload: Upload,
    begun: Vec<u8>,
    to: &Sender<io::Result<Vec<u8>>>,
    stop: &Receiver<()>,
) -> io::Result<()> {
    if upload.is_waiting && begun.is_empty() {
        stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
        stream.flush().await?;
    }
    let mut decoder = BodyDecoder::new(upload.length, &Limits::default());
    let mut input = begun;
    loop {
        let mut rest = input.as_slice();
        loop {
            match decoder.decode(rest).map_err(io::Error::other)? {
                Decoded::End { .. } => return Ok(()),
                Decoded::NeedMore { .. } => break,
                Decoded::Data { consumed, data } => {
                    if !to.is_closed() {
                        // Whoever read it may have ended just now.
                        let _ = to.send(Ok(data.to_vec())).await;
                    }
                    rest = &rest[consumed..];
                }
            }
        }
        input.resize(PIECE, 0);
        let stopping = async {
            stopped(stop).await;
            Some(Err(io::ErrorKind::ConnectionAborted.into()))
        };
        let count = or(within(PATIENCE, stream.read(&mut input)), stopping).await;
        match count.unwrap_or(Err(io::ErrorKind::TimedOut.into()))? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => input.truncate(count),
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use zlayer_http1::BodyLength;

    use super::*;

    fn received(
        length: BodyLength,
        begun: &[u8],
        rest: &[u8],
    ) -> (io::Result<()>, io::Result<Vec<u8>>) {
        let (to, mut pieces) = channel();
        let reading = std::thread::spawn(move || {
            let mut all = Vec::new();
            pieces.read_to_end(&mut all).map(|_| all)
        });
        let mut stream: Box<dyn Socket> = Box::new(smol::io::Cursor::new(rest.to_vec()));
        let upload = Upload {
            length,
            is_waiting: false,
        };
        let (_running, stop) = bounded(1);
        let receiving = receive(&mut stream, upload, begun.to_vec(), to, &stop);
        let received = smol::block_on(receiving);
        (received, reading.join().unwrap())
    }

    #[test]
    fn what_is_sent_is_read_whole_however_it_comes() {
        let sent: Vec<u8> = (0..100_000u32).map(|number| number as u8).collect();
        let whole = BodyLength::Fixed(sent.len() as u64);
        for at in [0, 1, PIECE, sent.len()] {
            let (done, read) = received(whole, &sent[..at], &sent[at..]);
            assert!(done.is_ok() && read.unwrap() == sent, "{at}");
        }
        let (done, read) = received(
            BodyLength::Chunked,
            b"3\r\nabc\r",
            b"\n2\r\nde\r\n0\r\n\r\n",
        );
        assert!(done.is_ok() && read.unwrap() == b"abcde");
    }

    #[test]
    fn what_breaks_off_is_an_error_for_both() {
        let (done, read) = received(BodyLength::Fixed(5), b"abc", b"d");
        assert_eq!(done.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        assert_eq!(read.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        let (done, read) = received(BodyLength::Chunked, b"x\r\n", b"");
        assert!(done.is_err() && read.is_err());
    }

    #[test]
    fn what_nobody_reads_any_more_is_still_received() {
        let (to, pieces) = channel();
        drop(pieces);
        let mut stream: Box<dyn Socket> = Box::new(smol::io::Cursor::new(vec![7; 100_000]));
        let upload = Upload {
            length: BodyLength::Fixed(100_000),
            is_waiting: false,
        };
        let (_running, stop) = bounded(1);
        smol::block_on(receive(&mut stream, upload, Vec::new(), to, &stop)).unwrap();
    }

    #[test]
    fn a_daemon_that_stops_waits_for_no_more_and_whoever_reads_is_told() {
        let (to, mut pieces) = channel();
        let (ours, _theirs) = smol::net::unix::UnixStream::pair().unwrap();
        let mut stream: Box<dyn Socket> = Box::new(ours);
        let upload = Upload {
            length: BodyLength::Fixed(5),
            is_waiting: false,
        };
        let (running, stop) = bounded(1);
        drop(running);
        let received = smol::block_on(receive(&mut stream, upload, b"abc".to_vec(), to, &stop));
        assert_eq!(
            received.unwrap_err().kind(),
            io::ErrorKind::ConnectionAborted
        );
        let read = pieces.read_to_end(&mut Vec::new());
        assert_eq!(read.unwrap_err().kind(), io::ErrorKind::ConnectionAborted);
    }
}
