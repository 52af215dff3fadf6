//! Sessions whose deployment is gone, and peers that let them wait.

use std::future::pending;

use super::*;

/// Ends with the session. Fails where that waits for its peers, which are silent: it would not end sooner than
/// the first of its own times is up.
async fn ends_at_once(session: smol::Task<()>) {
    let ended = timeout::within(CLOSING, session).await;
    assert!(ended.is_some(), "it waits for somebody");
}

#[test]
fn a_peer_that_does_not_answer_a_close_holds_nothing_up() {
    smol::block_on(async {
        let (mut session, mut upstream) = between(Some(guide())).await;
        session.stop.close();
        for peer in [&mut session.client, &mut upstream] {
            let close = peer.next().await.unwrap();
            assert_eq!(close.kind, Kind::Close);
            assert_eq!(close.data[..2], 1001_u16.to_be_bytes());
        }
        session.cut.close();
        ends_at_once(session.task).await;
    });
}

#[test]
fn work_on_a_message_is_given_up_and_its_client_told() {
    /// Never done with a message.
    struct Endless(Sender<()>);
    impl MessageHandler for Endless {
        fn client_message(&self, _: Message) -> HandlerFuture<'_> {
            Box::pin(async {
                self.0.send(()).await.unwrap();
                pending().await
            })
        }

        fn upstream_message(&self, _: Message) -> HandlerFuture<'_> {
            Box::pin(pending())
        }
    }
    smol::block_on(async {
        let (begun, begins) = bounded(1);
        let handler = Box::new(Endless(begun));
        let pair = Peer::pair(Side::Client).await;
        let mut session = start_with(pair, None, Some(handler), limits());
        session.client.send(Kind::Text, b"for ever").await;
        begins.recv().await.unwrap();
        session.cut.close();
        let close = session.client.next().await.unwrap();
        assert_eq!(close.data[..2], 1001_u16.to_be_bytes(), "{close:?}");
        ends_at_once(session.task).await;
        assert_eq!(session.budget.used(), 0);
    });
}
