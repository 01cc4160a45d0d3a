//! The HTTP interface, for curl and scripts, on the clients' address.

use std::sync::Arc;
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::http::header::{CONTENT_TYPE, LOCATION, RETRY_AFTER};
use actix_web::{HttpRequest, HttpResponse, web};
use bytes::Bytes;
use quorate_core::kv::{Command, WriteOp};
use quorate_core::types::Index;
use quorate_core::wire::client::{
    Append, CompareAndSwap, Consistency, Delete, ErrorCode, Expect, Failure, Get, KeyValue, Op,
    Put, Status, Success,
};
use serde_json::{Value, json};
use tokio::sync::{Semaphore, oneshot};
use tokio::time::timeout;

use crate::client_session::Shared;
use crate::messages::{Proposal, Propose, Query, Question, Read};
use crate::reply::{Outcome, Reply};

mod params;

use params::{Params, key_of, text_or_base64};

/// What the handlers share.
#[derive(Clone)]
pub struct Web {
    /// The actors and limits.
    pub shared: Shared,
    /// Permits for requests that wait for an answer.
    pub permits: Arc<Semaphore>,
    /// Whether `/metrics` answers.
    pub metrics: bool,
}

/// A request that is not answered within this time is unknown.
const ANSWER_TIME: Duration = Duration::from_secs(10);
const MOST_LISTED: usize = 10_000;
const USUALLY_LISTED: usize = 1_000;

type Answer = Result<HttpResponse, Failure>;

/// The routes; those for keys where `http.enabled` says so.
pub fn routes(config: &mut web::ServiceConfig, keys: bool) {
    config
        .route("/healthz", web::get().to(|| async { HttpResponse::Ok().body("ok\n") }))
        .route("/readyz", web::get().to(readyz))
        .route("/metrics", web::get().to(metrics))
        .route("/v1/status", web::get().to(status))
        .route("/v1/session", web::post().to(open_session));
    if keys {
        key_routes(config);
    }
}

fn key_routes(config: &mut web::ServiceConfig) {
    config
        .route("/v1/kv", web::get().to(list))
        .route("/v1/kv/{key:.*}", web::get().to(get))
        .route("/v1/kv/{key:.*}", web::put().to(put))
        .route("/v1/kv/{key:.*}", web::post().to(post))
        .route("/v1/kv/{key:.*}", web::delete().to(delete));
}

impl Web {
    /// Asks, and waits for the outcome within a time and a bound on how many wait.
    async fn ask(&self, send: impl FnOnce(Reply)) -> Result<Outcome, Failure> {
        let Ok(_permit) = self.permits.try_acquire() else {
            let text = "too many HTTP requests wait: nothing was done, retry after a pause";
            return Err(Failure::new(ErrorCode::Overloaded, text));
        };
        let (sender, answer) = oneshot::channel();
        send(Reply::once(sender));
        match timeout(ANSWER_TIME, answer).await {
            Ok(Ok(outcome)) => Ok(outcome),
            Ok(Err(_)) | Err(_) => {
                let text = "no outcome within 10 s: the write may yet be executed";
                Err(Failure::new(ErrorCode::Timeout, text))
            }
        }
    }

    async fn write(&self, request: &HttpRequest, op: &Op) -> Result<Success, Failure> {
        self.check_sizes(op)?;
        let (session, id) = params::idempotency(request)?;
        let Some(op) = WriteOp::from_op(op) else {
            return Err(Failure::new(ErrorCode::Internal, "not a write"));
        };
        let value_bytes = self.shared.limits.value_bytes;
        let command = Command::Write { session, id, acked: 0, value_bytes, op };
        let outcome = self.propose(&command).await?;
        outcome.result
    }

    async fn propose(&self, command: &Command) -> Result<Outcome, Failure> {
        let command = command.encode();
        self.ask(|reply| {
            self.shared.raft.do_send(Propose(vec![Proposal { command, reply }]));
        })
        .await
    }

    fn check_sizes(&self, op: &Op) -> Result<(), Failure> {
        let (key, value) = match op {
            Op::Put(put) => (&put.key, put.value.len()),
            Op::Append(append) => (&append.key, append.value.len()),
            Op::CompareAndSwap(swap) => (&swap.key, swap.value.as_ref().map_or(0, Bytes::len)),
            Op::Delete(delete) => (&delete.key, 0),
            Op::Get(get) => (&get.key, 0),
            Op::Hello(_) | Op::Ping | Op::Bye | Op::Increment(_) | Op::Status | Op::Members => {
                return Ok(());
            }
        };
        let limits = &self.shared.limits;
        if key.is_empty() {
            return Err(Failure::new(
                ErrorCode::BadRequest,
                "the key is empty; it has at least 1 byte",
            ));
        }
        for (what, size, limit) in
            [("key", key.len(), limits.key_bytes), ("value", value, limits.value_bytes)]
        {
            if size as u64 > limit {
                let text = format!("the {what} is {size} bytes, the limit is {limit}");
                return Err(Failure::new(ErrorCode::TooLarge, text));
            }
        }
        Ok(())
    }

    async fn status(&self) -> Result<Status, Failure> {
        let outcome = self
            .ask(|reply| {
                let question = Question::Status { reply };
                self.shared.state_machine.do_send(Query(vec![(Index(0), question)]));
            })
            .await?;
        match outcome.result? {
            Success::Status(status) => Ok(*status),
            _ => Err(Failure::new(ErrorCode::Internal, "status gave something else")),
        }
    }
}

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

fn respond(request: &HttpRequest, answer: Answer) -> HttpResponse {
    answer.unwrap_or_else(|failure| failed(request, &failure))
}

async fn get(request: HttpRequest, web: web::Data<Web>) -> HttpResponse {
    let answer = get_key(&request, &web).await;
    respond(&request, answer)
}

async fn get_key(request: &HttpRequest, web: &Web) -> Answer {
    let params = Params::of(request)?;
    let key = key_of(request)?;
    let consistency = params.consistency()?;
    if params.number("revision")?.unwrap_or(0) != 0 {
        let text = "reading at a past revision is not in this version: leave `revision` out";
        return Err(Failure::new(ErrorCode::Unsupported, text));
    }
    let get = Get { key, consistency, ..Get::default() };
    web.check_sizes(&Op::Get(get.clone()))?;
    let outcome = web
        .ask(|reply| {
            let question = Question::Get { get, reply };
            if consistency == Consistency::Stale {
                web.shared.state_machine.do_send(Query(vec![(Index(0), question)]));
            } else {
                web.shared.raft.do_send(Read(vec![question]));
            }
        })
        .await?;
    let Success::Get { revision, index, entry } = outcome.result? else {
        return Err(Failure::new(ErrorCode::Internal, "get gave something else"));
    };
    let mut response = match &entry {
        Some(_) => HttpResponse::Ok(),
        None => HttpResponse::NotFound(),
    };
    response.insert_header(("X-Revision", revision.to_string()));
    response.insert_header(("X-Index", index.to_string()));
    let Some(entry) = entry else {
        let text = "no such key";
        return Ok(
            response.json(json!({"code": "not_found", "message": text, "revision": revision}))
        );
    };
    response.insert_header(("X-Mod-Revision", entry.mod_revision.to_string()));
    response.insert_header(("X-Create-Revision", entry.create_revision.to_string()));
    response.insert_header(("X-Version", entry.version.to_string()));
    response.insert_header((CONTENT_TYPE, "application/octet-stream"));
    Ok(response.body(entry.value))
}

async fn put(request: HttpRequest, web: web::Data<Web>, body: Bytes) -> HttpResponse {
    let answer = put_key(&request, &web, body).await;
    respond(&request, answer)
}

async fn put_key(request: &HttpRequest, web: &Web, value: Bytes) -> Answer {
    let params = Params::of(request)?;
    let key = key_of(request)?;
    if params.number("lease")?.unwrap_or(0) != 0 {
        let text = "leases are not in this version: leave `lease` out";
        return Err(Failure::new(ErrorCode::Unsupported, text));
    }
    let op = match params.number("if_mod_revision")? {
        None => Op::Put(Put { key, value, ..Put::default() }),
        Some(revision) => Op::CompareAndSwap(CompareAndSwap {
            key,
            expect: Expect::ModRevision(revision),
            value: Some(value),
        }),
    };
    match web.write(request, &op).await? {
        Success::Put { revision, index, .. }
        | Success::CompareAndSwap { swapped: true, revision, index, .. } => {
            Ok(HttpResponse::Ok().json(json!({"revision": revision, "index": index})))
        }
        Success::CompareAndSwap { revision, index, entry, .. } => {
            let found = entry.map_or(0, |entry| entry.mod_revision);
            let text = format!("the key's mod_revision is {found}; nothing was changed");
            Ok(HttpResponse::PreconditionFailed().json(json!({
                "code": "condition_false", "message": text, "mod_revision": found,
                "revision": revision, "index": index,
            })))
        }
        _ => Err(Failure::new(ErrorCode::Internal, "put gave something else")),
    }
}

async fn post(request: HttpRequest, web: web::Data<Web>, body: Bytes) -> HttpResponse {
    let answer = post_key(&request, &web, body).await;
    respond(&request, answer)
}

async fn post_key(request: &HttpRequest, web: &Web, value: Bytes) -> Answer {
    let params = Params::of(request)?;
    if params.text("op") != Some("append") {
        let text = "POST wants ?op=append; use PUT to set a key";
        return Err(Failure::new(ErrorCode::BadRequest, text));
    }
    let op = Op::Append(Append { key: key_of(request)?, value });
    match web.write(request, &op).await? {
        Success::Append { revision, index, length } => Ok(HttpResponse::Ok()
            .json(json!({"revision": revision, "index": index, "length": length}))),
        _ => Err(Failure::new(ErrorCode::Internal, "append gave something else")),
    }
}

async fn delete(request: HttpRequest, web: web::Data<Web>) -> HttpResponse {
    let answer = delete_key(&request, &web).await;
    respond(&request, answer)
}

async fn delete_key(request: &HttpRequest, web: &Web) -> Answer {
    let op = Op::Delete(Delete { key: key_of(request)?, return_previous: false });
    match web.write(request, &op).await? {
        Success::Delete { revision, index, deleted, .. } => Ok(HttpResponse::Ok()
            .json(json!({"revision": revision, "index": index, "deleted": deleted}))),
        _ => Err(Failure::new(ErrorCode::Internal, "delete gave something else")),
    }
}

async fn list(request: HttpRequest, web: web::Data<Web>) -> HttpResponse {
    let answer = list_keys(&request, &web).await;
    respond(&request, answer)
}

async fn list_keys(request: &HttpRequest, web: &Web) -> Answer {
    let params = Params::of(request)?;
    let limit = params.number("limit")?.map_or(USUALLY_LISTED, |limit| {
        usize::try_from(limit).unwrap_or(MOST_LISTED).min(MOST_LISTED)
    });
    let (sender, answer) = oneshot::channel();
    let question = Question::List {
        prefix: params.bytes("prefix").unwrap_or_default(),
        after: params.bytes("after"),
        limit,
        reply: sender,
    };
    if params.consistency()? == Consistency::Stale {
        web.shared.state_machine.do_send(Query(vec![(Index(0), question)]));
    } else {
        web.shared.raft.do_send(Read(vec![question]));
    }
    let listing = match timeout(ANSWER_TIME, answer).await {
        Ok(Ok(listing)) => listing?,
        Ok(Err(_)) | Err(_) => {
            return Err(Failure::new(ErrorCode::Timeout, "no answer within 10 s"));
        }
    };
    let entries: Vec<Value> = listing.entries.iter().map(entry_json).collect();
    Ok(HttpResponse::Ok().json(json!({
        "revision": listing.revision, "index": listing.index, "entries": entries,
        "more": listing.more,
    })))
}

fn entry_json(entry: &KeyValue) -> Value {
    let mut row = serde_json::Map::new();
    text_or_base64(&mut row, "key", &entry.key);
    text_or_base64(&mut row, "value", &entry.value);
    row.insert("create_revision".into(), entry.create_revision.into());
    row.insert("mod_revision".into(), entry.mod_revision.into());
    row.insert("version".into(), entry.version.into());
    row.into()
}

async fn open_session(request: HttpRequest, web: web::Data<Web>) -> HttpResponse {
    let limits = &web.shared.limits;
    let command = Command::OpenSession {
        ttl_ms: limits.session_ttl_ms,
        window: limits.window,
        max_sessions: web.shared.max_sessions,
    };
    let answer = web.propose(&command).await.and_then(|outcome| {
        outcome.result?;
        let session = outcome.index;
        Ok(HttpResponse::Ok()
            .json(json!({"session": session, "session_ttl_ms": limits.session_ttl_ms})))
    });
    respond(&request, answer)
}

async fn status(request: HttpRequest, web: web::Data<Web>) -> HttpResponse {
    let answer = web.status().await.map(|status| HttpResponse::Ok().json(status));
    respond(&request, answer)
}

async fn readyz(web: web::Data<Web>) -> HttpResponse {
    match web.shared.view.not_ready() {
        None => HttpResponse::Ok().body("ready\n"),
        Some(why) => HttpResponse::ServiceUnavailable()
            .insert_header((RETRY_AFTER, "1"))
            .body(format!("not ready: {why}\n")),
    }
}

async fn metrics(request: HttpRequest, web: web::Data<Web>) -> HttpResponse {
    if !web.metrics {
        return HttpResponse::NotFound().body("metrics.enabled is false\n");
    }
    let answer = web.status().await.map(|status| {
        let text = web.shared.metrics.text(&status);
        HttpResponse::Ok()
            .insert_header((
                CONTENT_TYPE,
                "application/openmetrics-text; version=1.0.0; charset=utf-8",
            ))
            .body(text)
    });
    respond(&request, answer)
}
