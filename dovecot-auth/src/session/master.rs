//! The master socket: imap, pop3 and managesieve processes, still root, ask who it is that was handed over to them.
//!
//! | | answer |
//! |---|---|
//! | found | `USER id login uid= gid= home= …` |
//! | none, or taken already, or too old | `FAIL id` |
//! | fields unavailable | `FAIL id reason=` |
//! | fields misconfigured, a name that makes no path | the same, and an error in the log |
//!
//! That the login is there was known a moment ago, and its own fields were asked for then. Refuses processes that speak for another; who may
//! connect at all says [`crate::peers`].

use std::sync::Arc;

use gatepost::directory::Lookup;
use gatepost::mail::Address;
use gatepost::net::{Credentials, Peer};

use super::{Conversation, Fault, PANICKED, Work, work};
use crate::protocol::auth::MAJOR;
use crate::protocol::auth::master::{Command, MAX_LINE, Reply};
use crate::service::DovecotAuth;

/// One connection.
pub(crate) struct Master {
    service: Arc<DovecotAuth>,
    peer: Option<Credentials>,
    greeted: bool,
}

impl Master {
    pub(crate) fn new(service: Arc<DovecotAuth>, peer: &Peer) -> Self {
        Self { service, peer: peer.credentials, greeted: false }
    }

    fn request(&self, command: Command, out: &mut Vec<u8>) -> Result<Option<Work<Answer>>, Fault> {
        let Command::Request { id, cpid, auth_id, cookie, session_pid } = command else {
            return Err(Fault::Protocol("a command of the userdb socket".to_owned()));
        };
        // As Dovecot's own server: compared where both sides are known. Another pid namespace shows as none, or 0.
        if let (Some(said), Some(real)) = (session_pid, self.peer.and_then(|peer| peer.pid))
            && real > 0
            && said != real
        {
            return Err(Fault::Forbidden(format!("process {real} asks for a login of process {said}")));
        }
        let Some(login) = self.service.logins().take((cpid, auth_id), &cookie) else {
            tracing::warn!(cpid, auth_id, "a login that is not known, was given out already, or is too old");
            Reply::Fail(id, "").render(out);
            return Ok(None);
        };
        let (service, same) = (Arc::clone(&self.service), login.clone());
        let doing = async move {
            let fields = service.fields(&login).await;
            Answer { id, login, fields }
        };
        let panicked = move || Answer { id, login: same, fields: Lookup::Unavailable(PANICKED.to_owned()) };
        Ok(Some(work(doing, panicked)))
    }
}

/// What was found out.
pub(crate) struct Answer {
    id: u32,
    login: Address,
    fields: Lookup<Vec<(String, String)>>,
}

impl Conversation for Master {
    const LONGEST: usize = MAX_LINE;
    const AT_ONCE: usize = 1;
    type Outcome = Answer;

    fn greet(&mut self, out: &mut Vec<u8>) {
        Reply::Version.render(out);
        Reply::Spid(self.service.process()).render(out);
    }

    fn line(&mut self, line: &[u8], out: &mut Vec<u8>) -> Result<Option<Work<Self::Outcome>>, Fault> {
        let command = Command::parse(line).map_err(|error| Fault::Protocol(error.to_string()))?;
        in_order(&mut self.greeted, &command)?;
        if matches!(command, Command::Version(_)) { Ok(None) } else { self.request(command, out) }
    }

    fn done(
        &mut self,
        Answer { id, login, fields }: Answer,
        out: &mut Vec<u8>,
    ) -> Result<Option<Work<Answer>>, Fault> {
        match fields {
            Lookup::Found(fields) => Reply::User(id, &login.to_string(), &fields).render(out),
            Lookup::Misconfigured(why) => {
                self.service.complain("userdb", &why);
                Reply::Fail(id, TRY_LATER).render(out);
            }
            _ => Reply::Fail(id, TRY_LATER).render(out),
        }
        Ok(None)
    }
}

/// The order of commands on both master sockets: the version first, once, and then anything else.
pub(super) fn in_order(greeted: &mut bool, command: &Command) -> Result<(), Fault> {
    match (std::mem::replace(greeted, true), command) {
        (false, Command::Version(version)) if version.major == MAJOR => Ok(()),
        (false, Command::Version(version)) => {
            Err(Fault::Protocol(format!("protocol version {}, expected {MAJOR}", version.major)))
        }
        (false, _) => Err(Fault::Protocol("out of order: VERSION comes now".to_owned())),
        (true, Command::Version(_)) => Err(Fault::Protocol("VERSION twice".to_owned())),
        (true, _) => Ok(()),
    }
}

/// What Dovecot logs; the reason itself is in our log.
pub(super) const TRY_LATER: &str = "temporary failure, see the log of gatepost-dovecot-auth";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use std::path::Path;

    use gatepost::daemon::{Daemon, Parts};
    use gatepost::mail::Address;

    use super::*;
    use crate::config::Settings;
    use crate::logins::Cookie;

    async fn service() -> Arc<DovecotAuth> {
        let text = "[database]\nhost = \"/nonexistent\"\ntimeout = \"100ms\"\n[dovecot-auth]\nuid = \"5000\"\ngid = \"5000\"\n";
        let config = gatepost::config::parse::<Settings>(text, Path::new("gatepost.toml")).unwrap();
        let parts = Parts::new(&config, DovecotAuth::NAME).unwrap();
        Arc::new(DovecotAuth::build(&config, &parts).await.unwrap())
    }

    /// What a process of that user and number hears, or why its connection ends.
    async fn request(credentials: Option<Credentials>, session_pid: &str) -> Result<String, String> {
        let (service, cookie) = (service().await, Cookie::new());
        service.logins().add((1, 2), cookie.clone(), Address::parse("alice@example.com").unwrap());
        let mut master = Master::new(Arc::clone(&service), &Peer { label: "test".to_owned(), credentials });
        let mut out = Vec::new();
        assert!(master.line(b"VERSION\t1\t1", &mut out).unwrap().is_none());
        let line = format!("REQUEST\t1\t1\t2\t{}{session_pid}", cookie.expose());
        if let Some(work) = master.line(line.as_bytes(), &mut out).map_err(|fault| fault.to_string())? {
            let answer = work.await;
            assert!(master.done(answer, &mut out).unwrap().is_none());
        }
        Ok(String::from_utf8(out).unwrap())
    }

    #[tokio::test]
    async fn a_process_is_told_only_about_itself() {
        let peer = |pid| Some(Credentials { uid: 0, gid: 0, pid });
        // It may know; that there is no database here is another matter.
        let told = "FAIL\t1\treason=temporary failure, see the log of gatepost-dovecot-auth\n";
        for (credentials, session_pid) in [
            (peer(Some(7)), "\tsession_pid=7"),
            // Another pid namespace, or a client that does not say.
            (peer(None), "\tsession_pid=7"),
            (peer(Some(0)), "\tsession_pid=7"),
            (peer(Some(7)), ""),
        ] {
            assert_eq!(request(credentials, session_pid).await.as_deref(), Ok(told), "{credentials:?}");
        }
        let why = request(peer(Some(8)), "\tsession_pid=7").await.unwrap_err();
        assert!(why.contains("process 8 asks for a login of process 7"), "{why}");
    }
}
