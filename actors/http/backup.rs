//! The whole state over HTTP.

use actix_web::http::header::CONTENT_TYPE;
use actix_web::{HttpRequest, HttpResponse, web};
use quorate_core::kv::backup::Writer;
use quorate_core::wire::client::{ErrorCode, Failure};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::{ANSWER_TIME, Web, respond};
use crate::messages::{Question, Read};

/// The state of this node as of now, as a backup file.
pub(super) async fn backup(request: HttpRequest, web: web::Data<Web>) -> HttpResponse {
    let _permit = match web.permit() {
        Ok(permit) => permit,
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
    let pieces = futures_util::stream::iter(pieces.map(Ok::<_, actix_web::Error>));
    HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "application/octet-stream"))
        .insert_header(("Content-Disposition", "attachment; filename=\"quorate.backup\""))
        .streaming(pieces)
}
