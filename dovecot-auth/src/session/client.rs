//! The login sockets: Dovecot's login processes, and Postfix.
//!
//! Both speak the same protocol ([`protocol::auth::client`]); they differ in what they take for "try later":
//!
//! | | login processes | Postfix |
//! |---|---|---|
//! | accepted | `OK id user=` | the same |
//! | refused | `FAIL id user=` | the same |
//! | barred, and told why | `FAIL id user= code=user_disabled reason=`: `[ALERT]` | the same, and smtpd says 535 |
//! | deferred, unavailable, misconfigured, too busy | `FAIL id user= code=temp_fail`: `[UNAVAILABLE]` | the connection is closed: 454; every FAIL would be 535 |
//!
//! A Dovecot 2.3 whose connection is closed in the middle tells its user that the password was wrong; so its connections are not.
//! Bounded: requests under way, requests that wait for their client, and the length of every line.

use std::collections::HashMap;
use std::sync::Arc;

use gatepost::mail::Address;

use super::{Conversation, Fault, Work};
use crate::logins::Cookie;
use crate::mechanisms::{self, Exchange, MECHANISMS, Mechanism, Step};
use crate::protocol::auth::client::{CONFIRMS_CANCEL, Code, Command, Failure, MAX_LINE, Reply, Request};
use crate::protocol::auth::{LineError, MAJOR};
use crate::service::{Circumstances, DovecotAuth};
use crate::verdict::{Refusal, Verdict};

/// Who is at the other end, by the socket it came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// imap-login, pop3-login, managesieve-login, submission-login.
    Dovecot,
    /// smtpd.
    Postfix,
}

/// One connection.
pub(crate) struct Client {
    service: Arc<DovecotAuth>,
    kind: Kind,
    stage: Stage,
    minor: u32,
    cookie: Cookie,
    cuid: u32,
    requests: HashMap<u32, State>,
    waiting: usize,
    serial: u64,
}

/// How far the handshake has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Version,
    Cpid,
    Ready(u32),
}

/// One request.
enum State {
    /// The client is to go on.
    Waiting(Circumstances, Box<dyn Exchange>),
    /// It is being judged, under this serial number: where it is cancelled and its id used again, two are judged under one id.
    Judged(u64),
}

/// A request that is to be answered.
pub(crate) struct Judged {
    id: u32,
    /// The login as typed, for `user=`.
    login: Option<String>,
    keep: bool,
    verdict: Verdict,
    code: Option<Code>,
}

impl Client {
    pub(crate) fn new(service: Arc<DovecotAuth>, kind: Kind) -> Self {
        let cuid = service.next_connection();
        Self {
            service,
            kind,
            stage: Stage::Version,
            minor: 0,
            cookie: Cookie::new(),
            cuid,
            requests: HashMap::new(),
            waiting: 0,
            serial: 0,
        }
    }

    fn handshake(&self, out: &mut Vec<u8>) {
        for mechanism in MECHANISMS {
            Reply::Mechanism(mechanism.name, mechanism.flags).render(out);
        }
        Reply::Spid(self.service.process()).render(out);
        Reply::Cuid(self.cuid).render(out);
        Reply::Cookie(self.cookie.expose()).render(out);
        Reply::Done.render(out);
    }

    fn begin(&mut self, request: Request, out: &mut Vec<u8>) -> Result<Option<Work<(u64, Judged)>>, Fault> {
        let Request { id, mechanism, service, remote, client, session, nologin, response } = request;
        if self.requests.contains_key(&id) {
            return Err(Fault::Protocol(format!("request {id} twice at the same time")));
        }
        let mechanism = Mechanism::named(&mechanism);
        let circumstances = Circumstances {
            mechanism: mechanism.map_or("unknown", |mechanism| mechanism.name),
            service,
            remote,
            client,
            session,
            keep: self.kind == Kind::Dovecot && !nologin,
        };
        match mechanism {
            // Not offered, so no client that listens asks for it.
            None => self.malformed(id, &circumstances, "unknown mechanism", None, out).map(|()| None),
            Some(_) if self.waiting >= MOST_WAITING => {
                let why = format!("{MOST_WAITING} logins of one connection wait for their clients");
                let verdict = self.service.note(&circumstances, "", Verdict::Unavailable(why));
                let judged = Judged { id, login: None, keep: false, verdict, code: None };
                self.answer(judged, out).map(|()| None)
            }
            Some(mechanism) => {
                let response = response.as_deref().map(Vec::as_slice);
                self.go_on(id, circumstances, (mechanism.begin)(), response, out)
            }
        }
    }

    /// One step of a mechanism; its challenge is answered here, its end is judged.
    fn go_on(
        &mut self,
        id: u32,
        circumstances: Circumstances,
        mut exchange: Box<dyn Exchange>,
        response: Option<&[u8]>,
        out: &mut Vec<u8>,
    ) -> Result<Option<Work<(u64, Judged)>>, Fault> {
        let plain = match response.map(mechanisms::decode) {
            Some(None) => {
                let code = Some(Code::InvalidBase64);
                return self.malformed(id, &circumstances, "not base64", code, out).map(|()| None);
            }
            Some(plain) => plain,
            None => None,
        };
        match exchange.step(plain.as_deref().map(Vec::as_slice)) {
            Step::Challenge(challenge) => {
                self.requests.insert(id, State::Waiting(circumstances, exchange));
                self.waiting += 1;
                Reply::Cont(id, &mechanisms::encode(challenge)).render(out);
                Ok(None)
            }
            Step::Malformed(why) => self.malformed(id, &circumstances, why, None, out).map(|()| None),
            Step::Claim(claim) => {
                self.serial += 1;
                let serial = self.serial;
                self.requests.insert(id, State::Judged(serial));
                let service = Arc::clone(&self.service);
                Ok(Some(Box::pin(async move {
                    let (keep, login) = (circumstances.keep, Some(claim.login.clone()));
                    let verdict = service.authenticate(&circumstances, claim).await;
                    if let (Verdict::Accepted(login), true) = (&verdict, keep) {
                        service.prepare(login).await;
                    }
                    (serial, Judged { id, login, keep, verdict, code: None })
                })))
            }
        }
    }

    fn malformed(
        &mut self,
        id: u32,
        circumstances: &Circumstances,
        why: &'static str,
        code: Option<Code>,
        out: &mut Vec<u8>,
    ) -> Result<(), Fault> {
        tracing::debug!(id, why, "malformed login");
        let verdict = self.service.note(circumstances, "", Verdict::Refused(Refusal::Malformed));
        self.answer(Judged { id, login: None, keep: false, verdict, code }, out)
    }

    fn answer(&mut self, judged: Judged, out: &mut Vec<u8>) -> Result<(), Fault> {
        let Judged { id, login, keep, verdict, code } = judged;
        // Folded as it would be if it were known; what is no address is given back as typed.
        let login = login.map(|login| Address::parse(&login).map_or(login, |address| address.to_string()));
        let user = login.as_deref();
        match verdict {
            Verdict::Accepted(login) => {
                Reply::Ok(id, &login.to_string()).render(out);
                if let (Stage::Ready(cpid), true) = (self.stage, keep) {
                    self.service.logins().add((cpid, id), self.cookie.clone(), login);
                }
            }
            Verdict::Refused(_) => {
                Reply::Fail(Failure { id, user, code, ..Failure::default() }).render(out);
            }
            Verdict::Barred(_, reason) => {
                let (code, reason) = (Some(Code::Disabled), Some(reason.as_str()));
                Reply::Fail(Failure { id, user, code, reason }).render(out);
            }
            Verdict::Deferred(_) | Verdict::Unavailable(_) | Verdict::Misconfigured(_) => match self.kind {
                Kind::Dovecot => {
                    let code = Some(Code::Temporary);
                    Reply::Fail(Failure { id, user, code, ..Failure::default() }).render(out);
                }
                Kind::Postfix => return Err(Fault::Answer),
            },
        }
        Ok(())
    }

    fn cancel(&mut self, id: u32, out: &mut Vec<u8>) {
        match self.requests.remove(&id) {
            Some(State::Waiting(..)) => self.waiting -= 1,
            // The work goes on, and its outcome finds nobody.
            Some(State::Judged(_)) => {}
            // Answered a moment ago: the client cannot know yet.
            None => return,
        }
        if self.minor >= CONFIRMS_CANCEL {
            Reply::Cancelled(id).render(out);
        }
    }
}

impl Conversation for Client {
    const LONGEST: usize = MAX_LINE;
    /// Several times what the hasher queues: beyond its bound it answers at once.
    const AT_ONCE: usize = 512;
    type Outcome = (u64, Judged);

    fn greet(&mut self, out: &mut Vec<u8>) {
        Reply::Version.render(out);
    }

    fn line(&mut self, line: &[u8], out: &mut Vec<u8>) -> Result<Option<Work<(u64, Judged)>>, Fault> {
        let command = Command::parse(line).map_err(|error: LineError| Fault::Protocol(error.to_string()))?;
        match (self.stage, command) {
            (Stage::Version, Command::Version(version)) if version.major == MAJOR => {
                (self.stage, self.minor) = (Stage::Cpid, version.minor);
                // Not before: what is offered may depend on the client's version.
                self.handshake(out);
                Ok(None)
            }
            (Stage::Version, Command::Version(version)) => {
                Err(Fault::Protocol(format!("protocol version {}, expected {MAJOR}", version.major)))
            }
            (Stage::Cpid, Command::Cpid(cpid)) => {
                self.stage = Stage::Ready(cpid);
                Ok(None)
            }
            (Stage::Ready(_), Command::Auth(request)) => self.begin(request, out),
            (Stage::Ready(_), Command::Cont { id, response }) => match self.requests.remove(&id) {
                Some(State::Waiting(circumstances, exchange)) => {
                    self.waiting -= 1;
                    self.go_on(id, circumstances, exchange, Some(&response), out)
                }
                Some(state) => {
                    self.requests.insert(id, state);
                    Err(Fault::Protocol(format!("CONT for request {id}, which awaits none")))
                }
                None => Err(Fault::Protocol(format!("CONT for request {id}, which is not there"))),
            },
            (Stage::Ready(_), Command::Cancel(id)) => {
                self.cancel(id, out);
                Ok(None)
            }
            (stage, _) => Err(Fault::Protocol(format!("out of order: {} comes now", stage.expected()))),
        }
    }

    fn done(&mut self, (serial, judged): (u64, Judged), out: &mut Vec<u8>) -> Result<(), Fault> {
        match self.requests.get(&judged.id) {
            Some(State::Judged(current)) if *current == serial => {
                self.requests.remove(&judged.id);
                self.answer(judged, out)
            }
            // Cancelled meanwhile: nobody wants to know any more.
            _ => Ok(()),
        }
    }

    /// Logins in the middle of a mechanism are to be tried again; Postfix hears that by the close itself.
    fn farewell(&mut self, out: &mut Vec<u8>) {
        if self.kind == Kind::Dovecot {
            for id in self.requests.keys() {
                let code = Some(Code::Temporary);
                Reply::Fail(Failure { id: *id, code, ..Failure::default() }).render(out);
            }
        }
    }
}

impl Stage {
    fn expected(self) -> &'static str {
        match self {
            Self::Version => "VERSION",
            Self::Cpid => "CPID",
            Self::Ready(_) => "AUTH, CONT or CANCEL",
        }
    }
}

/// A login process in Dovecot's high-performance mode serves 1000 clients (default_client_limit).
const MOST_WAITING: usize = 1024;
