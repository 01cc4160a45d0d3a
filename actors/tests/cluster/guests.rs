//! Peers that are no members: let in, because who they are may be known here later than there,
//! and bounded, because anyone who reaches the peer address can claim to be one.

#![expect(clippy::unwrap_used, reason = "tests")]

use quorate_actors::handshake::{nonce, prove};
use quorate_core::types::NodeId;
use quorate_core::wire::peer::{
    Handshake, PROTOCOL_VERSION, PeerHello, Prover, RAFT_PATH, decode_handshake, encode_handshake,
};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use super::support::{Node, SECRET};
use super::*;

type Guest = WebSocketStream<MaybeTlsStream<TcpStream>>;

async fn hear(guest: &mut Guest) -> Handshake {
    match guest.next().await {
        Some(Ok(Message::Binary(bytes))) => decode_handshake(&bytes).unwrap(),
        other => panic!("{other:?}"),
    }
}

/// Introduces a guest that is reached at that address; why it is refused.
async fn introduce(node: &Node, from: u64, address: &str) -> Result<Guest, String> {
    let url = format!("ws://{}{RAFT_PATH}", node.peer);
    let (mut guest, _) = connect_async(url).await.unwrap();
    let hello = PeerHello {
        version: PROTOCOL_VERSION,
        cluster: "test".to_owned(),
        cluster_id: 7,
        from: NodeId(from),
        to: NodeId(1),
        incarnation: from,
        added: Default::default(),
        election_timeout_ms: 500,
        address: address.to_owned(),
        nonce: nonce(),
    };
    let say = |message: &Handshake| Message::Binary(encode_handshake(message));
    guest.send(say(&Handshake::Hello(hello.clone()))).await.unwrap();
    let challenge = match hear(&mut guest).await {
        Handshake::Challenge(challenge) => challenge,
        Handshake::Refused(refused) => return Err(refused.reason),
        other => panic!("{other:?}"),
    };
    let proof = prove(Some(SECRET), Prover::Dialler, &hello, &challenge);
    guest.send(say(&Handshake::Proof(proof))).await.unwrap();
    assert!(matches!(hear(&mut guest).await, Handshake::Welcome));
    Ok(guest)
}

async fn is_dialled(listener: &TcpListener, within: Duration) -> bool {
    timeout(within, listener.accept()).await.is_ok()
}

#[tokio::test]
async fn a_guest_is_dialled_for_as_long_as_it_is_connected() {
    let nodes = cluster(1);
    let (_socket, _) = at_leader(&nodes).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let first = introduce(&nodes[0], 9, &address).await.unwrap();
    let second = introduce(&nodes[0], 9, &address).await.unwrap();
    drop(first);
    for _ in 0..5 {
        assert!(is_dialled(&listener, Duration::from_secs(5)).await, "it has a connection left");
    }
    drop(second);
    // Attempts are less than a second apart.
    for _ in 0..10 {
        if !is_dialled(&listener, Duration::from_secs(2)).await {
            return;
        }
    }
    panic!("dialled for ever");
}

#[tokio::test]
async fn no_more_than_sixteen_guests_are_dialled_and_none_of_an_id_that_cannot_be() {
    let nodes = cluster(1);
    let (_socket, _) = at_leader(&nodes).await;
    let mut guests = Vec::new();
    for id in 10..26 {
        guests.push(introduce(&nodes[0], id, "127.0.0.1:9").await.unwrap());
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let one_more = introduce(&nodes[0], 26, &address).await.unwrap();
    assert!(!is_dialled(&listener, Duration::from_secs(1)).await, "a seventeenth is dialled");
    drop(one_more);
    drop(guests.pop());
    let mut dialled = false;
    for _ in 0..50 {
        let _again = introduce(&nodes[0], 26, &address).await.unwrap();
        dialled = is_dialled(&listener, Duration::from_millis(200)).await;
        if dialled {
            break;
        }
    }
    assert!(dialled, "there is room again");
    for id in [0, 65_536] {
        let refused = introduce(&nodes[0], id, &address).await.unwrap_err();
        assert!(refused.contains("node ids are 1 to 65535"), "{refused}");
    }
}
