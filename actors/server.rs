//! The web server: the clients' address and the peers' address, on the node's one thread.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use actix::prelude::*;
use actix_web::dev::ServiceRequest;
use actix_web::http::header::{ORIGIN, RETRY_AFTER};
use actix_web::{HttpRequest, HttpResponse, web};
use quorate_core::wire::client::SESSION_PATH;
use quorate_core::wire::peer::{RAFT_PATH, SNAPSHOT_PATH};
use tokio::sync::mpsc;

use crate::accept::{self, Acceptor};
use crate::client_session::{ClientSessionActor, Shared};
use crate::guard::{Arriving, FrameLimit, guarded};
use crate::http::{self, Web};
use crate::lines::Line;
use crate::messages::Close;
use crate::origin;
use crate::outbox::Outbox;
use crate::session_io::{self, Gate};
use crate::settings::Settings;

/// The connections of clients that stand.
#[derive(Clone, Default)]
pub struct Connections(Arc<Mutex<Open>>);

#[derive(Default)]
struct Open {
    next: u64,
    sessions: BTreeMap<u64, (Option<IpAddr>, Addr<ClientSessionActor>)>,
}

impl Connections {
    fn open(&self) -> MutexGuard<'_, Open> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts the session of a connection, which counts until its slot is dropped.
    fn add(
        &self,
        from: Option<IpAddr>,
        start: impl FnOnce(u64) -> Addr<ClientSessionActor>,
    ) -> (Rc<Slot>, Addr<ClientSessionActor>) {
        let mut open = self.open();
        open.next += 1;
        let number = open.next;
        let session = start(number);
        open.sessions.insert(number, (from, session.clone()));
        log::debug!("client: connection {number} from {from:?}");
        (Rc::new(Slot { connections: self.clone(), number }), session)
    }

    /// Why no further connection is taken from there; `None` where one is.
    fn refusal(&self, from: Option<IpAddr>, settings: &Settings) -> Option<String> {
        let open = self.open();
        let (total, most) = (open.sessions.len(), settings.queues.connections);
        if total >= most {
            return Some(format!("{total} connections are open, the limit is {most}"));
        }
        let here = open.sessions.values().filter(|(address, _)| *address == from).count();
        let most = settings.queues.connections_per_address;
        (here >= most).then(|| format!("{here} connections from your address, the limit is {most}"))
    }

    /// Ends them all.
    pub fn close_all(&self) {
        for (_, session) in self.open().sessions.values() {
            session.do_send(Close);
        }
    }
}

/// A connection's place among those that count: held by the tasks at its socket, because the
/// socket and its buffers last as long as they do.
struct Slot {
    connections: Connections,
    number: u64,
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.connections.open().sessions.remove(&self.number);
    }
}

/// What the server's handlers are made from.
#[derive(Clone)]
pub struct Parts {
    /// The node's settings.
    pub settings: Arc<Settings>,
    /// For clients.
    pub shared: Shared,
    /// For peers.
    pub acceptor: Acceptor,
    /// The connections of clients.
    pub connections: Connections,
    /// What they may have begun to send, all together.
    pub arriving: Arriving,
}

/// The routes of both listeners; [`refusal`] keeps each to its own.
pub fn configure(config: &mut web::ServiceConfig, parts: &Parts) {
    let settings = &parts.settings;
    let web = Web::new(parts.shared.clone(), settings);
    config
        .app_data(web::Data::new(parts.acceptor.clone()))
        .app_data(web::Data::new(web))
        .app_data(web::Data::new(parts.clone()))
        .route(RAFT_PATH, web::get().to(accept::upgrade))
        .route(SNAPSHOT_PATH, web::get().to(accept::upgrade_snapshot))
        .route(SESSION_PATH, web::get().to(upgrade))
        .configure(|config| http::routes(config, settings.web.http));
}

/// Before anything else: whether the request came in by the right address, and whether a
/// browser's page of elsewhere sent it. Peers have no business with pages at all.
pub fn refusal(parts: &Parts, peers: bool, request: &ServiceRequest) -> Option<HttpResponse> {
    if peers != [RAFT_PATH, SNAPSHOT_PATH].contains(&request.path()) {
        return Some(HttpResponse::NotFound().body("not found\n"));
    }
    let surplus = request.conn_data::<Line>().and_then(Line::surplus);
    if let Some(why) = surplus.filter(|_| !http::HEALTH.contains(&request.path())) {
        return Some(overloaded(&why));
    }
    if peers {
        let page = request.headers().contains_key(ORIGIN);
        return page.then(|| origin::forbidden("peers are not web pages"));
    }
    let clients = || parts.shared.view.members().into_iter().map(|member| member.client).collect();
    let why = origin::refusal(request.headers(), &parts.settings.web, clients);
    why.map(|why| origin::forbidden(&why))
}

/// The answer where too many connections stand; it ends this one.
fn overloaded(why: &str) -> HttpResponse {
    let body = serde_json::json!({"code": "overloaded", "message": why});
    let mut response = HttpResponse::ServiceUnavailable();
    response.insert_header((RETRY_AFTER, "1")).force_close().json(body)
}

/// `GET /v1/session`, the clients' websocket.
async fn upgrade(
    request: HttpRequest,
    body: web::Payload,
    parts: web::Data<Parts>,
) -> Result<HttpResponse, actix_web::Error> {
    let settings = &parts.settings;
    let from = request.peer_addr().map(|address| address.ip());
    if let Some(why) = parts.connections.refusal(from, settings) {
        return Ok(overloaded(&why));
    }
    let most = client_message_bytes(settings);
    let limit = FrameLimit::among(most, parts.arriving.clone());
    let body = guarded(&request, body, limit.clone()).await?;
    let (response, socket, stream) = actix_ws::handle(&request, body)?;
    let stream = stream.max_frame_size(most).aggregate_continuations().max_continuation_size(most);
    let (outgoing, out) = mpsc::unbounded_channel();
    let (pongs, pong_queue) = mpsc::channel(session_io::PONGS);
    let gate = Gate::default();
    let (slot, session) = parts.connections.add(from, |number| {
        ClientSessionActor::new(number, parts.shared.clone(), gate.clone(), outgoing).start()
    });
    let (outbox, patience) = (Outbox::default(), settings.queues.client_patience);
    let response = outbox.watch(response);
    let reading = session_io::read(stream, gate, limit, pongs, session.clone());
    let writing = session_io::write(socket, out, pong_queue, outbox, patience, session);
    let held = Rc::clone(&slot);
    actix_rt::spawn(async move { (reading.await, drop(held)) });
    actix_rt::spawn(async move { (writing.await, drop(slot)) });
    Ok(response)
}

/// A message may pack several requests, so it may be longer than one.
fn client_message_bytes(settings: &Settings) -> usize {
    usize::try_from(settings.limits.request_bytes).unwrap_or(usize::MAX / 8) * 4
}
