//! What a signature costs beside the private-key operation that nobody can spare: `cargo bench -p gatepost-milter --bench signing`.
//!
//! A message of 10 KiB as it comes through the milter: its body is surveyed and hashed, its header fields are selected and put into
//! canonical form, the field is written and signed. Beside it, in rounds that alternate with it, the bare primitive of the
//! cryptographic library with the same key, and the whole signer of `mail-auth`. Printed are medians over the rounds, of processor time.

use std::hint::black_box;
use std::time::Instant;

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{Ed25519KeyPair, RSA_PKCS1_SHA256, RsaKeyPair};
use base64::Engine;
use gatepost::store::KeyAlgorithm;
use gatepost_milter::message::Message;
use gatepost_milter::signing::{self, BodyHash, Coverage, PrivateKey, SigningSettings, Survey};
use mail_auth::crypto::{RsaKey, Sha256};
use mail_auth::dkim::DkimSigner;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;

const ROUNDS: usize = 41;

/// So many operations a round: enough for a clock, few enough for a busy machine.
const RSA_BATCH: u32 = 100;
const ED25519_BATCH: u32 = 1_000;

fn main() -> anyhow::Result<()> {
    let message = message();
    let raw = message.to_rfc5322();
    let coverage = Coverage::new(&SigningSettings::default());
    println!("message: {} bytes, {} header fields", raw.len(), message.headers.len());

    let pair = RsaKeyPair::generate(KeySize::Rsa2048)?;
    let text = pem(AsDer::<aws_lc_rs::encoding::Pkcs8V1Der<'_>>::as_der(&pair)?.as_ref());
    let key = PrivateKey::from_pem(KeyAlgorithm::RsaSha256, text.as_bytes()).map_err(anyhow::Error::msg)?;
    let library = DkimSigner::from_key(RsaKey::<Sha256>::from_key_der(PrivateKeyDer::from_pem_slice(
        text.as_bytes(),
    )?)?)
    .domain("example.com")
    .selector("s")
    .headers([
        "From",
        "Subject",
        "Date",
        "To",
        "Cc",
        "Message-ID",
        "Content-Type",
        "MIME-Version",
        "References",
    ]);
    let random = SystemRandom::new();
    let mut place = vec![0; pair.public_modulus_len()];
    let [primitive, ours, theirs] = medians(
        RSA_BATCH,
        [
            &mut || {
                let _ = black_box(pair.sign(&RSA_PKCS1_SHA256, &random, black_box(&[7; 32]), &mut place));
            },
            &mut || sign(&coverage, &message, &key),
            &mut || {
                let _ = black_box(library.sign(black_box(&raw)));
            },
        ],
    );
    print("rsa-sha256, 2048 bits", primitive, ours);
    println!(
        "  mail-auth's signer     {:>9.0}/s  {:+.1} % of the primitive",
        1.0 / theirs,
        100.0 * (theirs / primitive - 1.0)
    );

    let pair = Ed25519KeyPair::generate()?;
    let key = PrivateKey::from_pem(KeyAlgorithm::Ed25519Sha256, pem(pair.to_pkcs8()?.as_ref()).as_bytes())
        .map_err(anyhow::Error::msg)?;
    let [primitive, ours] = medians(
        ED25519_BATCH,
        [
            &mut || {
                black_box(pair.sign(black_box(&[7; 32])));
            },
            &mut || sign(&coverage, &message, &key),
        ],
    );
    print("ed25519-sha256", primitive, ours);
    Ok(())
}

/// All that is done for a signature on a message that needs no mending.
fn sign(coverage: &Coverage, message: &Message, key: &PrivateKey) {
    let (mut hash, mut survey) = (BodyHash::new(), Survey::default());
    hash.update(black_box(&message.body));
    survey.update(&message.body);
    black_box(survey.has_long_lines() || survey.is_eight_bit());
    let hash = hash.finish();
    if let Some(fields) = coverage.select(message.headers.iter()) {
        let _ = black_box(signing::sign(&fields, &hash, "example.com", "s", key, 1_795_253_000));
    }
}

fn print(name: &str, primitive: f64, ours: f64) {
    println!("{name}");
    println!("  primitive alone        {:>9.0}/s", 1.0 / primitive);
    println!(
        "  whole signature        {:>9.0}/s  {:+.1} % of the primitive",
        1.0 / ours,
        100.0 * (ours / primitive - 1.0)
    );
}

/// Seconds for one operation of each kind, in rounds that alternate, so that a disturbance hits all alike.
fn medians<const N: usize>(batch: u32, mut work: [&mut dyn FnMut(); N]) -> [f64; N] {
    let mut times: [Vec<f64>; N] = std::array::from_fn(|_| Vec::with_capacity(ROUNDS));
    for _ in 0..ROUNDS {
        for (work, times) in work.iter_mut().zip(&mut times) {
            let started = Clock::start();
            for _ in 0..batch {
                work();
            }
            times.push(started.seconds() / f64::from(batch));
        }
    }
    times.map(|mut times| {
        times.sort_by(f64::total_cmp);
        times[ROUNDS / 2]
    })
}

/// The time that this thread had a processor, as Linux counts it (`schedstat` in proc(5), nanoseconds); elsewhere that of the wall.
struct Clock(Option<u64>, Instant);

impl Clock {
    fn start() -> Self {
        Self(Self::on_processor(), Instant::now())
    }

    fn on_processor() -> Option<u64> {
        let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
        text.split_whitespace().next()?.parse().ok()
    }

    fn seconds(&self) -> f64 {
        match (self.0, Self::on_processor()) {
            (Some(before), Some(after)) => after.saturating_sub(before) as f64 / 1e9,
            _ => self.1.elapsed().as_secs_f64(),
        }
    }
}

fn pem(der: &[u8]) -> String {
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let lines: Vec<&str> =
        text.as_bytes().chunks(64).filter_map(|line| std::str::from_utf8(line).ok()).collect();
    format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", lines.join("\n"))
}

/// 10 KiB of a usual message.
fn message() -> Message {
    let mut text = String::from(
        "From: Alice Example <alice@example.com>\nTo: Bob <bob@example.net>, Carl <carl@example.org>\nCc: list@example.net\n\
         Subject: =?utf-8?q?Re=3A_the_third_quarter=2C_and_what_comes_after?=\nDate: Sat, 21 Nov 2026 09:00:00 +0000\n\
         Message-ID: <0d2f9b1c-7c39-4a61-9a0f-6c5f1f2f6b5d@example.com>\nMIME-Version: 1.0\n\
         Content-Type: text/plain; charset=UTF-8; format=flowed\nContent-Transfer-Encoding: 7bit\nContent-Language: en-GB\n\
         References: <1c2f9b1c-7c39-4a61-9a0f-6c5f1f2f6b5d@example.net>\n <2c2f9b1c-7c39-4a61-9a0f-6c5f1f2f6b5d@example.org>\n\
         In-Reply-To: <2c2f9b1c-7c39-4a61-9a0f-6c5f1f2f6b5d@example.org>\nOrganization: Example\nX-Priority: 3\n\n",
    );
    while text.len() < 10 * 1024 {
        text.push_str(
            "Words of a usual length in lines of a usual length, as people write them\nto each other.\n\n",
        );
    }
    Message::from_eml(text.as_bytes())
}
