//! Signatures of strangers, made by dkimpy and seen on the wire as Postfix shows them.

use std::io::Write;
use std::process::{Command, Stdio};

use crate::conversations::UNREACHABLE;
use crate::daemon::{Daemon, Peer};
use crate::dns::Dns;
use crate::signatures::Key;

const ZONE: &str =
    "client.test TXT v=spf1 -all\n_dmarc.client.test TXT v=DMARC1; p=reject\nmx.client.test A 192.0.2.1\n";

/// What fails is to be seen, not refused.
const REPORT_ONLY: &str = "[milter.dmarc]\nenforce = false\n";

const MESSAGE: &str = "From: Sender  <sender@client.test>\r\nTo: alice@example.com\r\n\
                       Message-ID:\r\n <1@client.test>\r\nSubject: a \tfolded\r\n\tsubject \r\nX-Odd:none\r\n\r\n\
                       Dear Alice,\r\n\r\nsee  you \tat ten. \r\n\r\n\r\n";

struct World {
    key: Key,
    ed25519: Key,
    dns: Dns,
    daemon: Daemon,
}

fn world() -> World {
    let (key, ed25519) = (Key::rsa(), Key::ed25519());
    let weak = Key::rsa_of(512);
    let dns = Dns::serve(&format!(
        "{ZONE}s._domainkey.client.test TXT {}\nweak._domainkey.client.test TXT {}\ned._domainkey.client.test TXT {}\n\
         s._domainkey.other.test TXT {}\nrevoked._domainkey.client.test TXT v=DKIM1; p=\n\
         broken._domainkey.client.test TXT SERVFAIL\n",
        key.record, weak.record, ed25519.record, key.record
    ));
    let daemon =
        Daemon::start(&format!("explain = false\n{UNREACHABLE}"), &format!("{}{REPORT_ONLY}", dns.toml()));
    World { key, ed25519, dns, daemon }
}

impl World {
    /// The message with a signature in front, made by dkimpy.
    fn signed(&self, message: &str, options: &str) -> String {
        sign(message, &self.key, options)
    }

    /// The results that the daemon writes for a message in RFC 5322 form.
    fn results(&self, message: &str) -> String {
        results(&self.daemon, message.as_bytes())
    }
}

/// The results that a daemon writes for a message in RFC 5322 form, seen from outside.
pub(crate) fn results(daemon: &Daemon, message: &[u8]) -> String {
    let frames = judged(daemon, message);
    assert_eq!(frames.last().map(Vec::as_slice), Some(&b"c"[..]));
    let inserted = frames.iter().find(|frame| frame.starts_with(b"i\0\0\0\0Authentication-Results\0"));
    String::from_utf8_lossy(&inserted.expect("results are inserted")[5..]).replace("\n\t", " ")
}

/// The frames that a daemon answers to a message in RFC 5322 form.
pub(crate) fn judged(daemon: &Daemon, message: &[u8]) -> Vec<Vec<u8>> {
    let mut peer = daemon.connect();
    peer.begin();
    show(&mut peer, message);
    peer.end_of_message()
}

/// Shows header and body as Postfix does: a field is its name and everything after the colon, folds as LF.
pub(crate) fn show(peer: &mut Peer, message: &[u8]) {
    let mut rest = message;
    let mut fields: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    while !rest.is_empty() {
        let end = rest.windows(2).position(|two| two == b"\r\n").unwrap_or(rest.len());
        let line = &rest[..end];
        rest = &rest[(end + 2).min(rest.len())..];
        match fields.last_mut() {
            _ if line.is_empty() => break,
            Some((_, value)) if matches!(line[0], b' ' | b'\t') => {
                value.push(b'\n');
                value.extend_from_slice(line);
            }
            _ => {
                let colon = line.iter().position(|&byte| byte == b':').unwrap();
                fields.push((line[..colon].to_vec(), line[colon + 1..].to_vec()));
            }
        }
    }
    for (name, value) in fields {
        assert!(peer.send(&[b"L", &name[..], b"\0", &value, b"\0"].concat()));
    }
    assert!(peer.send(b"N"));
    for piece in rest.chunks(65_535) {
        assert!(peer.send(&[b"B", piece].concat()));
    }
}

#[test]
fn signatures_hold_in_every_canonicalization() {
    let world = world();
    for canonicalization in
        ["simple', b'simple", "simple', b'relaxed", "relaxed', b'simple", "relaxed', b'relaxed"]
    {
        let message = world.signed(MESSAGE, &format!("canonicalize=(b'{canonicalization}')"));
        let results = world.results(&message);
        assert!(results.contains("dkim=pass header.d=client.test header.i=\"@client.test\" header.s=s header.a=rsa-sha256 header.b="), "{results}");
        // SPF fails here, so DMARC passes by the signature alone.
        assert!(
            results.contains("spf=fail") && results.contains("dmarc=pass (p=reject) header.from=client.test"),
            "{results}"
        );
    }
    assert_eq!(world.dns.asked("s._domainkey.client.test"), 1, "the key is asked for once");
}

#[test]
fn ed25519_and_several_signatures() {
    let world = world();
    let ed = sign(MESSAGE, &world.ed25519, "selector=b'ed', signature_algorithm=b'ed25519-sha256'");
    let both = world.signed(&ed, "");
    let results = world.results(&both);
    assert_eq!(results.matches("dkim=pass").count(), 2, "{results}");
    assert!(
        results.contains("header.s=s header.a=rsa-sha256")
            && results.contains("header.s=ed header.a=ed25519-sha256"),
        "{results}"
    );
}

#[test]
fn what_was_changed_does_not_hold() {
    let world = world();
    let message = world.signed(MESSAGE, "");
    for (name, changed) in [
        ("body", message.replace("at ten", "at six")),
        ("subject", message.replace("folded", "spindled")),
        ("cut", message.replace("see  you", "")),
        ("appended", format!("{message}ps: and bring money\r\n")),
    ] {
        assert_ne!(changed, message);
        let results = world.results(&changed);
        assert!(results.contains("dkim=fail ("), "{name}: {results}");
        assert!(results.contains("dmarc=fail (p=reject dis=none)"), "{name}: {results}");
    }
}

#[test]
fn what_cannot_be_judged_is_not_a_failure() {
    let world = world();
    for (name, message, result) in [
        (
            "l= of a part",
            format!("{}ps: and bring money\r\n", world.signed(MESSAGE, "length=True")),
            "dkim=policy (covers only 35 of 60 bytes of the body) header.d=client.test",
        ),
        (
            "rsa-sha1",
            world.signed(MESSAGE, "signature_algorithm=b'rsa-sha1'"),
            "dkim=neutral (rsa-sha1 is not accepted RFC 8301",
        ),
        ("no such key", world.signed(MESSAGE, "selector=b'none'"), "dkim=permerror ("),
        ("a key that is no more", world.signed(MESSAGE, "selector=b'revoked'"), "dkim=permerror ("),
        ("DNS fails", world.signed(MESSAGE, "selector=b'broken'"), "dkim=temperror ("),
        ("garbage", format!("DKIM-Signature: v=1; what is this\r\n{MESSAGE}"), "dkim=neutral ("),
        ("another version", world.signed(MESSAGE, "").replace("v=1;", "v=2;"), "dkim=neutral ("),
    ] {
        let results = world.results(&message);
        assert!(results.contains(result), "{name}: {results}");
        assert!(!results.contains("dkim=fail") && !results.contains("dkim=pass"), "{name}: {results}");
    }
    // While the key cannot be had, nobody can say that DMARC fails either.
    let results = world.results(&world.signed(MESSAGE, "selector=b'broken'"));
    assert!(results.contains("dmarc=temperror header.from=client.test"), "{results}");
}

#[test]
fn a_signature_of_somebody_else_helps_nobody() {
    let world = world();
    let results = world.results(&world.signed(MESSAGE, "domain=b'other.test'"));
    assert!(
        results.contains("dkim=pass header.d=other.test")
            && results.contains("dmarc=fail (p=reject dis=none)"),
        "{results}"
    );
}

#[test]
fn big_messages_are_verified_whole() {
    let world = world();
    let line = "A line of a hundred bytes or so, again and again, until the message is larger than what rules see.\r\n";
    let message = world.signed(&format!("{MESSAGE}{}", line.repeat(80_000)), "");
    assert!(message.len() > 7 << 20);
    assert!(world.results(&message).contains("dkim=pass"));
    let last = message.trim_end().rfind("again").unwrap();
    let changed = format!("{}AGAIN{}", &message[..last], &message[last + 5..]);
    assert!(world.results(&changed).contains("dkim=fail"), "the last line counts");
}

/// Beyond `limits.message`, nothing is said about signatures, and so nothing about DMARC.
#[test]
fn beyond_the_bound_the_fact_is_missing() {
    let key = Key::rsa();
    let dns = Dns::serve(&format!("{ZONE}s._domainkey.client.test TXT {}\n", key.record));
    let limits =
        format!("{}{REPORT_ONLY}[milter.limits]\nrules-body = \"1KiB\"\nmessage = \"2KiB\"\n", dns.toml());
    let daemon = Daemon::start(&format!("explain = false\n{UNREACHABLE}"), &limits);
    let world = World { ed25519: Key { pem: String::new(), record: String::new() }, key, dns, daemon };
    let message = world.signed(&format!("{MESSAGE}{}", "filler\r\n".repeat(1000)), "");
    let results = world.results(&message);
    assert!(!results.contains("dkim=") && !results.contains("dmarc="), "{results}");
    assert!(results.contains("spf=fail"), "{results}");
}

/// Signs with dkimpy; `options` are Python keyword arguments.
pub(crate) fn sign(message: &str, key: &Key, options: &str) -> String {
    let program = format!(
        "import sys, dkim, tempfile\n\
         arguments = dict(selector=b's', domain=b'client.test', include_headers=[b'from', b'subject', b'message-id', b'x-odd'])\n\
         arguments.update(dict({options}))\n\
         message = sys.stdin.buffer.read()\n\
         key = {}\n\
         sys.stdout.buffer.write(dkim.sign(message, privkey=key, **arguments) + message)\n",
        key.for_dkimpy()
    );
    python(&program, message)
}

/// What a Python program makes of a text.
pub(crate) fn python(program: &str, text: &str) -> String {
    let mut child = Command::new("/usr/bin/python3")
        .arg("-c")
        .arg(program)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let text = text.to_owned();
    let writer = std::thread::spawn(move || input.write_all(text.as_bytes()).unwrap());
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    assert!(output.status.success(), "{program}");
    String::from_utf8(output.stdout).unwrap()
}

/// Records of every kind: what the key says decides, and the result says what it was.
#[test]
fn what_key_records_say() {
    let key = Key::rsa();
    let weak = Key::rsa_of(1024);
    let short = Key::rsa_of(768);
    let other = Key::ed25519();
    let p = key.record.rsplit_once("p=").unwrap().1.to_owned();
    let zone = format!(
        "{ZONE}s._domainkey.client.test TXT {good}\nweak._domainkey.client.test TXT {}\nshort._domainkey.client.test TXT {}\n\
         two._domainkey.client.test TXT {}\ntwo._domainkey.client.test TXT {good}\n\
         text._domainkey.client.test TXT not a key\ntext._domainkey.client.test TXT {good}\n\
         alias._domainkey.client.test CNAME keys.other.test\nkeys.other.test CNAME s._domainkey.client.test\n\
         loop._domainkey.client.test CNAME loop2._domainkey.client.test\nloop2._domainkey.client.test CNAME loop._domainkey.client.test\n\
         testing._domainkey.client.test TXT v=DKIM1; t=y; p={p}\nstrict._domainkey.client.test TXT v=DKIM1; t=s; p={p}\n\
         sha1._domainkey.client.test TXT v=DKIM1; h=sha1; p={p}\nsha256._domainkey.client.test TXT v=DKIM1; h=sha1:sha256; p={p}\n\
         web._domainkey.client.test TXT v=DKIM1; s=tlsrpt; p={p}\ntwice._domainkey.client.test TXT v=DKIM1; p={p}; p={p}\n\
         type._domainkey.client.test TXT v=DKIM1; k=ed25519; p={p}\naddress._domainkey.client.test A 192.0.2.1\n",
        weak.record,
        short.record,
        other.record,
        good = key.record,
    );
    let dns = Dns::serve(&zone);
    let daemon =
        Daemon::start(&format!("explain = false\n{UNREACHABLE}"), &format!("{}{REPORT_ONLY}", dns.toml()));
    for (selector, key, expected) in [
        ("s", &key, "dkim=pass header.d=client.test"),
        ("weak", &weak, "dkim=pass (1024-bit key) header.d=client.test"),
        ("short", &short, "dkim=permerror (the key is shorter than 1024 bits"),
        // Of several records each may be tried (RFC 6376, 6.1.2); a text that is no key hinders none.
        ("two", &key, "dkim=pass header"),
        ("text", &key, "dkim=pass header"),
        ("alias", &key, "dkim=pass header"),
        ("testing", &key, "dkim=pass (test mode)"),
        ("strict", &key, "dkim=pass header"),
        ("sha256", &key, "dkim=pass header"),
        ("sha1", &key, "dkim=permerror (the key is not for sha256)"),
        ("web", &key, "dkim=permerror (the key is not for mail)"),
        ("twice", &key, "dkim=permerror (the key record is malformed)"),
        ("type", &key, "dkim=permerror (the key record holds no key of its type)"),
        ("address", &key, "dkim=permerror (no such key)"),
        ("loop", &key, "dkim="),
    ] {
        let found = results(&daemon, sign(MESSAGE, key, &format!("selector=b'{selector}'")).as_bytes());
        assert!(found.contains(expected), "{selector}: {found}");
        assert!(selector != "loop" || !found.contains("dkim=pass"), "{found}");
    }
    // In test mode a broken signature is as good as none (RFC 6376, 3.6.1).
    let broken = sign(MESSAGE, &key, "selector=b'testing'").replace("folded", "spindled");
    let found = results(&daemon, broken.as_bytes());
    assert!(
        found.contains("dkim=neutral (the signed headers were changed; the key is in test mode)"),
        "{found}"
    );
    // `t=s`: the identity must be of the signing domain itself.
    let below = sign(MESSAGE, &key, "selector=b'strict', identity=b'@sub.client.test'");
    let found = results(&daemon, below.as_bytes());
    assert!(found.contains("dkim=fail (the key is not for subdomains)"), "{found}");
    let below = sign(MESSAGE, &key, "identity=b'@sub.client.test'");
    assert!(results(&daemon, below.as_bytes()).contains("dkim=pass"), "a subdomain is allowed without t=s");
}

/// Fields that break a rule are not verified, whatever their signature is worth.
#[test]
fn what_a_signature_must_not_say() {
    let world = world();
    let signed = world.signed(MESSAGE, "");
    let field_end = signed.find("\r\nFrom:").unwrap();
    let with = |tags: &str| format!("{};{tags}{}", &signed[..field_end], &signed[field_end..]);
    for (name, message, expected) in [
        ("expired", with(" x=1600000000"), "dkim=neutral"),
        (
            "from the future",
            signed.replacen("; t=", "; t=9", 1),
            "dkim=neutral (the signature is from the future)",
        ),
        ("a tag twice", with(" d=client.test"), "dkim=neutral (a tag is given twice)"),
        ("x= that is none", with(" x=soon"), "dkim=neutral (tag x= is malformed)"),
        ("an unknown way to the key", signed.replacen("q=dns/txt", "q=http", 1), "dkim=neutral (unknown way"),
        ("i= of others", signed.replacen("i=@client.test", "i=@client.tes", 1), "dkim=neutral (the identity"),
        ("no v=", signed.replacen("v=1; ", "", 1), "dkim=neutral (tag v= is missing)"),
        ("no d=", signed.replacen(" d=client.test;", "", 1), "dkim=neutral (tag d= is missing)"),
        ("From not signed", signed.replacen("h=from : ", "h=", 1), "dkim=permerror (From is not signed)"),
        ("64 KB of signature", signed.replacen(" b=", &format!(" b={}", "A".repeat(59_000)), 1), "dkim=fail"),
        (
            "too many tags",
            with(&(0..100).map(|at| format!(" u{at}=1;")).collect::<String>()),
            "dkim=neutral (too many tags)",
        ),
    ] {
        assert_ne!(message, signed, "{name}");
        let found = world.results(&message);
        assert!(found.contains(expected) && !found.contains("dkim=pass"), "{name}: {found}");
        assert!(found.len() < 1500, "{name}: {} bytes", found.len());
    }
    // Base64 may be folded anywhere: what is in `b=` is not signed itself.
    let b = signed.find(" b=").unwrap() + 10;
    let folded = format!("{}\r\n\t {}", &signed[..b], &signed[b..]);
    assert!(world.results(&folded).contains("dkim=pass"));
}

/// The defects of older libraries. A body that ends in lines of white space; names with white space in or behind them.
#[test]
fn what_older_libraries_got_wrong() {
    let world = world();
    for body in ["</html>\r\n    \r\n", "x\r\n \t\r\n\r\n  \r\n", " \r\n"] {
        for form in ["simple', b'relaxed", "relaxed', b'relaxed", "relaxed', b'simple"] {
            let message = format!("From: sender@client.test\r\nMessage-ID: <1@client.test>\r\n\r\n{body}");
            let signed = world.signed(&message, &format!("canonicalize=(b'{form}')"));
            let found = world.results(&signed);
            assert!(found.contains("dkim=pass"), "{form} {body:?}: {found}");
        }
    }
    // `Fr om:` is no From: a signature over From does not speak of it, and it is nobody's author.
    let signed = world.signed(MESSAGE, "");
    let renamed = signed.replacen("\r\nFrom: Sender", "\r\nFr om: Sender", 1);
    let found = world.results(&renamed);
    assert!(found.contains("dkim=fail") && !found.contains("header.from=client.test"), "{found}");
    let added = signed.replacen("\r\nFrom: Sender", "\r\nFr om: evil@evil.test\r\nFrom: Sender", 1);
    let found = world.results(&added);
    assert!(found.contains("dkim=pass") && found.contains("header.from=client.test"), "{found}");
    // `From :` is From (RFC 5322, 4.5), so one on top of it is a second author.
    let relaxed = world.signed(MESSAGE, "canonicalize=(b'relaxed', b'relaxed')");
    let spaced = relaxed.replacen("\r\nFrom: Sender", "\r\nFrom : Sender", 1);
    let found = world.results(&spaced);
    assert!(found.contains("dkim=pass") && found.contains("header.from=client.test"), "{found}");
}
