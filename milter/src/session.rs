//! One connection: commands in, replies out, one message after the other.
//!
//! For `lib`, which gives it connections. It knows the order of things and the envelope; what is to be done with a message is
//! decided in `service`, how it is spelled in `protocol`.
//!
//! Time: Postfix gives us 30 s for each command (`milter_command_timeout`) and 300 s from DATA on (`milter_content_timeout`);
//! whatever is answered before the end of the message is answered at once, and while a message is judged a progress notice goes out every
//! `PROGRESS`. We wait for Postfix longer than Postfix lets its clients idle (`smtpd_timeout`, 300 s): a milter that
//! hangs up costs every later message of that SMTP session a 451.
//!
//! End of the daemon: no message under way is cut, and a session between two messages may go on for `GRACE`, because most clients
//! are about to leave anyway. Then it is closed; its client is told 451 or 421 and comes again.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use gatepost::mail::Address;
use gatepost::net::Drain;
use gatepost::telemetry::printable;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, interval_at, sleep_until, timeout};
use tokio_util::codec::Framed;
use tracing::{Instrument, debug, info_span, trace};

use crate::message::{Direction, Envelope};
use crate::protocol::{
    Agreement, Arguments, Command, Edit, Family, Frames, MacroStage, Macros, Peer, ProtocolError, Reply,
    Requests, State, actions, steps,
};
use crate::service::{Decision, Service};
use crate::transaction::{Abilities, Transaction};

/// How often the MTA is told that a message is still being judged; its timer runs for 300 s.
const PROGRESS: Duration = Duration::from_secs(10);

/// How long a session between messages may go on after the daemon was told to end.
const GRACE: Duration = Duration::from_secs(3);

/// The longest silence inside a message: twice Postfix's own content timeout.
const SILENCE_IN_MESSAGE: Duration = Duration::from_secs(600);

/// The longest silence between messages: no SMTP session idles for an hour; a peer that died unnoticed does.
const SILENCE_BETWEEN: Duration = Duration::from_secs(3600);

/// What is asked of the MTA. Nothing is decided before the end of the message, so nothing is answered before it but DATA: Postfix
/// then writes connection, HELO and envelope together with DATA and waits once for all of them. DATA is answered because Postfix hands
/// the connection from smtpd(8) to cleanup(8) behind it, and over TCP an unanswered step there costs 40 ms (Nagle's algorithm at
/// Postfix's end). Whoever decides something at an earlier step takes its bit out of here; [`Session::answer_unless`] then answers it.
const REQUESTS: Requests = Requests {
    actions: actions::ADD_HEADERS
        | actions::CHANGE_HEADERS
        | actions::CHANGE_BODY
        | actions::QUARANTINE
        | actions::SET_MACRO_LIST,
    steps: steps::NO_REPLY_CONNECT
        | steps::NO_REPLY_HELO
        | steps::NO_REPLY_MAIL
        | steps::NO_REPLY_RCPT
        | steps::NO_REPLY_HEADER
        | steps::NO_REPLY_END_OF_HEADERS
        | steps::NO_REPLY_BODY
        | steps::NO_UNKNOWN
        | steps::SKIP
        | steps::SHOW_REJECTED_RCPT
        | steps::HEADER_LEADING_SPACE,
    macros: &[
        (MacroStage::Connect, "j {daemon_name} {daemon_port} {client_addr} {client_name} {client_resolve} v"),
        (MacroStage::Helo, "{tls_version}"),
        (MacroStage::Mail, "i {auth_authen} {auth_type} {tls_version}"),
        (MacroStage::Rcpt, "i {rcpt_mailer} {rcpt_addr}"),
        (MacroStage::Data, "i {auth_authen}"),
        (MacroStage::EndOfHeaders, "i {auth_authen}"),
        (MacroStage::EndOfMessage, "i {auth_authen}"),
    ],
};

/// Serves one connection until its end.
pub async fn serve<S>(stream: S, label: &str, drain: Drain, service: Arc<Service>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let number = service.next_session();
    let span = info_span!("session", peer = label, session = number);
    async {
        let mut session = Session::new(stream, drain, service);
        match session.run().await {
            Ok(why) => trace!("closed: {why}"),
            Err(error) => debug!(%error, "closed by us or lost"),
        }
    }
    .instrument(span)
    .await;
}

struct Session<S> {
    wire: Framed<S, Frames>,
    drain: Drain,
    service: Arc<Service>,
    state: State,
    agreement: Agreement,
    macros: Macros,
    client: Client,
    transaction: Option<Transaction>,
    /// When a session between messages is closed, once the daemon is to end.
    last_call: Option<Instant>,
}

/// What the MTA said about the SMTP client.
struct Client {
    hostname: Bytes,
    peer: Peer,
    helo: Option<Bytes>,
}

impl Client {
    fn unknown() -> Self {
        let peer = Peer { family: Family::Unknown, address: None, port: 0 };
        Self { hostname: Bytes::new(), peer, helo: None }
    }
}

impl<S> Session<S>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    fn new(stream: S, drain: Drain, service: Arc<Service>) -> Self {
        Self {
            wire: Framed::new(stream, Frames),
            drain,
            service,
            state: State::Start,
            agreement: Agreement { version: 0, actions: 0, steps: 0 },
            macros: Macros::default(),
            client: Client::unknown(),
            transaction: None,
            last_call: None,
        }
    }

    async fn run(&mut self) -> Result<&'static str, ProtocolError> {
        loop {
            let frame = match self.next_frame().await {
                Next::Frame(frame) => frame?,
                Next::End(why) => return Ok(why),
            };
            let command = Command::parse(frame)?;
            let event = command.event();
            trace!(?event, "command");
            let before = self.state;
            self.state = before.after(event).ok_or(ProtocolError::OutOfOrder { state: before, event })?;
            self.obey(command).await?;
            if self.state == State::Closed {
                return Ok("the peer said goodbye");
            }
        }
    }

    /// The next frame; or the end, which we bring about only between messages.
    async fn next_frame(&mut self) -> Next {
        if !self.state.is_between_messages() {
            return match timeout(SILENCE_IN_MESSAGE, self.wire.next()).await {
                Ok(Some(frame)) => Next::Frame(frame),
                Ok(None) => Next::End("the peer left inside a message"),
                Err(_) => Next::End("silence inside a message"),
            };
        }
        loop {
            let last_call = self.last_call;
            tokio::select! {
                // A frame that is there is served before the end is looked at.
                biased;
                frame = timeout(SILENCE_BETWEEN, self.wire.next()) => return match frame {
                    Ok(Some(frame)) => Next::Frame(frame),
                    Ok(None) => Next::End("the peer left"),
                    Err(_) => Next::End("silence"),
                },
                () = self.drain.started(), if last_call.is_none() => {
                    self.last_call = Some(Instant::now() + GRACE);
                }
                () = sleep_until(last_call.unwrap_or_else(Instant::now)), if last_call.is_some() => {
                    return Next::End("the daemon ends");
                }
            }
        }
    }

    async fn obey(&mut self, command: Command) -> Result<(), ProtocolError> {
        match command {
            Command::Negotiate(offer) => {
                self.agreement = offer.agree(&REQUESTS).ok_or(ProtocolError::Version(offer.version))?;
                let answer = self.agreement.encode(&REQUESTS);
                return self.wire.send(answer.as_slice()).await;
            }
            Command::Macros { command, pairs } => self.macros.announce(command, pairs),
            Command::Connect { hostname, peer } => {
                self.client = Client { hostname, peer, helo: None };
                return self.answer_unless(steps::NO_REPLY_CONNECT, Reply::Continue).await;
            }
            Command::Helo(helo) => {
                self.client.helo = Some(helo);
                return self.answer_unless(steps::NO_REPLY_HELO, Reply::Continue).await;
            }
            Command::Mail(arguments) => {
                let sender = Transaction::new(address(&arguments));
                self.transaction = Some(sender.with_reverse_path(reverse_path(&arguments)));
                return self.answer_unless(steps::NO_REPLY_MAIL, Reply::Continue).await;
            }
            Command::Rcpt(arguments) => {
                self.recipient(&arguments);
                return self.answer_unless(steps::NO_REPLY_RCPT, Reply::Continue).await;
            }
            Command::Data | Command::Unknown(_) => return self.answer(&Reply::Continue).await,
            Command::Header { name, value } => {
                let has_leading_space = self.agreement.has(steps::HEADER_LEADING_SPACE);
                if let Some(transaction) = &mut self.transaction {
                    transaction.header(&name, &value, has_leading_space);
                }
                return self.answer_unless(steps::NO_REPLY_HEADER, Reply::Continue).await;
            }
            Command::EndOfHeaders => {
                let direction = self.direction();
                let abilities = Abilities {
                    headers: self.agreement.may(actions::ADD_HEADERS | actions::CHANGE_HEADERS),
                    body: self.agreement.may(actions::CHANGE_BODY),
                    hold: self.agreement.may(actions::QUARANTINE),
                };
                if let Some(transaction) = &mut self.transaction {
                    transaction.end_of_headers(direction, abilities, self.service.bounds());
                }
                return self.answer_unless(steps::NO_REPLY_END_OF_HEADERS, Reply::Continue).await;
            }
            Command::Body(piece) => {
                let mut enough = false;
                if let Some(transaction) = &mut self.transaction {
                    transaction.body(&piece, self.service.budget());
                    enough = transaction.has_enough() && self.agreement.has(steps::SKIP);
                }
                let reply = if enough { Reply::Skip } else { Reply::Continue };
                return self.answer_unless(steps::NO_REPLY_BODY, reply).await;
            }
            Command::EndOfBody(piece) => return self.end_of_message(&piece).await,
            Command::Abort => {
                self.transaction = None;
                self.macros.end_message();
            }
            Command::QuitNewConnection => {
                self.transaction = None;
                self.macros.end_connection();
                self.client = Client::unknown();
            }
            Command::Quit => self.transaction = None,
        }
        Ok(())
    }

    fn recipient(&mut self, arguments: &Arguments) {
        // Recipients that Postfix refuses are shown with this mailer; they count, but get no mail.
        let mailer = self.macros.text("rcpt_mailer");
        let refused = mailer == Some("error");
        let here = mailer.is_some_and(|mailer| DELIVERS_HERE.contains(&mailer));
        // `<postmaster>` has no domain (RFC 5321, 4.5.1); Postfix says which is meant.
        let completed = || self.macros.text("rcpt_addr").and_then(|address| Address::parse(address).ok());
        if let Some(transaction) = &mut self.transaction {
            match address(arguments).or_else(completed) {
                _ if refused => transaction.refused_recipients += 1,
                Some(recipient) => transaction.recipient(recipient, here),
                None => debug!(recipient = %printable(&arguments.address, 100), "recipient is no address"),
            }
        }
        self.macros.end_recipient();
    }

    async fn end_of_message(&mut self, piece: &[u8]) -> Result<(), ProtocolError> {
        let Some(mut transaction) = self.transaction.take() else {
            return self.answer(&Reply::Continue).await;
        };
        transaction.body(piece, self.service.budget());
        let envelope = transaction.envelope(self.envelope());
        let refused_recipients = transaction.refused_recipients;
        let received = transaction.finish(self.service.bounds());
        let host = self.macros.text("j").map(str::to_owned);
        let service = Arc::clone(&self.service);
        // Boxed: deciding takes much room, and a connection that waits for its next message none of it.
        let mut decision = Box::pin(service.decide(received, envelope, refused_recipients, host));
        let mut progress = interval_at(Instant::now() + PROGRESS, PROGRESS);
        let decision = loop {
            tokio::select! {
                decision = &mut decision => break decision,
                _ = progress.tick() => self.answer(&Reply::Progress).await?,
            }
        };
        self.macros.end_message();
        self.carry_out(decision).await
    }

    /// Sends the edits that were agreed on, then the final reply, in one write.
    async fn carry_out(&mut self, decision: Decision) -> Result<(), ProtocolError> {
        for edit in decision.edits {
            let needed = match &edit {
                Edit::ChangeHeader { .. } => actions::CHANGE_HEADERS,
                Edit::ReplaceBody(_) => actions::CHANGE_BODY,
                Edit::Quarantine(_) => actions::QUARANTINE,
                _ => actions::ADD_HEADERS,
            };
            if !self.agreement.may(needed) {
                debug!(needed, "the MTA does not offer this change");
                continue;
            }
            for frame in self.spelled(edit).encode() {
                self.wire.feed(frame.as_slice()).await?;
            }
        }
        self.answer(&decision.reply).await
    }

    /// Values have their leading space; an MTA that did not agree to that adds one itself.
    fn spelled(&self, mut edit: Edit) -> Edit {
        if !self.agreement.has(steps::HEADER_LEADING_SPACE)
            && let Edit::AddHeader { value, .. }
            | Edit::InsertHeader { value, .. }
            | Edit::ChangeHeader { value, .. } = &mut edit
            && value.first() == Some(&b' ')
        {
            value.remove(0);
        }
        edit
    }

    async fn answer(&mut self, reply: &Reply) -> Result<(), ProtocolError> {
        self.wire.send(reply.encode().as_slice()).await
    }

    async fn answer_unless(&mut self, step: u32, reply: Reply) -> Result<(), ProtocolError> {
        if self.agreement.has(step) { Ok(()) } else { self.answer(&reply).await }
    }

    /// Where the message comes from. A login makes it submitted. Mail that did not come over SMTP is shown by Postfix as from
    /// port 0 of a loopback address to port 0 of ours (`cleanup_milter.c`), which no TCP client can have. A report that this process hands
    /// to Postfix comes from the port that it has open.
    fn direction(&self) -> Direction {
        let Peer { address, port, .. } = self.client.peer;
        let no_daemon = self.macros.text("daemon_port").is_none_or(|port| port == "0");
        let not_over_smtp = port == 0 && no_daemon && address.is_some_and(|address| address.is_loopback());
        if self.macros.get("auth_authen").is_some() {
            Direction::Submitted
        } else if not_over_smtp
            || address.is_some_and(|address| {
                self.service.is_this_process(address, port) || self.service.is_local_network(address)
            })
        {
            Direction::Local
        } else {
            Direction::Inbound
        }
    }

    fn envelope(&self) -> Envelope {
        let direction = self.direction();
        let from_network = !(direction == Direction::Local && self.client.peer.port == 0);
        let hostname = std::str::from_utf8(&self.client.hostname).ok();
        // Postfix puts the address in brackets where the name is unknown; `{client_resolve}` says whether it was verified.
        let verified = self.macros.text("client_resolve").is_none_or(|resolved| resolved == "OK");
        let client_name = hostname
            .filter(|name| verified && !name.is_empty() && !name.starts_with('[') && *name != "unknown");
        Envelope {
            direction,
            client_address: self.client.peer.address.map(canonical).filter(|_| from_network),
            client_name: client_name.filter(|_| from_network).map(str::to_owned),
            helo: self.client.helo.as_ref().map(|helo| printable(helo, MAX_HELO)),
            sender: None,
            reverse_path: String::new(),
            recipients: Vec::new(),
            login: self.macros.text("auth_authen").and_then(|login| Address::parse(login).ok()),
            queue_id: self.macros.text("i").map(|id| printable(id.as_bytes(), MAX_QUEUE_ID)),
            tls: self.macros.get("tls_version").is_some(),
        }
    }
}

/// What `{rcpt_mailer}` says of recipients whose mail is delivered on this host: Postfix's delivery agents, with Dovecot behind.
const DELIVERS_HERE: [&str; 3] = ["lmtp", "virtual", "local"];

/// A domain name has 253 characters at most; a HELO argument beyond is noise.
const MAX_HELO: usize = 255;

/// Postfix's long queue ids have about 15 characters.
const MAX_QUEUE_ID: usize = 64;

enum Next {
    Frame(Result<Bytes, ProtocolError>),
    End(&'static str),
}

/// An IPv4 client on an IPv6 socket is an IPv4 client.
fn canonical(address: IpAddr) -> IpAddr {
    address.to_canonical()
}

/// The address of MAIL or RCPT, with brackets (SMTP) or without (other mail); none for the null sender and for what is no address.
fn address(arguments: &Arguments) -> Option<Address> {
    let text = std::str::from_utf8(&arguments.address).ok()?.trim();
    let bare = text.strip_prefix('<').and_then(|text| text.strip_suffix('>')).unwrap_or(text);
    Address::parse(bare).ok()
}

/// The same as text, for SPF: whatever stands between the brackets, cut, without control characters; empty for the null sender.
fn reverse_path(arguments: &Arguments) -> String {
    let text = String::from_utf8_lossy(&arguments.address);
    let text = text.trim();
    let bare = text.strip_prefix('<').and_then(|text| text.strip_suffix('>')).unwrap_or(text);
    bare.chars().filter(|character| !character.is_control()).take(MAX_REVERSE_PATH).collect()
}

/// The longest address has 64 + 1 + 255 characters (RFC 5321, 4.5.3.1).
const MAX_REVERSE_PATH: usize = 320;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn addresses_with_and_without_brackets() {
        let parse = |text: &'static str| {
            let arguments =
                Arguments { address: Bytes::from_static(text.as_bytes()), parameters: Vec::new() };
            address(&arguments).map(|address| address.to_string())
        };
        assert_eq!(parse("<A@B.test>").as_deref(), Some("a@b.test"));
        assert_eq!(parse("A@B.test").as_deref(), Some("a@b.test"));
        for none in ["", "<>", "<nobody>", "<a@[192.0.2.1]>"] {
            assert_eq!(parse(none), None, "{none}");
        }
    }
}
