//! What answers mean: which call ends, which is sent again, and whether the node is left.

use bytes::Bytes;

use super::book::Owner;
use super::link::Link;
use super::{Outcome, Session, Trouble};
use crate::wire::client::{
    ErrorCode, Failure, Hello, Op, RawReply, Replies, Success, Welcome, decode_success,
};

impl Session {
    pub(super) fn receive(&mut self, frame: &Bytes) {
        for reply in Replies::new(frame) {
            match reply {
                Ok(reply) => self.reply(reply),
                Err(malformed) => return self.lose_to(&malformed.to_string()),
            }
        }
    }

    /// The node does not speak the protocol.
    fn lose_to(&mut self, reason: &str) {
        let address = self.link.address().unwrap_or_default();
        self.trouble = Some(Trouble::Lost(format!("{address}: {reason}")));
        self.depart(None);
    }

    fn reply(&mut self, reply: RawReply) {
        match &self.link {
            Link::Idle { .. } | Link::Connecting { .. } => {}
            Link::Greeting { .. } => self.greeted(reply),
            Link::Open { .. } => match self.book.owner(reply.id) {
                None => {}
                Some(Owner::GivenUp) => self.book.settle(reply.id),
                Some(Owner::Ping) => {
                    self.book.settle(reply.id);
                    match reply.result {
                        Ok(_) => self.route.succeeded(),
                        Err(failure) => self.hold(failure),
                    }
                }
                Some(Owner::Call(token)) => match reply.result {
                    Ok(ok) => self.succeeded(token, &ok),
                    Err(failure) => self.refused(token, failure),
                },
            },
        }
    }

    fn greeted(&mut self, reply: RawReply) {
        if reply.id != 0 {
            return self.lose_to("an answer came before hello's");
        }
        let ok = match reply.result {
            Ok(ok) => ok,
            Err(failure) => return self.not_greeted(failure),
        };
        match decode_success(&Op::Hello(Hello::default()), &ok) {
            Ok(Success::Hello(welcome)) => self.welcomed(welcome),
            Ok(_) => self.lose_to("hello was answered by something else"),
            Err(what) => self.lose_to(&format!("hello's answer: {what}")),
        }
    }

    fn welcomed(&mut self, welcome: Welcome) {
        let elsewhere = welcome.leader.clone().filter(|leader| leader.id != welcome.node);
        self.session = Some(welcome.session);
        self.welcome = Some(welcome);
        self.alive = self.now;
        if let Some(leader) = elsewhere
            && !self.config.pinned
        {
            return self.depart(Some(leader.address));
        }
        if let Some(address) = self.link.address() {
            self.link = Link::Open { address: address.to_owned(), leaving: None };
        }
    }

    fn not_greeted(&mut self, failure: Failure) {
        match failure.code {
            ErrorCode::SessionExpired => self.part(None, true),
            ErrorCode::Unauthenticated
            | ErrorCode::PermissionDenied
            | ErrorCode::BadRequest
            | ErrorCode::Unsupported
            | ErrorCode::TooLarge => {
                self.depart(None);
                self.turned_away(&failure);
            }
            ErrorCode::NotLeader
            | ErrorCode::NoLeader
            | ErrorCode::Overloaded
            | ErrorCode::UnknownOutcome
            | ErrorCode::Timeout
            | ErrorCode::StaleRequest
            | ErrorCode::Compacted
            | ErrorCode::NotFound
            | ErrorCode::Internal => {
                let next = self.hint(&failure);
                self.trouble = Some(Trouble::Refused(failure));
                self.depart(next);
            }
        }
    }

    /// No retry will help: every call ends, and nothing is tried before the next one.
    fn turned_away(&mut self, failure: &Failure) {
        for token in self.book.tokens() {
            self.not_executed(token, failure.clone());
        }
        self.ended = true;
    }

    /// Another address than this one where the leader is said to be.
    fn hint(&self, failure: &Failure) -> Option<String> {
        let address = failure.leader.as_ref().map(|leader| leader.address.clone())?;
        (!self.config.pinned && self.link.address() != Some(&address)).then_some(address)
    }

    fn succeeded(&mut self, token: u64, ok: &[u8]) {
        let Some(call) = self.book.call(token) else { return };
        let (is_write, is_bye) = (call.op.is_write(), call.op == Op::Bye);
        match decode_success(&call.op, ok) {
            Ok(success) => {
                self.learn(&success);
                self.finish(token, Outcome::Done(success));
            }
            Err(what) if is_write => self.give_up(token, &format!("unreadable answer: {what}")),
            Err(what) => {
                let failure =
                    Failure::new(ErrorCode::Internal, format!("unreadable answer: {what}"));
                self.finish(token, Outcome::NotExecuted(failure));
            }
        }
        self.route.succeeded();
        self.trouble = None;
        if is_bye {
            self.ended = true;
            self.leave(None, !self.config.sessionless);
        }
    }

    fn learn(&mut self, success: &Success) {
        if let Success::Members(members) = success
            && !self.config.pinned
        {
            for member in members {
                self.route.learn(&member.client);
            }
        }
    }

    fn refused(&mut self, token: u64, failure: Failure) {
        let is_write = self.book.call(token).is_some_and(|call| call.op.is_write());
        match failure.code {
            ErrorCode::NotLeader if self.config.pinned => self.not_executed(token, failure),
            ErrorCode::NotLeader | ErrorCode::NoLeader | ErrorCode::Overloaded => {
                self.book.refuse(token, &failure);
                self.hold(failure);
            }
            ErrorCode::UnknownOutcome | ErrorCode::Timeout => {
                let certain = !mutant!(SessionlessWritesAreRepeated);
                if is_write && self.config.sessionless && certain {
                    self.give_up(token, &failure.to_string());
                } else {
                    self.book.retry(token, true);
                    self.hold(failure);
                }
            }
            ErrorCode::SessionExpired if self.config.sessionless => {
                self.not_executed(token, failure);
            }
            ErrorCode::SessionExpired => {
                self.book.retry(token, false);
                self.hold(failure);
            }
            ErrorCode::StaleRequest | ErrorCode::Internal if is_write => {
                self.give_up(token, &failure.to_string());
            }
            ErrorCode::Unauthenticated | ErrorCode::PermissionDenied => {
                self.not_executed(token, failure);
            }
            // Refused for what the request is: an earlier sending was refused likewise.
            ErrorCode::StaleRequest
            | ErrorCode::Internal
            | ErrorCode::BadRequest
            | ErrorCode::TooLarge
            | ErrorCode::Compacted
            | ErrorCode::NotFound
            | ErrorCode::Unsupported => self.finish(token, Outcome::NotExecuted(failure)),
        }
    }

    /// This sending was not executed; an earlier one may have been.
    pub(super) fn not_executed(&mut self, token: u64, failure: Failure) {
        if self.book.was_in_doubt(token) && !mutant!(RefusalSettlesEarlierSendings) {
            self.give_up(token, &failure.to_string());
        } else {
            self.finish(token, Outcome::NotExecuted(failure));
        }
    }

    /// Waits, or goes elsewhere, as the refusal asks.
    fn hold(&mut self, failure: Failure) {
        match failure.code {
            ErrorCode::NotLeader | ErrorCode::NoLeader => {
                let next = self.hint(&failure);
                if next.is_none() {
                    self.pause();
                }
                if next.is_some() || (self.route.has_others() && !self.config.pinned) {
                    self.leave(next, false);
                }
            }
            ErrorCode::SessionExpired => self.leave(None, true),
            ErrorCode::Overloaded
            | ErrorCode::UnknownOutcome
            | ErrorCode::Timeout
            | ErrorCode::StaleRequest
            | ErrorCode::BadRequest
            | ErrorCode::TooLarge
            | ErrorCode::Unauthenticated
            | ErrorCode::PermissionDenied
            | ErrorCode::Compacted
            | ErrorCode::NotFound
            | ErrorCode::Unsupported
            | ErrorCode::Internal => self.pause(),
        }
        self.trouble = Some(Trouble::Refused(failure));
    }
}
