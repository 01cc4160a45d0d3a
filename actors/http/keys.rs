//! Keys over HTTP: read, write, append, remove, list.

use actix_web::http::header::CONTENT_TYPE;
use actix_web::{HttpRequest, HttpResponse, web};
use quorate_core::kv::Page;
use quorate_core::types::Index;
use quorate_core::wire::client::{
    Append, CompareAndSwap, Consistency, Delete, ErrorCode, Expect, Failure, Get, KeyValue, Op,
    Put, Success,
};
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::params::{Params, key_of, text_or_base64};
use super::{ANSWER_TIME, Answer, Web, respond};
use crate::age::Way;
use crate::messages::{Query, Question, Read};
use crate::outbound;

const MOST_LISTED: usize = 10_000;
const USUALLY_LISTED: usize = 1_000;

pub(super) async fn get(request: HttpRequest, web: web::Data<Web>) -> HttpResponse {
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
    let way = way(&params, web)?;
    let min_revision = params.number("min_revision")?.unwrap_or(0);
    let get = Get { key, consistency, min_revision, ..Get::default() };
    web.check_sizes(&Op::Get(get.clone()))?;
    let permit = web.permit()?;
    let outcome = web
        .ask(&permit, |reply| {
            let asked = (way == Way::Confirmed).then(|| web.shared.view.clock.now());
            send(web, way, Question::Get { get, asked, reply });
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

/// Where a read is answered that is asked for so. Scripts follow a redirect to the leader; a
/// session may read here through it.
fn way(params: &Params, web: &Web) -> Result<Way, Failure> {
    let (view, max_age_ms) = (&web.shared.view, params.number("max_age_ms")?);
    let way = match params.consistency()? {
        Consistency::Stale => view.way(max_age_ms),
        Consistency::Linearizable | Consistency::Lease => {
            for name in ["max_age_ms", "min_revision"] {
                if params.text(name).is_some() {
                    let text = format!("`{name}` needs consistency=stale");
                    return Err(Failure::new(ErrorCode::BadRequest, text));
                }
            }
            if view.leads() { Way::Confirmed } else { Way::Elsewhere }
        }
    };
    if way == Way::Elsewhere { Err(outbound::not_leader(view)) } else { Ok(way) }
}

fn send(web: &Web, way: Way, question: Question) {
    match way {
        Way::Here => web.shared.state_machine.do_send(Query(vec![(Index(0), question)])),
        Way::Confirmed | Way::Elsewhere => web.shared.raft.do_send(Read(vec![question])),
    }
}

pub(super) async fn put(
    request: HttpRequest,
    web: web::Data<Web>,
    body: web::Payload,
) -> HttpResponse {
    let answer = put_key(&request, &web, body).await;
    respond(&request, answer)
}

async fn put_key(request: &HttpRequest, web: &Web, body: web::Payload) -> Answer {
    let permit = web.permit()?;
    let value = web.body(&permit, body).await?;
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
    match web.write(&permit, request, &op).await? {
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

pub(super) async fn post(
    request: HttpRequest,
    web: web::Data<Web>,
    body: web::Payload,
) -> HttpResponse {
    let answer = post_key(&request, &web, body).await;
    respond(&request, answer)
}

async fn post_key(request: &HttpRequest, web: &Web, body: web::Payload) -> Answer {
    let permit = web.permit()?;
    let value = web.body(&permit, body).await?;
    let params = Params::of(request)?;
    if params.text("op") != Some("append") {
        let text = "POST wants ?op=append; use PUT to set a key";
        return Err(Failure::new(ErrorCode::BadRequest, text));
    }
    let op = Op::Append(Append { key: key_of(request)?, value });
    match web.write(&permit, request, &op).await? {
        Success::Append { revision, index, length } => Ok(HttpResponse::Ok()
            .json(json!({"revision": revision, "index": index, "length": length}))),
        _ => Err(Failure::new(ErrorCode::Internal, "append gave something else")),
    }
}

pub(super) async fn delete(request: HttpRequest, web: web::Data<Web>) -> HttpResponse {
    let answer = delete_key(&request, &web).await;
    respond(&request, answer)
}

async fn delete_key(request: &HttpRequest, web: &Web) -> Answer {
    let permit = web.permit()?;
    let op = Op::Delete(Delete { key: key_of(request)?, return_previous: false });
    match web.write(&permit, request, &op).await? {
        Success::Delete { revision, index, deleted, .. } => Ok(HttpResponse::Ok()
            .json(json!({"revision": revision, "index": index, "deleted": deleted}))),
        _ => Err(Failure::new(ErrorCode::Internal, "delete gave something else")),
    }
}

pub(super) async fn list(request: HttpRequest, web: web::Data<Web>) -> HttpResponse {
    let answer = list_keys(&request, &web).await;
    respond(&request, answer)
}

async fn list_keys(request: &HttpRequest, web: &Web) -> Answer {
    let params = Params::of(request)?;
    let entries = params.number("limit")?.map_or(USUALLY_LISTED, |limit| {
        usize::try_from(limit).unwrap_or(MOST_LISTED).min(MOST_LISTED)
    });
    let _permit = web.permit()?;
    let (sender, answer) = oneshot::channel();
    let question = Question::List {
        prefix: params.bytes("prefix").unwrap_or_default(),
        after: params.bytes("after"),
        page: Page { entries, bytes: web.range_page_bytes },
        reply: sender,
    };
    send(web, way(&params, web)?, question);
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
