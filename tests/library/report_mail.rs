//! The mail around an aggregate report: as others take ours apart, as we take theirs, and what does not deserve to be unpacked.

use std::io::Write;
use std::process::{Command, Stdio};

use gatepost::dmarc::{pack, read, unpack, write};

use crate::reports::{GOOGLE, MICROSOFT, full, record, report};

#[test]
fn a_mail_as_others_take_it_apart() {
    let report = full();
    let sender = pack::Sender {
        organization: "Bücher & Söhne",
        address: "dmarc-reports@example.com",
        domain: "example.com",
    };
    let to = ["reports@example.org".to_owned(), "agg@third.test".to_owned()];
    let packed = pack::pack(&report, &write::xml(&report), &sender, &to, 1_764_030_000).unwrap();
    assert_eq!(packed.file, "example.com!example.org!1763942400!1764028799.xml.gz");
    // Python's mail package is somebody else's reading of the same mail.
    let script = "import sys, email, email.policy, gzip\n\
        m = email.message_from_binary_file(sys.stdin.buffer, policy=email.policy.default)\n\
        print(m['Subject']); print(m['From']); print(m['To']); print(m['Auto-Submitted']); print(m['Date']); print(m['Message-ID'])\n\
        (a,) = m.iter_attachments(); print(a.get_content_type(), a.get_filename(), a['Content-Disposition'].content_disposition)\n\
        print(gzip.decompress(a.get_content()).decode().count('<record>')); print(not m.defects and not a.defects)\n\
        print(m.get_body(('plain',)).get_content().splitlines()[0])";
    let mut python = Command::new("python3")
        .args(["-c", script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    python.stdin.take().unwrap().write_all(&packed.mail).unwrap();
    let said = String::from_utf8(python.wait_with_output().unwrap().stdout).unwrap();
    assert_eq!(
        said.lines().collect::<Vec<_>>(),
        [
            "Report Domain: example.org Submitter: example.com Report-ID: <example.org.1763942400@example.com>",
            "Bücher & Söhne <dmarc-reports@example.com>",
            "reports@example.org, agg@third.test",
            "auto-generated",
            "Tue, 25 Nov 2025 00:20:00 +0000",
            "<example.org.1763942400@example.com>",
            "application/gzip example.com!example.org!1763942400!1764028799.xml.gz attachment",
            "14",
            "True",
            "This is a DMARC aggregate report (RFC 9990) from example.com.",
        ]
    );
    let text = String::from_utf8(packed.mail.clone()).unwrap();
    // The subject's words as they are, folded between them; the longest domains too.
    let unfolded = text.replace("\r\n\t", " ").replace("\r\n ", " ");
    assert!(
        unfolded.contains("\nSubject: Report Domain: example.org Submitter: example.com Report-ID: <example.org.1763942400@example.com>\r\n"),
        "{text}"
    );
    assert!(text.lines().all(|line| line.len() <= 998) && text.is_ascii());
    assert_eq!(text.matches('\n').count(), text.matches("\r\n").count());
    let found = unpack::unpack(&packed.mail).unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].name.as_deref(), Some(packed.file.as_str()));
    assert_eq!(read::xml(&found[0].xml).unwrap(), report);
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    out.write_all(bytes).unwrap();
    out.finish().unwrap()
}

fn zipped(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut out = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, bytes) in entries {
        out.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
        out.write_all(bytes).unwrap();
    }
    out.finish().unwrap().into_inner()
}

fn mail(kind: &str, name: &str, content: &[u8]) -> Vec<u8> {
    use base64::Engine;
    let lines = base64::engine::general_purpose::STANDARD.encode(content);
    let lines: Vec<&str> =
        lines.as_bytes().chunks(76).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!(
        "Received: from x by y; Mon, 24 Nov 2025 00:00:00 +0000\r\nFrom: a@b.test\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=\"x\"\r\n\r\n\
         --x\r\nContent-Type: text/html\r\n\r\n<p>A report</p>\r\n--x\r\nContent-Type: {kind}; name=\"{name}\"\r\nContent-Transfer-Encoding: base64\r\n\
         Content-Disposition: attachment; filename=\"{name}\"\r\n\r\n{}\r\n--x--\r\n",
        lines.join("\r\n")
    )
    .into_bytes()
}

#[test]
fn whatever_a_report_comes_in() {
    let xml = GOOGLE.as_bytes();
    let (gz, zip) = (gzip(xml), zipped(&[("__MACOSX/x", b"junk"), ("big!example.com!1!2.xml", xml)]));
    let single = {
        use base64::Engine;
        let body = base64::engine::general_purpose::STANDARD.encode(&zip);
        format!("Subject: x\nContent-Type: application/zip; name=r.zip\nContent-Transfer-Encoding: base64\n\n{body}\n").into_bytes()
    };
    let forwarded = [
        b"Subject: Fwd\r\nMIME-Version: 1.0\r\nContent-Type: message/rfc822\r\n\r\n".as_slice(),
        &mail("application/gzip", "r.xml.gz", &gz),
    ]
    .concat();
    let mbox =
        [b"From a@b.test Mon Nov 24 00:00:00 2025\n".as_slice(), &mail("application/zip", "r.zip", &zip)]
            .concat();
    let lying = mail("application/octet-stream", "r.zip", &gz);
    let plain = mail("text/xml", "r.xml", xml);
    let folder = zipped(&[("a.xml", xml), ("b.xml", MICROSOFT.as_bytes())]);
    // Two members are one gzip file (RFC 1952, 2.2).
    let members = [gzip(&xml[..100]), gzip(&xml[100..])].concat();
    for (what, file, count) in [
        ("xml", xml.to_vec(), 1),
        ("gzip", gz, 1),
        ("zip", zip, 1),
        ("a mail that is the zip", single, 1),
        ("forwarded", forwarded, 1),
        ("mbox", mbox, 1),
        ("a wrong type and name", lying, 1),
        ("xml in a mail", plain, 1),
        ("two in a zip", folder, 2),
        ("gzip of two members", members, 1),
    ] {
        let found = unpack::unpack(&file).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(found.len(), count, "{what}");
        assert_eq!(read::xml(&found[0].xml).unwrap().records.len(), 2, "{what}");
    }
}

#[test]
fn bombs_and_rubbish_are_bounded() {
    // A GiB of zeros, packed once and twice; a stream that never ends is the same to the reader.
    let mut bomb = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let zeros = vec![b' '; 1 << 20];
    bomb.write_all(GOOGLE.as_bytes()).unwrap();
    for _ in 0..1024 {
        bomb.write_all(&zeros).unwrap();
    }
    let bomb = bomb.finish().unwrap();
    assert!(bomb.len() < 16 << 20);
    let mut big = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    big.start_file("r.xml", zip::write::SimpleFileOptions::default()).unwrap();
    for _ in 0..100 {
        big.write_all(&zeros).unwrap();
    }
    let big = big.finish().unwrap().into_inner();
    let xml = GOOGLE.as_bytes();
    let many: Vec<(String, &[u8])> = (0..101).map(|number| (format!("{number}.xml"), xml)).collect();
    let many = zipped(&many.iter().map(|(name, bytes)| (name.as_str(), *bytes)).collect::<Vec<_>>());
    // Ten files of 30 MiB each: every one within its bound, all together not.
    let wide = [xml, &zeros.repeat(30)].concat();
    let sum = zipped(&[("1.xml", wide.as_slice()), ("2.xml", &wide), ("3.xml", &wide)]);
    let truncated = &gzip(xml)[..200];
    let damaged = {
        let mut gz = gzip(xml);
        let middle = gz.len() / 2;
        gz[middle] ^= 0xff;
        gz
    };
    let cut_zip = &zipped(&[("r.xml", xml)])[..300].to_vec();
    for (what, file, expected) in [
        ("gzip bomb", bomb.clone(), "unpacks to more than 32 MiB"),
        ("bomb in a mail", mail("application/gzip", "r.xml.gz", &bomb), "unpacks to more than 32 MiB"),
        ("zip bomb", big, "unpacks to more than 32 MiB"),
        ("sum", sum, "unpacks to more than"),
        (
            "nested",
            zipped(&[("0.zip", &zipped(&[("1.zip", b"PK\x03\x04")]))]),
            "an archive inside an archive",
        ),
        ("gzip in gzip", gzip(&gzip(xml)), "an archive inside an archive"),
        ("many entries", many, "a zip file with 101 entries"),
        ("empty zip", zipped(&[]), "nothing in it"),
        ("truncated gzip", truncated.to_vec(), "damaged gzip data"),
        ("damaged gzip", damaged, "damaged gzip data"),
        ("truncated zip", cut_zip.clone(), "damaged zip data"),
        ("a long zip", [b"PK\x03\x04".as_slice(), &vec![0; 9 << 20]].concat(), "larger than 8 MiB"),
        ("empty", Vec::new(), "empty"),
        ("blank", b" \r\n ".to_vec(), "empty"),
        ("gzip of nothing", gzip(b""), "empty"),
        (
            "text",
            b"hello world\n".to_vec(),
            "neither XML, gzip, zip nor a mail: it begins with \"hello world",
        ),
        ("picture", b"\x89PNG\r\n\x1a\n\0\0".to_vec(), "neither XML, gzip, zip nor a mail"),
        ("json", gzip(b"{\"organization-name\":\"x\"}"), "TLS report"),
        (
            "mail without",
            b"Subject: hello\r\n\r\nno report\r\n".to_vec(),
            "a mail without a report; its parts: text/plain",
        ),
        ("picture in a mail", mail("image/png", "x.png", b"\x89PNG"), "its parts: text/html, image/png"),
    ] {
        let said = unpack::unpack(&file).map(|found| found.len()).unwrap_err().to_string();
        assert!(said.contains(expected), "{what}: {said:?}, expected {expected:?}");
    }
    // Any cut of a mail, and any byte changed, is an answer or an error, never more.
    let whole = mail("application/gzip", "r.xml.gz", &gzip(xml));
    for at in (0..whole.len()).step_by(7) {
        let _ = unpack::unpack(&whole[..at]);
        let mut changed = whole.clone();
        changed[at] = changed[at].wrapping_add(1);
        for found in unpack::unpack(&changed).unwrap_or_default() {
            let _ = read::xml(&found.xml);
        }
    }
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(200))]

    /// Whatever texts a stranger's mail had in it, the report is valid, and says of them what XML can say.
    #[test]
    fn any_text_survives(text in "\\PC{0,40}", control in "[\u{0}-\u{20}]{0,5}", count in 0_u64..1 << 62) {
        let text = format!("x{text}x");
        let mut report = report(vec![record("192.0.2.1", count)]);
        report.records[0].header_from = text.replace('x', &format!("x{control}"));
        report.metadata.organization = text.clone();
        let found = read::xml(write::xml(&report).as_bytes()).unwrap();
        let kept = |text: &str| text.chars().filter(|one| !matches!(*one, '\u{fffe}' | '\u{ffff}')).collect::<String>();
        proptest::prop_assert_eq!(&found.metadata.organization, &kept(&text));
        proptest::prop_assert_eq!(found.records[0].count, count);
    }

    #[test]
    fn no_bytes_upset_the_reader(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..300), at in 0_usize..1800) {
        let mut damaged = GOOGLE.as_bytes().to_vec();
        let at = at.min(damaged.len());
        damaged.splice(at..at, bytes.iter().copied());
        let _ = read::xml(&damaged);
        let _ = unpack::unpack(&bytes);
    }
}
