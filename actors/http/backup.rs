//! The whole state over HTTP. A download holds its permits, and the state as it was, until its
//! last byte is out; one that is not taken ends, because its connection does.

use std::sync::Arc;

use actix_web::http::header::CONTENT_TYPE;
use actix_web::{HttpRequest, HttpResponse, web};
use quorate_core::kv::backup::Writer;
use quorate_core::wire::client::{ErrorCode, Failure};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::{ANSWER_TIME, Permit, Web, respond};
use crate::messages::{Question, Read};

/// How many downloads may go on at a time: each keeps a state of its own in memory.
pub(super) const MOST: usize = 2;

fn permits(web: &Web) -> Result<(Permit, Permit), Failure> {
    let permit = web.permit()?;
    match Arc::clone(&web.backups).try_acquire_owned() {
        Ok(download) => Ok((permit, download)),
        Err(_) => {
            let text =
                format!("{MOST} backups are being taken from this node: retry after a pause");
            Err(Failure::new(ErrorCode::Overloaded, text))
        }
    }
}

/// The state of this node as of now, as a backup file.
pub(super) async fn backup(request: HttpRequest, web: web::Data<Web>) -> HttpResponse {
    let permits = match permits(&web) {
        Ok(permits) => permits,
        Err(failure) => return respond(&request, Err(failure)),
    };
    let (sender, state) = oneshot::channel();
    // A read like any other: whatever was acknowledged before is in it, on a follower, too.
    web.shared.raft.do_send(Read(vec![Question::State { reply: sender }]));
    let state = match timeout(ANSWER_TIME, state).await {
        Ok(Ok(Ok(state))) => state,
        Ok(Ok(Err(failure))) => return respond(&request, Err(failure)),
        Ok(Err(_)) | Err(_) => {
            let text = "no state within 10 s";
            return respond(&request, Err(Failure::new(ErrorCode::Timeout, text)));
        }
    };
    let view = &web.shared.view;
    let pieces = Writer::new(state, view.cluster(), view.cluster_id(), view.version());
    let pieces = pieces.map(move |piece| {
        let _held = &permits;
        Ok::<_, actix_web::Error>(piece)
    });
    let pieces = futures_util::stream::iter(pieces);
    HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "application/octet-stream"))
        .insert_header(("Content-Disposition", "attachment; filename=\"quorate.backup\""))
        .streaming(pieces)
}
