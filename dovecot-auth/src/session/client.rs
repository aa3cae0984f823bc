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

use gatepost::directory::Lookup;
use gatepost::mail::Address;

use super::{Conversation, Fault, PANICKED, Work, work};
use crate::attempt::Circumstances;
use crate::logins::Cookie;
use crate::mechanisms::{self, Channel, Exchange, Proved, Step};
use crate::protocol::auth::client::{CONFIRMS_CANCEL, Code, Command, Failure, MAX_LINE, Reply, Request};
use crate::protocol::auth::{LineError, MAJOR};
use crate::service::DovecotAuth;
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
    Waiting(Pending),
    /// The client is to acknowledge what its mechanism said at the end; it may in then.
    Ending(Judged),
    /// It is being judged, under this serial number: where it is cancelled and its id used again, two are judged under one id.
    Judged(u64),
}

/// A login under way.
pub(crate) struct Pending {
    circumstances: Circumstances,
    exchange: Box<dyn Exchange>,
    /// Whether the client takes what a mechanism says at the end together with `OK`.
    final_response: bool,
}

/// What the work behind a line ends with.
pub(crate) enum Outcome {
    /// An answer.
    Judged(Judged),
    /// A challenge, in base64, and what goes on when it is answered.
    Challenge(u32, String, Pending),
}

/// A request that is to be answered.
pub(crate) struct Judged {
    id: u32,
    /// The login as typed, for `user=`.
    login: Option<String>,
    keep: bool,
    verdict: Verdict,
    code: Option<Code>,
    /// What the mechanism says at the end, in base64, and whether it fits into `OK`.
    last: Option<(String, bool)>,
}

impl Pending {
    /// Goes on from a step until the client must be asked again, or all is said.
    async fn settle(mut self, service: &DovecotAuth, id: u32, mut step: Step) -> Outcome {
        let Circumstances { keep, .. } = self.circumstances;
        let judged = |login: String, verdict, last| {
            let login = Some(login).filter(|login| !login.is_empty());
            Outcome::Judged(Judged { id, login, keep, verdict, code: None, last })
        };
        loop {
            match step {
                Step::Ask(question) => {
                    let login = question.login().to_owned();
                    let verdict = match Box::pin(service.answer(question)).await {
                        Lookup::Found(answer) => {
                            step = self.exchange.told(answer);
                            continue;
                        }
                        Lookup::None => Verdict::Refused(Refusal::Malformed),
                        Lookup::Unavailable(why) => Verdict::Unavailable(why),
                        Lookup::Misconfigured(why) => Verdict::Misconfigured(why),
                    };
                    let verdict = service.note(&self.circumstances, &login, verdict);
                    return judged(login, verdict, None);
                }
                Step::Challenge(challenge) => {
                    return Outcome::Challenge(id, mechanisms::encode(&challenge), self);
                }
                Step::Claim(claim) => {
                    let login = claim.login.clone();
                    let verdict = service.authenticate(&self.circumstances, claim).await;
                    prepare(service, keep, &verdict).await;
                    return judged(login, verdict, None);
                }
                Step::Proved(proved) => {
                    let verdict = service.admit(&self.circumstances, &proved).await;
                    prepare(service, keep, &verdict).await;
                    let Proved { login, last, .. } = proved;
                    let last = last.map(|last| (mechanisms::encode(&last), self.final_response));
                    return judged(login, verdict, last);
                }
                Step::Disproved(login, refusal) => {
                    let verdict = service.refuse(&self.circumstances, &login, refusal).await;
                    return judged(login, verdict, None);
                }
                Step::Malformed(why) => {
                    tracing::debug!(id, why, "malformed login");
                    let verdict = Verdict::Refused(Refusal::Malformed);
                    return judged(String::new(), service.note(&self.circumstances, "", verdict), None);
                }
            }
        }
    }
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
        for mechanism in self.service.offered(self.kind) {
            Reply::Mechanism(mechanism.name, mechanism.flags).render(out);
        }
        Reply::Spid(self.service.process()).render(out);
        Reply::Cuid(self.cuid).render(out);
        Reply::Cookie(self.cookie.expose()).render(out);
        Reply::Done.render(out);
    }

    fn begin(&mut self, request: Request, out: &mut Vec<u8>) -> Result<Option<Work<(u64, Outcome)>>, Fault> {
        let Request {
            id,
            mechanism,
            service,
            remote,
            client,
            session,
            nologin,
            final_response,
            certificate,
            response,
        } = request;
        if self.requests.contains_key(&id) {
            return Err(Fault::Protocol(format!("request {id} twice at the same time")));
        }
        let mechanism = self.service.offers(self.kind, &mechanism);
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
                self.answer(Judged { id, login: None, keep: false, verdict, code: None, last: None }, out)
                    .map(|()| None)
            }
            Some(mechanism) => {
                let exchange = (mechanism.begin)(&Channel { certificate });
                let response = response.as_deref().map(Vec::as_slice);
                self.go_on(id, Pending { circumstances, exchange, final_response }, response, out)
            }
        }
    }

    /// One step of a mechanism; its challenge is answered here, what takes longer becomes work.
    fn go_on(
        &mut self,
        id: u32,
        mut pending: Pending,
        response: Option<&[u8]>,
        out: &mut Vec<u8>,
    ) -> Result<Option<Work<(u64, Outcome)>>, Fault> {
        let plain = match response.map(mechanisms::decode) {
            Some(None) => {
                let code = Some(Code::InvalidBase64);
                return self.malformed(id, &pending.circumstances, "not base64", code, out).map(|()| None);
            }
            Some(plain) => plain,
            None => None,
        };
        match pending.exchange.step(plain.as_deref().map(Vec::as_slice)) {
            Step::Challenge(challenge) => {
                self.wait(id, &mechanisms::encode(&challenge), State::Waiting(pending), out);
                Ok(None)
            }
            Step::Malformed(why) => self.malformed(id, &pending.circumstances, why, None, out).map(|()| None),
            step => {
                self.serial += 1;
                let serial = self.serial;
                self.requests.insert(id, State::Judged(serial));
                let service = Arc::clone(&self.service);
                let panicked = move || {
                    let verdict = Verdict::Unavailable(PANICKED.to_owned());
                    let judged = Judged { id, login: None, keep: false, verdict, code: None, last: None };
                    (serial, Outcome::Judged(judged))
                };
                let doing = async move { (serial, pending.settle(&service, id, step).await) };
                Ok(Some(work(doing, panicked)))
            }
        }
    }

    fn wait(&mut self, id: u32, challenge: &str, state: State, out: &mut Vec<u8>) {
        self.requests.insert(id, state);
        self.waiting += 1;
        Reply::Cont(id, challenge).render(out);
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
        self.answer(Judged { id, login: None, keep: false, verdict, code, last: None }, out)
    }

    fn answer(&mut self, mut judged: Judged, out: &mut Vec<u8>) -> Result<(), Fault> {
        if let (Verdict::Accepted(_), Some((last, false))) = (&judged.verdict, &mut judged.last) {
            let (id, last) = (judged.id, std::mem::take(last));
            judged.last = None;
            self.wait(id, &last, State::Ending(judged), out);
            return Ok(());
        }
        let Judged { id, login, keep, verdict, code, last } = judged;
        // Folded as it would be if it were known; what is no address is given back as typed.
        let folded = |login: String| Address::parse(&login).map_or(login, |address| address.to_string());
        let user = login.filter(|_| !matches!(verdict, Verdict::Accepted(_))).map(folded);
        let user = user.as_deref();
        match verdict {
            Verdict::Accepted(login) => {
                let last = last.as_ref().map(|(last, _)| last.as_str());
                Reply::Ok(id, &login.to_string(), last).render(out);
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
            Some(State::Waiting(_) | State::Ending(_)) => self.waiting -= 1,
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

/// What the mail process will ask for is looked up before the client hears that it may in.
async fn prepare(service: &DovecotAuth, keep: bool, verdict: &Verdict) {
    if let (Verdict::Accepted(login), true) = (verdict, keep) {
        service.prepare(login).await;
    }
}

impl Conversation for Client {
    const LONGEST: usize = MAX_LINE;
    /// Several times what the hasher queues: beyond its bound it answers at once.
    const AT_ONCE: usize = 512;
    type Outcome = (u64, Outcome);

    fn greet(&mut self, out: &mut Vec<u8>) {
        Reply::Version.render(out);
    }

    fn line(&mut self, line: &[u8], out: &mut Vec<u8>) -> Result<Option<Work<(u64, Outcome)>>, Fault> {
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
                Some(State::Waiting(pending)) => {
                    self.waiting -= 1;
                    self.go_on(id, pending, Some(&response), out)
                }
                Some(State::Ending(judged)) => {
                    self.waiting -= 1;
                    // Nothing but that it has heard us.
                    let verdict = if response.is_empty() {
                        judged.verdict
                    } else {
                        Verdict::Refused(Refusal::Malformed)
                    };
                    self.answer(Judged { verdict, ..judged }, out).map(|()| None)
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

    fn done(
        &mut self,
        (serial, outcome): (u64, Outcome),
        out: &mut Vec<u8>,
    ) -> Result<Option<Work<(u64, Outcome)>>, Fault> {
        let id = match &outcome {
            Outcome::Judged(judged) => judged.id,
            Outcome::Challenge(id, ..) => *id,
        };
        match self.requests.get(&id) {
            Some(State::Judged(current)) if *current == serial => {
                self.requests.remove(&id);
                match outcome {
                    Outcome::Judged(judged) => self.answer(judged, out)?,
                    Outcome::Challenge(_, challenge, pending) => {
                        self.wait(id, &challenge, State::Waiting(pending), out);
                    }
                }
            }
            // Cancelled meanwhile: nobody wants to know any more.
            _ => {}
        }
        Ok(None)
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
