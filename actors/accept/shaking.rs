//! A handshake's messages, as the accepting side sends and hears them.

use actix_ws::{AggregatedMessage, AggregatedMessageStream, Session};
use futures_util::StreamExt;
use quorate_core::wire::peer::{
    Handshake, Refused, RefusedWhy, decode_handshake, encode_handshake,
};

use crate::handshake::refused;

pub(super) async fn say(session: &mut Session, message: &Handshake) -> Result<(), Refused> {
    let sent = session.binary(encode_handshake(message)).await;
    sent.map_err(|closed| refused(RefusedWhy::Malformed, closed.to_string()))
}

pub(super) async fn hear(stream: &mut AggregatedMessageStream) -> Result<Handshake, Refused> {
    let malformed = |what: String| refused(RefusedWhy::Malformed, what);
    loop {
        match stream.next().await {
            Some(Ok(AggregatedMessage::Binary(bytes))) => {
                return decode_handshake(&bytes).map_err(malformed);
            }
            Some(Ok(AggregatedMessage::Ping(_) | AggregatedMessage::Pong(_))) => {}
            Some(Ok(_)) => return Err(malformed("not a handshake".to_owned())),
            Some(Err(error)) => return Err(malformed(error.to_string())),
            None => return Err(malformed("closed during the handshake".to_owned())),
        }
    }
}
