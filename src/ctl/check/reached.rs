//! The sockets: does somebody answer, and do Postfix's and Dovecot's processes get there?

use super::facts::HostFacts;
use super::facts::sockets::{Answer, Socket};
use super::report::Report;

pub(super) fn judge(facts: &HostFacts, report: &mut Report) {
    for socket in &facts.sockets {
        one(socket, report);
    }
}

fn one(socket: &Socket, report: &mut Report) {
    let Socket { way, place, .. } = socket;
    let run = socket.daemon.map_or_else(
        || "is what listens there running?".to_owned(),
        |daemon| format!("is gatepost-{daemon} running (`systemctl status gatepost-{daemon}`)?"),
    );
    if let Some(why) = &socket.blocked {
        return report.fail(&format!("{way}: {why}; owner, group and mode of a socket stand in the unit gatepost-….socket, or beside `listen`"));
    }
    match &socket.answer {
        Answer::Yes => report.ok(&format!("{way} reaches {place}")),
        Answer::Missing => report.fail(&format!("{way}: {place} is not there; {run}")),
        Answer::Nobody => report.fail(&format!("{way}: nobody answers on {place}; {run}")),
        Answer::NotTried => {
            report.warn(&format!("{way}: {place} cannot be tried as this user; run the check as root"))
        }
        Answer::Other(why) => report.fail(&format!("{way}: {place}: {why}; {run}")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn a_way_that_is_blocked_or_leads_nowhere_fails() {
        let said = |blocked: Option<&str>, answer| {
            let socket = Socket {
                way: "Postfix (smtpd_milters)".into(),
                place: "/run/m.sock".into(),
                blocked: blocked.map(str::to_owned),
                answer,
                daemon: Some("milter"),
            };
            let mut report = Report::default();
            one(&socket, &mut report);
            report.lines().concat()
        };
        assert_eq!(said(None, Answer::Yes), "ok Postfix (smtpd_milters) reaches /run/m.sock");
        assert!(
            said(Some("postfix may not enter /run"), Answer::Yes)
                .starts_with("fail Postfix (smtpd_milters): postfix may not enter /run")
        );
        assert!(
            said(None, Answer::Nobody).contains("nobody answers on /run/m.sock; is gatepost-milter running")
        );
        assert!(said(None, Answer::Missing).starts_with("fail "));
        assert!(said(None, Answer::NotTried).starts_with("warn "));
    }
}
