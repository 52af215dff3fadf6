#![expect(clippy::unwrap_used, reason = "a failed test should panic")]

use futures_lite::future::{block_on, poll_once};
use http_body_util::BodyExt;

use super::*;
use crate::memory::Budget;

/// A body, its stream, its reader, and what stands for its message.
type Ends = (OutgoingBody, Box<dyn OutputStream>, Reader, HandOver);

/// A body charged to a budget of so many bytes.
fn body(announced: Option<u64>, limit: usize) -> (Ends, Arc<Budget>) {
    let budget = Budget::new(limit);
    // No part of it is free.
    let free_is_taken = Arc::new(AtomicBool::new(true));
    let reservation = budget.reserve(0).unwrap();
    let (mut body, reader, handed_over) =
        OutgoingBody::new(Of::Response, announced, reservation, &free_is_taken);
    let stream = body.stream().unwrap();
    assert!(body.stream().is_none());
    ((body, stream, reader, handed_over), budget)
}

fn write(stream: &mut Box<dyn OutputStream>, bytes: usize) -> Result<(), StreamError> {
    block_on(stream.blocking_write_and_flush(Bytes::from(vec![b'x'; bytes])))
}

#[test]
fn a_mebibyte_may_wait_unread_in_pieces_of_any_size_and_is_charged() {
    for size in [100, 2047, 4096] {
        let ((body, mut stream, reader, _), budget) = body(None, 8 << 20);
        for _ in 0..UNREAD_BYTES / size {
            write(&mut stream, size).unwrap();
        }
        let used = budget.used();
        assert!(used >= UNREAD_BYTES / size * size, "{used}");
        assert!(used <= 5 * UNREAD_BYTES / 2, "{used}: pieces of {size}");
        body.finish(None, 0).unwrap();
        drop(stream);
        let whole = block_on(reader.collect()).unwrap().to_bytes();
        assert_eq!(whole.len(), UNREAD_BYTES / size * size);
        drop(whole);
        assert_eq!(budget.used(), 0);
    }
}

#[test]
fn who_waits_for_what_cannot_come_is_told_at_once() {
    let ((_body, mut stream, _reader, handed_over), _) = body(None, 8 << 20);
    assert_eq!(stream.check_write().unwrap(), UNREAD_BYTES);
    stream.write(Bytes::from(vec![0; UNREAD_BYTES])).unwrap();
    // Nobody waited yet.
    assert_eq!(stream.check_write().unwrap(), CHUNK_BYTES);
    stream.write(Bytes::from(vec![0; CHUNK_BYTES])).unwrap();
    assert_eq!(stream.check_write().unwrap(), 0);
    block_on(stream.ready());
    let Err(StreamError::LastOperationFailed(reason)) = stream.check_write() else {
        panic!("it waits");
    };
    assert!(
        reason.to_string().contains("response-outparam.set"),
        "{reason}"
    );
    // Handed over after all.
    handed_over.done();
    assert_eq!(stream.check_write().unwrap(), 0);
}

#[test]
fn a_writer_is_slowed_down_to_its_readers_pace() {
    block_on(async {
        let ((body, mut stream, mut reader, handed_over), budget) = body(None, 8 << 20);
        handed_over.done();
        for _ in 0..2 {
            assert_eq!(stream.check_write().unwrap(), CHUNK_BYTES);
            stream.write(Bytes::from(vec![0; CHUNK_BYTES])).unwrap();
        }
        assert_eq!(stream.check_write().unwrap(), 0);
        assert!(poll_once(stream.ready()).await.is_none());
        let piece = reader.frame().await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(piece.len(), CHUNK_BYTES);
        stream.ready().await;
        // What its reader has is charged until it is dropped.
        let used = budget.used();
        drop(piece);
        assert_eq!(budget.used(), used - CHUNK_BYTES - PIECE_BYTES);
        drop(reader);
        assert!(matches!(stream.check_write(), Err(StreamError::Closed)));
        drop((body, stream));
        assert_eq!(budget.used(), 0);
    });
}

#[test]
fn what_there_is_no_memory_for_ends_the_plugin_and_not_the_budget() {
    let ((_body, mut stream, _reader, _), budget) = body(None, 256 << 10);
    let refused = (0..1024).find_map(|_| write(&mut stream, 4096).err());
    let Some(StreamError::Trap(error)) = refused else {
        panic!("{refused:?}");
    };
    assert!(error.downcast_ref::<NoMemory>().unwrap().is_busy);
    assert!(budget.used() <= 256 << 10);
}

#[test]
fn the_end_tells_whether_the_body_is_whole() {
    block_on(async {
        let ((given_up, _, mut reader, _), _) = body(None, 1 << 20);
        given_up.give_up();
        assert!(reader.frame().await.unwrap().is_err());
        assert!(reader.frame().await.is_none());

        let ((short, _, mut reader, _), _) = body(Some(3), 1 << 20);
        assert!(matches!(
            short.finish(None, 0),
            Err(ErrorCode::HttpResponseBodySize(Some(0)))
        ));
        assert!(reader.frame().await.unwrap().is_err());

        let ((long, mut stream, _reader, _), _) = body(Some(3), 1 << 20);
        let error = write(&mut stream, 4).unwrap_err();
        assert!(matches!(error, StreamError::LastOperationFailed(_)));
        drop(long);

        let ((with_trailers, _, mut reader, _), budget) = body(None, 1 << 20);
        let mut trailers = HeaderMap::new();
        trailers.insert("x-sum", "1".parse().unwrap());
        with_trailers.finish(Some(trailers), 1000).unwrap();
        assert!(reader.frame().await.unwrap().unwrap().is_trailers());
        assert!(reader.frame().await.is_none());
        drop(reader);
        assert_eq!(budget.used(), 0);

        // Left by an instance that has ended, or that was kept and works for others.
        let ((left, _, mut reader, handed_over), _) = body(None, 1 << 20);
        assert!(poll_once(reader.frame()).await.is_none());
        handed_over.leave();
        assert!(reader.frame().await.is_none());
        drop(left);
    });
}
