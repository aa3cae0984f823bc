//! The check `country` with files of MaxMind's format, written here by hand (MaxMind DB File Format Specification 2.0).

use std::net::Ipv4Addr;
use std::path::Path;

use gatepost_postfix_policy::protocol::policy::Request;

use crate::instance::{Instance, Setup};
use crate::postfix::{ALICE, Postfix};

/// A search tree of IPv4 networks, 24 bits a record, and the data that they lead to.
fn write(path: &Path, kind: &str, networks: &[(&str, Vec<u8>)]) {
    let mut nodes: Vec<[Option<Leaf>; 2]> = vec![[None, None]];
    let mut data = Vec::new();
    for (network, value) in networks {
        let (address, prefix) = network.split_once('/').unwrap();
        let bits = u32::from(address.parse::<Ipv4Addr>().unwrap());
        let prefix: u32 = prefix.parse().unwrap();
        let mut node = 0;
        for bit in 0..prefix {
            let side = (bits >> (31 - bit) & 1) as usize;
            if bit + 1 == prefix {
                nodes[node][side] = Some(Leaf::Data(data.len()));
                break;
            }
            node = match nodes[node][side] {
                Some(Leaf::Node(next)) => next,
                _ => {
                    nodes.push([None, None]);
                    nodes[node][side] = Some(Leaf::Node(nodes.len() - 1));
                    nodes.len() - 1
                }
            };
        }
        data.extend_from_slice(value);
    }
    let mut file = Vec::new();
    for record in nodes.iter().flatten() {
        let number = match record {
            None => nodes.len(),
            Some(Leaf::Node(next)) => *next,
            Some(Leaf::Data(offset)) => nodes.len() + 16 + offset,
        };
        file.extend_from_slice(&u32::try_from(number).unwrap().to_be_bytes()[1..]);
    }
    file.extend_from_slice(&[0; 16]);
    file.extend_from_slice(&data);
    file.extend_from_slice(b"\xab\xcd\xefMaxMind.com");
    file.extend(map(&[
        ("binary_format_major_version", number(5, 2)),
        ("binary_format_minor_version", number(5, 0)),
        // uint64 is type 9, written as 9 - 7 behind a control byte of the extended kind.
        ("build_epoch", vec![1, 2, 1]),
        ("database_type", text(kind)),
        ("description", map(&[])),
        ("ip_version", number(5, 4)),
        // An array is type 11.
        ("languages", vec![0, 4]),
        ("node_count", number(6, u32::try_from(nodes.len()).unwrap())),
        ("record_size", number(5, 24)),
    ]));
    // As geoipupdate does: a new file in the place of the old one.
    let new = path.with_extension("new");
    std::fs::write(&new, file).unwrap();
    std::fs::rename(new, path).unwrap();
}

#[derive(Clone, Copy)]
enum Leaf {
    Node(usize),
    Data(usize),
}

fn text(text: &str) -> Vec<u8> {
    assert!(text.len() < 29);
    [&[2 << 5 | text.len() as u8], text.as_bytes()].concat()
}

fn number(kind: u8, number: u32) -> Vec<u8> {
    let bytes = number.to_be_bytes();
    let bytes = &bytes[if kind == 5 { 2 } else { 0 }..];
    [&[kind << 5 | bytes.len() as u8], bytes].concat()
}

fn map(entries: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut out = vec![7 << 5 | entries.len() as u8];
    for (key, value) in entries {
        out.extend(text(key));
        out.extend_from_slice(value);
    }
    out
}

fn country(code: &str) -> Vec<u8> {
    map(&[("country", map(&[("iso_code", text(code))]))])
}

fn system(asn: u32) -> Vec<u8> {
    map(&[("autonomous_system_number", number(6, asn))])
}

async fn judge(instance: &Instance, client: &str, login: &str) -> String {
    let text = format!(
        "request=smtpd_access_policy\nprotocol_state=RCPT\nclient_address={client}\nsender=s@foreign.test\nrecipient=alice@example.com\nsasl_username={login}\n"
    );
    instance.service.judge(0, &Request::parse(text.as_bytes()).unwrap()).await.text()
}

#[tokio::test]
async fn clients_are_judged_by_country_and_network() {
    let folder = tempfile::tempdir().unwrap();
    let (countries, networks) = (folder.path().join("country.mmdb"), folder.path().join("asn.mmdb"));
    write(
        &countries,
        "GeoLite2-Country",
        &[
            ("192.0.2.0/24", country("DE")),
            ("198.51.100.0/24", country("XX")),
            ("198.51.100.128/25", country("FR")),
        ][..2],
    );
    write(&networks, "GeoLite2-ASN", &[("203.0.113.0/24", system(64500)), ("192.0.2.0/25", system(64501))]);
    let settings = format!(
        "[postfix-policy.country]\ndatabase = \"{}\"\nnetwork-database = \"{}\"\ndeny = [\"XX\"]\ndeny-networks = [64500]\nlogin-countries = [\"DE\"]\n",
        countries.display(),
        networks.display()
    );
    let instance =
        Instance::start(&Setup { settings, checks: Some("[\"country\"]".into()), ..Setup::default() }).await;
    assert_eq!(judge(&instance, "192.0.2.7", "").await, "DUNNO");
    assert_eq!(judge(&instance, "198.51.100.7", "").await, "554 5.7.1 No mail from XX is taken here");
    assert_eq!(
        judge(&instance, "203.0.113.7", "").await,
        "554 5.7.1 No mail from network AS64500 is taken here"
    );
    assert_eq!(judge(&instance, "10.1.2.3", "").await, "DUNNO", "an address that no file knows");
    assert_eq!(judge(&instance, "2001:db8::1", "").await, "DUNNO", "a family that the file has not");
    assert_eq!(judge(&instance, "192.0.2.7", "alice@example.com").await, "DUNNO");
    assert_eq!(
        judge(&instance, "198.51.100.7", "alice@example.com").await,
        "554 5.7.1 This login may not send from XX"
    );
    assert_eq!(judge(&instance, "10.1.2.3", "alice@example.com").await, "DUNNO");
    instance.stop().await;
}

/// The same asked by a real Postfix, the client's address given by XCLIENT.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_hears_where_it_may_not_come_from() {
    let folder = tempfile::tempdir().unwrap();
    let countries = folder.path().join("country.mmdb");
    write(
        &countries,
        "GeoLite2-Country",
        &[("192.0.2.0/24", country("DE")), ("198.51.100.0/24", country("XX"))],
    );
    let settings = format!(
        "[postfix-policy.country]\ndatabase = \"{}\"\ndeny = [\"XX\"]\nlogin-countries = [\"DE\"]\n",
        countries.display()
    );
    let instance =
        Instance::start(&Setup { settings, checks: Some("[\"country\"]".into()), ..Setup::default() }).await;
    let policy = format!("check_policy_service unix:{}", instance.socket("policy").display());
    let main = format!(
        "smtpd_authorized_xclient_hosts = 127.0.0.1\nsmtpd_sender_restrictions =\nsmtpd_client_restrictions = {policy}\nsmtpd_data_restrictions =\n"
    );
    let postfix = Postfix::start_with(&instance, &main, "").await;
    for (client, login, answer) in [
        ("192.0.2.7", false, "250 "),
        ("198.51.100.7", false, "554 5.7.1 <unknown[198.51.100.7]>: Client host rejected: No mail from XX"),
        ("10.1.2.3", false, "250 "),
        ("192.0.2.7", true, "250 "),
        ("198.51.100.7", true, "554 5.7.1 <unknown[198.51.100.7]>: Client host rejected: This login may not"),
    ] {
        let xclient = format!("XCLIENT ADDR={client} NAME=[UNAVAILABLE]");
        let mut lines =
            vec![("EHLO proxy.test", "250 "), (xclient.as_str(), "220 "), ("EHLO client.test", "250 ")];
        if login {
            lines.push((ALICE, "235 "));
        }
        lines.extend([("MAIL FROM:<alice@example.com>", "250 "), ("RCPT TO:<bob@example.com>", answer)]);
        postfix.session(&lines).await;
    }
    postfix.stop().await;
    instance.stop().await;
}

/// A file that is missing, cut off or no database at all refuses nobody, and says so.
#[tokio::test]
async fn a_broken_file_refuses_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("country.mmdb");
    write(&path, "GeoLite2-Country", &[("0.0.0.0/1", country("XX"))]);
    let whole = std::fs::read(&path).unwrap();
    let settings = format!("[postfix-policy.country]\ndatabase = \"{}\"\ndeny = [\"XX\"]\n", path.display());
    let setup = Setup { settings, checks: Some("[\"country\"]".into()), ..Setup::default() };
    for content in
        [None, Some(&b""[..]), Some(b"no database"), Some(&whole[..whole.len() / 2]), Some(&whole[7..])]
    {
        match content {
            None => std::fs::remove_file(&path).unwrap(),
            Some(content) => std::fs::write(&path, content).unwrap(),
        }
        let instance = Instance::start(&setup).await;
        let action = judge(&instance, "9.9.9.9", "").await;
        assert_eq!(action, "DUNNO", "{content:?}");
        instance.stop().await;
    }
    std::fs::write(&path, &whole).unwrap();
    let instance = Instance::start(&setup).await;
    assert_eq!(judge(&instance, "9.9.9.9", "").await, "554 5.7.1 No mail from XX is taken here");
    instance.stop().await;
}
