//! `gatepost domain dns`: the records by which others deliver to a hosted domain encrypted, as a zone file takes them.
//!
//! MTA-STS (RFC 8461) with the text that belongs at its web address, TLSRPT (RFC 8460), and DANE (RFC 7672) for the certificate of
//! this host. It prints and changes nothing; the only questions it asks DNS are for the domain's MX.

use std::path::PathBuf;

use anyhow::{Context, anyhow, bail};
use aws_lc_rs::digest::{SHA256, digest};
use clap::{Args, ValueEnum};
use gatepost::config;
use gatepost::directory::Lookup;
use gatepost::dns::Resolver;
use gatepost::mail::{Address, Domain};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

#[derive(Args)]
pub(super) struct Dns {
    /// The domain, which must be hosted here
    pub(super) domain: Domain,
    /// A host that takes its mail, in order; may be given several times. The domain's MX in DNS if not given
    #[arg(long, value_name = "HOST")]
    mx: Vec<Domain>,
    /// What MTA-STS asks of others. Begin with testing, and enforce when reports show no trouble
    #[arg(long, value_enum, default_value_t = Mode::Testing)]
    mode: Mode,
    /// How long others may keep the policy, in days
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..=365))]
    max_age: u32,
    /// Where others send their reports on encryption; postmaster at the domain if not given
    #[arg(long, value_name = "ADDRESS")]
    reports: Option<Address>,
    /// The certificate that Postfix shows (smtpd_tls_cert_file), for the TLSA records. The zone must be signed with DNSSEC
    #[arg(long, value_name = "FILE")]
    certificate: Option<PathBuf>,
}

/// RFC 8461, 5.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Mode {
    Enforce,
    Testing,
    None,
}

impl Mode {
    fn as_str(self) -> &'static str {
        match self {
            Self::Enforce => "enforce",
            Self::Testing => "testing",
            Self::None => "none",
        }
    }
}

pub(super) async fn run(asked: Dns, dns: &config::Dns) -> anyhow::Result<()> {
    let hosts = if asked.mx.is_empty() { exchangers(&asked.domain, dns).await? } else { asked.mx.clone() };
    let public_key = asked.certificate.as_ref().map(public_key_digest).transpose()?;
    let policy = policy(&asked, &hosts);
    let reports = match &asked.reports {
        Some(address) => address.clone(),
        None => Address::new("postmaster", asked.domain.clone()).map_err(|reason| anyhow!(reason))?,
    };
    let domain = &asked.domain;
    println!(
        "; MTA-STS: a certificate for mta-sts.{domain}, and at https://mta-sts.{domain}/.well-known/mta-sts.txt as text/plain:"
    );
    for line in policy.lines() {
        println!(";   {line}");
    }
    println!("_mta-sts.{domain}. 3600 IN TXT \"v=STSv1; id={}\"", id(&policy));
    println!("; TLSRPT: where others report on encryption");
    println!(
        "_smtp._tls.{domain}. 3600 IN TXT \"v=TLSRPTv1; rua=mailto:{}\"",
        percent_encoded(&reports.to_string())
    );
    match public_key {
        Some(digest) => {
            println!(
                "; DANE: only where the zone is signed with DNSSEC; keep the old record until an hour after a new key is in use"
            );
            for host in &hosts {
                println!("_25._tcp.{host}. 3600 IN TLSA 3 1 1 {digest}");
            }
        }
        None => println!("; DANE: give --certificate FILE for the TLSA records"),
    }
    Ok(())
}

async fn exchangers(domain: &Domain, dns: &config::Dns) -> anyhow::Result<Vec<Domain>> {
    let resolver = Resolver::new(dns)?;
    let found = match resolver.mx(domain.as_str()).await {
        Lookup::Found(found) => found,
        Lookup::None => bail!("DNS has no MX for {domain}; publish it first, or name the hosts with --mx"),
        Lookup::Unavailable(why) | Lookup::Misconfigured(why) => {
            bail!("{why}; try again, or name the hosts with --mx")
        }
    };
    let hosts = found.iter().map(|(_, host)| {
        Domain::parse(host)
            .map_err(|reason| anyhow!("the MX of {domain} names \"{}\": {reason}", host.escape_debug()))
    });
    hosts.collect()
}

/// RFC 8461, 3.2.
fn policy(asked: &Dns, hosts: &[Domain]) -> String {
    let hosts: String = hosts.iter().map(|host| format!("mx: {host}\n")).collect();
    let seconds = u64::from(asked.max_age) * 24 * 3600;
    format!("version: STSv1\nmode: {}\n{hosts}max_age: {seconds}\n", asked.mode.as_str())
}

/// The same for the same policy, another for another (RFC 8461, 3.1: up to 32 letters and digits).
fn id(policy: &str) -> String {
    hex(&digest(&SHA256, policy.as_bytes()).as_ref()[..10])
}

/// SHA-256 of the certificate's public key, for `TLSA 3 1 1`: it stays when the certificate is renewed with the same key (RFC 7671, 5.1).
fn public_key_digest(file: &PathBuf) -> anyhow::Result<String> {
    let name = file.display();
    // The first one is the host's own; the chain follows.
    let certificate = CertificateDer::pem_file_iter(file)
        .map_err(|reason| anyhow!("{name}: {reason}"))?
        .next()
        .with_context(|| {
            format!("{name}: there is no certificate in PEM in it; expected what smtpd_tls_cert_file names")
        })?
        .map_err(|reason| anyhow!("{name}: {reason}"))?;
    let parsed = webpki::EndEntityCert::try_from(&certificate)
        .map_err(|reason| anyhow!("{name}: not a certificate: {reason}"))?;
    Ok(hex(digest(&SHA256, parsed.subject_public_key_info().as_ref()).as_ref()))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The characters of an address that a URI and a TLSRPT record cannot hold (RFC 6068, 2; RFC 8460, 3: also `,` `!` `;`).
fn percent_encoded(address: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"@.-_~+".contains(&byte);
    address
        .bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn what_cannot_stand_in_a_record_is_encoded() {
        assert_eq!(percent_encoded("tls+reports@example.com"), "tls+reports@example.com");
        assert_eq!(percent_encoded("a;b!c,\"d\"@example.com"), "a%3Bb%21c%2C%22d%22@example.com");
    }
}
