//! The text of a DMARC Policy Record, and what it says (RFC 9989, 4.7 and 4.8).
//!
//! ```text
//! record  = version *( *WSP ";" *WSP tag ) [ *WSP ";" *WSP ]      version = "v" *WSP "=" *WSP "DMARC1" (this case)
//! tag     = name *WSP "=" *WSP value        value = printable ASCII but ";"
//! ```
//!
//! For `evaluate`. Unknown tags are ignored; a mistake in a tag leaves its default (4.7), except in `p`, `sp` and `np`, whose
//! mistakes are told by [`Parsed::valid_policies`]. Of a tag that occurs twice the first counts. Time is linear in the record.

use super::{AlignmentMode, DmarcPolicy, DmarcRecord, Psd};

/// A record, and whether its policies can be relied upon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Parsed {
    pub(super) record: DmarcRecord,
    /// Whether `p` is there and valid, and `sp` and `np` are valid or absent (RFC 9989, 4.10.1).
    pub(super) valid_policies: bool,
}

/// Reads a TXT record found at `_dmarc.` and `domain`; none if it is no DMARC record.
pub(super) fn parse(text: &[u8], domain: &str) -> Option<Parsed> {
    // A byte beyond ASCII is a mistake of the tag in which it stands.
    let text = String::from_utf8_lossy(text);
    let mut tags = text.split(';').map(|tag| {
        let (name, value) = tag.split_once('=').unwrap_or((tag, ""));
        (name.trim_matches(WHITE), value.trim_matches(WHITE))
    });
    let (name, version) = tags.next()?;
    if !(name.eq_ignore_ascii_case("v") && version == "DMARC1") || text.starts_with(WHITE) {
        return None;
    }
    let mut seen = Tags::default();
    for (name, value) in tags {
        seen.take(name, value);
    }
    Some(seen.into_record(domain))
}

const WHITE: [char; 2] = [' ', '\t'];

/// The values of the known tags as published.
#[derive(Default)]
struct Tags<'a>([Option<&'a str>; NAMES.len()]);

/// RFC 9989, 4.7; `pct`, `rf` and `ri` of RFC 7489 are gone.
const NAMES: [&str; 10] = ["p", "sp", "np", "adkim", "aspf", "t", "psd", "fo", "rua", "ruf"];

impl<'a> Tags<'a> {
    fn take(&mut self, name: &str, value: &'a str) {
        if let Some(at) = NAMES.iter().position(|known| known.eq_ignore_ascii_case(name)) {
            self.0[at].get_or_insert(value);
        }
    }

    fn get(&self, name: &str) -> Option<&'a str> {
        NAMES.iter().position(|known| *known == name).and_then(|at| self.0[at])
    }

    fn is(&self, name: &str, value: &str) -> bool {
        self.get(name).is_some_and(|found| found.eq_ignore_ascii_case(value))
    }

    fn mode(&self, name: &str) -> AlignmentMode {
        if self.is(name, "s") { AlignmentMode::Strict } else { AlignmentMode::Relaxed }
    }

    fn into_record(self, domain: &str) -> Parsed {
        let policy = |name| self.get(name).map(policy);
        let (p, sp, np) = (policy("p"), policy("sp"), policy("np"));
        let psd = match () {
            () if self.is("psd", "y") => Psd::Yes,
            () if self.is("psd", "n") => Psd::No,
            () => Psd::Unknown,
        };
        let ruf = addresses(self.get("ruf"));
        Parsed {
            valid_policies: matches!(p, Some(Some(_))) && sp != Some(None) && np != Some(None),
            record: DmarcRecord {
                domain: domain.to_owned(),
                p: p.flatten(),
                sp: sp.flatten(),
                np: np.flatten(),
                adkim: self.mode("adkim"),
                aspf: self.mode("aspf"),
                t: self.is("t", "y"),
                psd,
                fo: failure_options(self.get("fo").filter(|_| !ruf.is_empty())),
                rua: addresses(self.get("rua")),
                ruf,
            },
        }
    }
}

fn policy(value: &str) -> Option<DmarcPolicy> {
    [DmarcPolicy::None, DmarcPolicy::Quarantine, DmarcPolicy::Reject]
        .into_iter()
        .find(|policy| policy.as_str().eq_ignore_ascii_case(value))
}

/// `fo`: options with colons between them; the default where one is unknown, and without `ruf` (RFC 9989, 4.7).
fn failure_options(value: Option<&str>) -> String {
    let options: Vec<String> =
        value.unwrap_or_default().split(':').map(|option| option.trim().to_ascii_lowercase()).collect();
    let known =
        options.len() <= 4 && options.iter().all(|option| matches!(option.as_str(), "0" | "1" | "d" | "s"));
    if known { options.join(":") } else { "0".to_owned() }
}

/// The addresses of `mailto:` URIs; the size limit of RFC 7489 is cut off, other schemes are ignored (RFC 9989, 4.7).
fn addresses(value: Option<&str>) -> Vec<String> {
    let uris = value.unwrap_or_default().split(',').map(|uri| uri.trim_matches(WHITE));
    uris.filter_map(mailto).take(MAX_ADDRESSES).collect()
}

fn mailto(uri: &str) -> Option<String> {
    let (scheme, rest) = uri.split_once(':')?;
    let address = rest.split(['!', '?']).next().filter(|_| scheme.eq_ignore_ascii_case("mailto"))?;
    let address = decoded(address)?;
    let address = gatepost::mail::Address::parse(&address).ok()?;
    Some(address.to_string()).filter(|text| text.is_ascii() && !text.contains(' '))
}

/// `%XX` as the byte that it stands for (RFC 3986, 2.1).
fn decoded(text: &str) -> Option<String> {
    let mut bytes = text.bytes();
    let mut out = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let digits = [bytes.next()?, bytes.next()?];
            let digits = std::str::from_utf8(&digits).ok()?;
            out.push(u8::from_str_radix(digits, 16).ok()?);
        } else {
            out.push(byte);
        }
    }
    String::from_utf8(out).ok()
}

/// Reports go to all that are listed (RFC 9989, 4.6); nobody lists more, and each costs a check and a mail.
const MAX_ADDRESSES: usize = 10;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn record(text: &str) -> Parsed {
        parse(text.as_bytes(), "example.test").unwrap()
    }

    #[test]
    fn the_version_is_first_and_exact() {
        for yes in ["v=DMARC1", "V = DMARC1 ; p=none", "v=DMARC1;", "v=DMARC1;p=none;;;"] {
            assert!(parse(yes.as_bytes(), "x.test").is_some(), "{yes}");
        }
        for no in [
            "",
            "v=dmarc1; p=none",
            "v=DMARC2; p=none",
            "v=DMARC1.; p=none",
            "p=none; v=DMARC1",
            " v=DMARC1",
            "v=spf1 -all",
            "v",
        ] {
            assert!(parse(no.as_bytes(), "x.test").is_none(), "{no}");
        }
    }

    #[test]
    fn every_tag() {
        let found = record(
            "v=DMARC1; P=Reject; sp = quarantine;np=none; adkim=s; aspf=S; t=y; psd=n; fo=1:d; pct=50; x=y; \
             rua=mailto:A@b.test!10m , https://c.test/, mailto:d%2Be@f.test?subject=x; ruf=mailto:g@h.test",
        );
        assert!(found.valid_policies);
        let found = found.record;
        assert_eq!(
            (found.p, found.sp, found.np),
            (Some(DmarcPolicy::Reject), Some(DmarcPolicy::Quarantine), Some(DmarcPolicy::None))
        );
        assert_eq!((found.adkim, found.aspf), (AlignmentMode::Strict, AlignmentMode::Strict));
        assert_eq!((found.t, found.psd, found.fo.as_str()), (true, Psd::No, "1:d"));
        assert_eq!(found.rua, ["a@b.test", "d+e@f.test"]);
        assert_eq!(found.ruf, ["g@h.test"]);
    }

    #[test]
    fn mistakes_leave_defaults() {
        let found =
            record("v=DMARC1; p=none; adkim=x; t=maybe; psd=; fo=7; garbage; =; p=reject; \u{fc}=1").record;
        assert_eq!(found.p, Some(DmarcPolicy::None));
        assert_eq!(
            (found.adkim, found.t, found.psd, found.fo.as_str()),
            (AlignmentMode::Relaxed, false, Psd::Unknown, "0")
        );
        for broken in ["v=DMARC1", "v=DMARC1; p=rejekt", "v=DMARC1; p=none; sp=x", "v=DMARC1; p=none; np="] {
            assert!(!record(broken).valid_policies, "{broken}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(text in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..300)) {
            let _ = parse(&text, "x.test");
            let _ = parse(&[b"v=DMARC1;".as_slice(), &text].concat(), "x.test");
        }

        #[test]
        fn report_addresses_are_addresses(uris in "(mailto:)?[a-z@%!?,. :A-F0-9-]{0,60}") {
            for address in record(&format!("v=DMARC1; rua={uris}")).record.rua {
                proptest::prop_assert!(gatepost::mail::Address::parse(&address).is_ok(), "{address}");
            }
        }
    }
}
