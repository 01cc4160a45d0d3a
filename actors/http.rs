//! The HTTP interface, for curl and scripts, on the clients' address.

use std::sync::Arc;
use std::time::Duration;

use actix_web::http::header::{CONTENT_TYPE, RETRY_AFTER};
use actix_web::{HttpRequest, HttpResponse, web};
use bytes::Bytes;
use quorate_core::kv::{Command, WriteOp};
use quorate_core::types::Index;
use quorate_core::wire::client::{ErrorCode, Failure, Op, Status, Success};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::timeout;

use crate::client_session::Shared;
use crate::messages::{Proposal, Propose, Query, Question};
use crate::reply::{Outcome, Reply};
use crate::settings::{ProcessUse, Settings};
use crate::space;

mod answers;
mod backup;
mod keys;
mod params;
mod sessions;

use answers::respond;

/// What the handlers share.
#[derive(Clone)]
pub struct Web {
    /// The actors and limits.
    pub shared: Shared,
    /// Permits for requests that wait for an answer.
    pub permits: Arc<Semaphore>,
    /// Permits for downloads of the whole state.
    pub backups: Arc<Semaphore>,
    /// How many bytes of keys and values a page holds.
    pub range_page_bytes: usize,
    /// Whether `/metrics` answers.
    pub metrics: bool,
    /// Tells what the process has used.
    pub process: fn() -> ProcessUse,
}

/// A request that is not answered within this time is unknown.
const ANSWER_TIME: Duration = Duration::from_secs(10);

/// The right to wait for an answer; returns itself.
type Permit = OwnedSemaphorePermit;

/// What answers also where too many connections stand: a crowd is no reason to restart a node.
pub const HEALTH: [&str; 4] = ["/healthz", "/readyz", "/metrics", "/v1/status"];

type Answer = Result<HttpResponse, Failure>;

/// The routes; those for keys where `http.enabled` says so.
pub fn routes(config: &mut web::ServiceConfig, keys: bool) {
    config
        .route("/healthz", web::get().to(|| async { HttpResponse::Ok().body("ok\n") }))
        .route("/readyz", web::get().to(readyz))
        .route("/metrics", web::get().to(metrics))
        .route("/v1/status", web::get().to(status))
        .route("/v1/session", web::post().to(sessions::open))
        .route("/v1/backup", web::get().to(backup::backup));
    if keys {
        key_routes(config);
    }
}

fn key_routes(config: &mut web::ServiceConfig) {
    config
        .route("/v1/kv", web::get().to(keys::list))
        .route("/v1/kv/{key:.*}", web::get().to(keys::get))
        .route("/v1/kv/{key:.*}", web::put().to(keys::put))
        .route("/v1/kv/{key:.*}", web::post().to(keys::post))
        .route("/v1/kv/{key:.*}", web::delete().to(keys::delete));
}

impl Web {
    /// What the handlers of a node share.
    #[must_use]
    pub fn new(shared: Shared, settings: &Settings) -> Self {
        Self {
            shared,
            permits: Arc::new(Semaphore::new(settings.queues.http_requests)),
            backups: Arc::new(Semaphore::new(backup::MOST)),
            range_page_bytes: settings.queues.range_page_bytes,
            metrics: settings.metrics,
            process: settings.process,
        }
    }

    /// One of the requests that may wait at a time: to be taken before anything of it is held,
    /// and kept until it is answered.
    fn permit(&self) -> Result<Permit, Failure> {
        Arc::clone(&self.permits).try_acquire_owned().map_err(|_| {
            let text = "too many HTTP requests wait: nothing was done, retry after a pause";
            Failure::new(ErrorCode::Overloaded, text)
        })
    }

    /// Asks, and waits for the outcome within a time.
    async fn ask(&self, _: &Permit, send: impl FnOnce(Reply)) -> Result<Outcome, Failure> {
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

    async fn write(
        &self,
        permit: &Permit,
        request: &HttpRequest,
        op: &Op,
    ) -> Result<Success, Failure> {
        self.check_sizes(op)?;
        space::refusal(&self.shared.view).map_or(Ok(()), Err)?;
        let (session, id) = params::idempotency(request)?;
        let Some(op) = WriteOp::from_op(op) else {
            return Err(Failure::new(ErrorCode::Internal, "not a write"));
        };
        let value_bytes = self.shared.limits.value_bytes;
        let command = Command::Write { session, id, acked: 0, value_bytes, op };
        let outcome = self.propose(permit, &command).await?;
        outcome.result
    }

    async fn propose(&self, permit: &Permit, command: &Command) -> Result<Outcome, Failure> {
        let command = command.encode();
        self.ask(permit, |reply| {
            self.shared.raft.do_send(Propose(vec![Proposal { command, reply }]));
        })
        .await
    }

    /// Reads a request's body, within a bound and a time.
    async fn body(&self, _: &Permit, body: web::Payload) -> Result<Bytes, Failure> {
        let most = self.shared.limits.value_bytes;
        let limit = usize::try_from(most).unwrap_or(usize::MAX);
        let failed = |text| Failure::new(ErrorCode::BadRequest, text);
        match timeout(ANSWER_TIME, body.to_bytes_limited(limit)).await {
            Ok(Ok(Ok(bytes))) => Ok(bytes),
            Ok(Ok(Err(error))) => Err(failed(format!("the body cannot be read: {error}"))),
            Ok(Err(_)) => {
                let text = format!("the value is larger than the limit of {most} bytes");
                Err(Failure::new(ErrorCode::TooLarge, text))
            }
            Err(_) => Err(failed("the body did not arrive within 10 s".to_owned())),
        }
    }

    fn check_sizes(&self, op: &Op) -> Result<(), Failure> {
        let (key, value) = match op {
            Op::Put(put) => (&put.key, put.value.len()),
            Op::Append(append) => (&append.key, append.value.len()),
            Op::CompareAndSwap(swap) => (&swap.key, swap.value.as_ref().map_or(0, Bytes::len)),
            Op::Delete(delete) => (&delete.key, 0),
            Op::Get(get) => (&get.key, 0),
            Op::Hello(_)
            | Op::Ping
            | Op::Bye
            | Op::Increment(_)
            | Op::Status
            | Op::Members
            | Op::Admin(_) => return Ok(()),
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
        let permit = self.permit()?;
        let outcome = self
            .ask(&permit, |reply| {
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
        let text = web.shared.metrics.text(&status, (web.process)());
        HttpResponse::Ok()
            .insert_header((
                CONTENT_TYPE,
                "application/openmetrics-text; version=1.0.0; charset=utf-8",
            ))
            .body(text)
    });
    respond(&request, answer)
}
