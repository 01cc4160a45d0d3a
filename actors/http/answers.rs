//! What comes of a request, as HTTP says it.

use actix_web::http::StatusCode;
use actix_web::http::header::{LOCATION, RETRY_AFTER};
use actix_web::{HttpRequest, HttpResponse};
use quorate_core::wire::client::{ErrorCode, Failure};
use serde_json::json;

use super::Answer;

/// A failure as HTTP says it. A redirect keeps the request's path and query.
fn failed(request: &HttpRequest, failure: &Failure) -> HttpResponse {
    let status = match failure.code {
        ErrorCode::NotLeader if failure.leader.is_some() => StatusCode::TEMPORARY_REDIRECT,
        ErrorCode::NotLeader | ErrorCode::NoLeader | ErrorCode::Overloaded => {
            StatusCode::SERVICE_UNAVAILABLE
        }
        ErrorCode::UnknownOutcome | ErrorCode::Timeout => StatusCode::GATEWAY_TIMEOUT,
        ErrorCode::SessionExpired => StatusCode::GONE,
        ErrorCode::StaleRequest => StatusCode::CONFLICT,
        ErrorCode::BadRequest | ErrorCode::Compacted => StatusCode::BAD_REQUEST,
        ErrorCode::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        ErrorCode::Unauthenticated => StatusCode::UNAUTHORIZED,
        ErrorCode::PermissionDenied => StatusCode::FORBIDDEN,
        ErrorCode::NotFound => StatusCode::NOT_FOUND,
        ErrorCode::Unsupported => StatusCode::NOT_IMPLEMENTED,
        ErrorCode::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    };
    let mut response = HttpResponse::build(status);
    if status == StatusCode::TEMPORARY_REDIRECT
        && let Some(leader) = &failure.leader
    {
        response.insert_header((LOCATION, format!("http://{}{}", leader.address, request.uri())));
    }
    if status == StatusCode::SERVICE_UNAVAILABLE {
        response.insert_header((RETRY_AFTER, "1"));
    }
    let mut body = json!({"code": failure.code.as_str(), "message": failure.message});
    if let (Some(leader), Some(map)) = (&failure.leader, body.as_object_mut()) {
        map.insert("leader".into(), json!(leader));
    }
    response.json(body)
}

pub(super) fn respond(request: &HttpRequest, answer: Answer) -> HttpResponse {
    answer.unwrap_or_else(|failure| failed(request, &failure))
}
