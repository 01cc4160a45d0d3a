//! Sessions for programs that speak HTTP.

use actix_web::{HttpRequest, HttpResponse, web};
use quorate_core::kv::Command;
use serde_json::json;

use super::{Web, respond};

pub(super) async fn open(request: HttpRequest, web: web::Data<Web>) -> HttpResponse {
    let limits = &web.shared.limits;
    let command = Command::OpenSession {
        ttl_ms: limits.session_ttl_ms,
        window: limits.window,
        max_sessions: web.shared.max_sessions,
    };
    let answer = async {
        let outcome = web.propose(&web.permit()?, &command).await?;
        outcome.result?;
        let session = outcome.index;
        Ok(HttpResponse::Ok()
            .json(json!({"session": session, "session_ttl_ms": limits.session_ttl_ms})))
    };
    respond(&request, answer.await)
}
