//! A model on disk, with its place in the training log: so that a start reads what is new and not the whole log.
//!
//! For [`follower`](super::follower). A checkpoint is a copy, never the truth: one that is missing, cut, damaged, of another program's features
//! or of another epoch is thrown away and the model is made anew from the log.
//!
//! ```text
//! "GATEPOST MODEL\n"   FORM u32   epoch i64   position i64   rows u64   digest of the words it began with u64
//! shown 2×u64   missed 2×u64   slope f64   offset f64   steps u64
//! of each kind of mail: offset f64, samples u64
//! owners u32, each: hash u64, samples u64, contrary u64
//! errors ever u64   saved u32   kept u32, each: owner u8 (0 or 1) and hash u64, spam u8, kind u8, and for header, body, words: count u32, features u32
//! weights 2^TABLE_BITS × f32   curvature 2^TABLE_BITS × u16
//! SHA-256 of all before
//! ```
//! Numbers are little-endian. 24 MiB, most of it zeros at first, and up to 4 MiB of what was judged wrong last.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;

use aws_lc_rs::digest;

use super::features::{Features, TABLE_BITS};
use super::kind::Kind;
use super::lexicon::Lexicon;
use super::model::{Label, Model};
use super::owners::{MAX_OWNERS, Owner, Taught};
use super::replay::{self, Errors, Sample};

/// A model and how far it has read.
#[derive(Debug, Clone, PartialEq)]
pub struct Checkpoint {
    /// The epoch of the log.
    pub epoch: i64,
    /// The last row it has learned.
    pub position: i64,
    /// How many rows it has learned; positions have gaps.
    pub rows: u64,
    /// What it has learned.
    pub model: Model,
}

/// Why a checkpoint cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// There is none yet.
    #[error("there is none")]
    Missing,
    /// It cannot be read.
    #[error("{0}")]
    Unreadable(io::Error),
    /// It is of a program that sees messages differently.
    #[error("written by another version of gatepost-milter")]
    OtherForm,
    /// It began with other words.
    #[error("made with another list of words, or another learning.start")]
    OtherWords,
    /// Cut or changed.
    #[error("damaged")]
    Damaged,
}

impl Checkpoint {
    /// A model that has read nothing of that epoch, and knows the words of that list.
    pub fn new(epoch: i64, lexicon: &Lexicon) -> Self {
        Self { epoch, position: 0, rows: 0, model: Model::beginning(lexicon) }
    }

    /// Reads a checkpoint of a model that began with that list.
    ///
    /// # Errors
    /// It cannot be used; the model must be made anew.
    pub fn read(path: &Path, lexicon: &Lexicon) -> Result<Self, Unusable> {
        let mut file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(Unusable::Missing),
            Err(error) => return Err(Unusable::Unreadable(error)),
        };
        let mut bytes = Vec::with_capacity(APART);
        (&mut file).take(LONGEST as u64 + 1).read_to_end(&mut bytes).map_err(Unusable::Unreadable)?;
        Self::parse(&bytes, lexicon)
    }

    /// The bytes of the file, but for the digest at their end, for which [`seal`] has time when nobody waits for the model.
    pub(super) fn unsealed(&self) -> Vec<u8> {
        let model = &self.model;
        // It never grows, which would be a second copy; what is not used of it takes no memory.
        let mut out = Vec::with_capacity(APART);
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&FORM.to_le_bytes());
        out.extend_from_slice(&self.epoch.to_le_bytes());
        out.extend_from_slice(&self.position.to_le_bytes());
        out.extend_from_slice(&self.rows.to_le_bytes());
        out.extend_from_slice(&model.began.to_le_bytes());
        for count in model.shown.iter().chain(&model.missed) {
            out.extend_from_slice(&count.to_le_bytes());
        }
        let calibration = &model.calibration;
        out.extend_from_slice(&calibration.slope.to_le_bytes());
        out.extend_from_slice(&calibration.offset.to_le_bytes());
        out.extend_from_slice(&calibration.steps.to_le_bytes());
        for (offset, samples) in calibration.offsets.log_odds.iter().zip(&calibration.offsets.samples) {
            out.extend_from_slice(&offset.to_le_bytes());
            out.extend_from_slice(&samples.to_le_bytes());
        }
        out.extend_from_slice(&(model.owners.taught.len() as u32).to_le_bytes());
        for (owner, taught) in &model.owners.taught {
            for number in [owner.0, taught.samples, taught.contrary] {
                out.extend_from_slice(&number.to_le_bytes());
            }
        }
        write_errors(&model.errors, &mut out);
        model.weights.iter().for_each(|weight| out.extend_from_slice(&weight.to_le_bytes()));
        model.curvature.iter().for_each(|curvature| out.extend_from_slice(&curvature.to_le_bytes()));
        out
    }

    fn parse(bytes: &[u8], lexicon: &Lexicon) -> Result<Self, Unusable> {
        let head = bytes.strip_prefix(MAGIC).ok_or(Unusable::Damaged)?;
        if !head.starts_with(&FORM.to_le_bytes()) {
            return Err(Unusable::OtherForm);
        }
        let end = bytes.len().checked_sub(digest::SHA256_OUTPUT_LEN).ok_or(Unusable::Damaged)?;
        let (content, sum) = bytes.split_at(end);
        if digest::digest(&digest::SHA256, content).as_ref() != sum {
            return Err(Unusable::Damaged);
        }
        let mut rest = Rest(content.get(MAGIC.len() + 4..).ok_or(Unusable::Damaged)?);
        let (epoch, position) = (i64::from_le_bytes(rest.take()?), i64::from_le_bytes(rest.take()?));
        let rows = u64::from_le_bytes(rest.take()?);
        let began = u64::from_le_bytes(rest.take()?);
        if began != lexicon.digest() {
            return Err(Unusable::OtherWords);
        }
        let mut model = Model { began, ..Model::default() };
        for count in model.shown.iter_mut().chain(&mut model.missed) {
            *count = u64::from_le_bytes(rest.take()?);
        }
        model.calibration.slope = f64::from_le_bytes(rest.take()?);
        model.calibration.offset = f64::from_le_bytes(rest.take()?);
        model.calibration.steps = u64::from_le_bytes(rest.take()?);
        let offsets = &mut model.calibration.offsets;
        for (offset, samples) in offsets.log_odds.iter_mut().zip(&mut offsets.samples) {
            *offset = f64::from_le_bytes(rest.take()?);
            *samples = u64::from_le_bytes(rest.take()?);
        }
        let owners = u32::from_le_bytes(rest.take()?) as usize;
        if owners > MAX_OWNERS + 1 {
            return Err(Unusable::Damaged);
        }
        for _ in 0..owners {
            let owner = Owner(u64::from_le_bytes(rest.take()?));
            let samples = u64::from_le_bytes(rest.take()?);
            let contrary = u64::from_le_bytes(rest.take()?);
            model.owners.taught.insert(owner, Taught { samples, contrary });
            model.owners.samples = model.owners.samples.saturating_add(samples);
        }
        model.errors = read_errors(&mut rest)?;
        for weight in &mut model.weights {
            *weight = f32::from_le_bytes(rest.take()?);
        }
        for curvature in &mut model.curvature {
            *curvature = u16::from_le_bytes(rest.take()?);
        }
        let whole = rest.0.is_empty() && model.weights.iter().all(|weight| weight.is_finite());
        whole.then_some(Self { epoch, position, rows, model }).ok_or(Unusable::Damaged)
    }
}

/// Adds the digest of a checkpoint at its end, and tells it.
pub(super) fn seal(bytes: &mut Vec<u8>) -> [u8; digest::SHA256_OUTPUT_LEN] {
    let sum = digest::digest(&digest::SHA256, bytes);
    bytes.extend_from_slice(sum.as_ref());
    bytes.last_chunk().copied().unwrap_or_default()
}

fn write_errors(errors: &Errors, out: &mut Vec<u8>) {
    out.extend_from_slice(&errors.ever.to_le_bytes());
    out.extend_from_slice(&errors.saved.to_le_bytes());
    out.extend_from_slice(&(errors.samples.len() as u32).to_le_bytes());
    for sample in &errors.samples {
        out.push(u8::from(sample.owner.is_some()));
        out.extend_from_slice(&sample.owner.map_or(0, |owner| owner.0).to_le_bytes());
        out.push(u8::from(sample.label == Label::Spam));
        let Features { header, body, words, kind } = &sample.features;
        out.push(*kind as u8);
        for view in [header, body, words] {
            out.extend_from_slice(&(view.len() as u32).to_le_bytes());
            view.iter().for_each(|feature| out.extend_from_slice(&feature.to_le_bytes()));
        }
    }
}

fn read_errors(rest: &mut Rest<'_>) -> Result<Errors, Unusable> {
    let (ever, saved) = (u64::from_le_bytes(rest.take()?), u32::from_le_bytes(rest.take()?));
    let mut errors = Errors { ever, saved: saved.min(replay::SAVED), ..Errors::default() };
    let kept = u32::from_le_bytes(rest.take()?) as usize;
    if kept > replay::MOST {
        return Err(Unusable::Damaged);
    }
    let mut left = replay::MOST_FEATURES;
    for _ in 0..kept {
        let [owned] = rest.take()?;
        let owner = Owner(u64::from_le_bytes(rest.take()?));
        let [spam] = rest.take()?;
        let [kind] = rest.take()?;
        let kind = Kind::ALL.get(usize::from(kind)).copied().ok_or(Unusable::Damaged)?;
        let mut view = || -> Result<Vec<u32>, Unusable> {
            let count = u32::from_le_bytes(rest.take()?) as usize;
            left = left.checked_sub(count).ok_or(Unusable::Damaged)?;
            (0..count).map(|_| Ok(u32::from_le_bytes(rest.take()?))).collect()
        };
        let features = Features { header: view()?, body: view()?, words: view()?, kind };
        let label = if spam == 1 { Label::Spam } else { Label::Ham };
        errors.samples.push_back(Sample { owner: (owned == 1).then_some(owner), label, features });
    }
    Ok(errors)
}

/// Writes a checkpoint beside the old one and then over it, so that a full disk or a lost machine leaves one of the two.
///
/// # Errors
/// The directory cannot be written to, or the disk is full; the old checkpoint is still there.
pub(super) fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let beside = path.with_extension("new");
    let written = File::create(&beside).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    match written.and_then(|()| fs::rename(&beside, path)) {
        Ok(()) => Ok(()),
        Err(error) => {
            let _ = fs::remove_file(&beside);
            Err(error)
        }
    }
}

/// What is not read yet.
struct Rest<'a>(&'a [u8]);

impl Rest<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], Unusable> {
        let (first, rest) = self.0.split_first_chunk::<N>().ok_or(Unusable::Damaged)?;
        self.0 = rest;
        Ok(*first)
    }
}

const MAGIC: &[u8] = b"GATEPOST MODEL\n";
/// Grows with every change of what the model sees or how it learns.
const FORM: u32 = 5;
/// Room for a checkpoint, and more than glibc's heap ever takes in one piece (mallopt(3), `M_MMAP_THRESHOLD`): it goes back to the system whole, where
/// the heap would keep it for the next one.
const APART: usize = 33 * 1024 * 1024;
/// No checkpoint is longer.
const LONGEST: usize =
    (1 << TABLE_BITS) * 6 + 24 * (MAX_OWNERS + 1) + 4 * replay::MOST_FEATURES + 32 * replay::MOST + 512;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use crate::learning::Extractor;
    use crate::message::Message;

    impl Checkpoint {
        fn to_bytes(&self) -> Vec<u8> {
            let mut bytes = self.unsealed();
            assert!(bytes.capacity() == APART && bytes.len() + digest::SHA256_OUTPUT_LEN <= LONGEST);
            seal(&mut bytes);
            bytes
        }
    }

    fn words() -> Lexicon {
        Lexicon::parse("pills\t5.0\n").unwrap()
    }

    fn checkpoint() -> Checkpoint {
        let mut model = Model::beginning(&words());
        let features =
            Extractor::default().read(&Message::from_eml(b"Subject: pills\n\nbuy pills\n")).features;
        let ann = Some(Owner::new("Ann@Example.org"));
        let judged = model.judge(&features, ann);
        model.learn(&features, ann, Label::Spam, &judged);
        Checkpoint { epoch: 3, position: 17, rows: 1, model }
    }

    #[test]
    fn comes_back_to_the_last_bit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model");
        assert!(matches!(Checkpoint::read(&path, &words()), Err(Unusable::Missing)));
        write(&path, &checkpoint().to_bytes()).unwrap();
        assert!(Checkpoint::read(&path, &words()).unwrap() == checkpoint());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn a_cut_or_changed_or_foreign_file_is_told_apart_from_a_good_one() {
        let good = checkpoint().to_bytes();
        for cut in [0, 1, MAGIC.len(), MAGIC.len() + 3, 100, good.len() / 2, good.len() - 1] {
            assert!(
                matches!(
                    Checkpoint::parse(&good[..cut], &words()),
                    Err(Unusable::Damaged | Unusable::OtherForm)
                ),
                "{cut}"
            );
        }
        let mut changed = good.clone();
        changed[1_000] ^= 1;
        assert!(matches!(Checkpoint::parse(&changed, &words()), Err(Unusable::Damaged)));
        let mut newer = good;
        newer[MAGIC.len()] += 1;
        assert!(matches!(Checkpoint::parse(&newer, &words()), Err(Unusable::OtherForm)));
    }

    #[test]
    fn of_a_model_that_began_with_other_words_is_not_taken() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model");
        write(&path, &checkpoint().to_bytes()).unwrap();
        for other in [Lexicon::default(), Lexicon::parse("pills\t5.1\n").unwrap(), Lexicon::shipped()] {
            assert!(matches!(Checkpoint::read(&path, &other), Err(Unusable::OtherWords)));
        }
    }

    #[test]
    fn a_disk_that_takes_nothing_leaves_the_old_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model");
        write(&path, &checkpoint().to_bytes()).unwrap();
        // A directory in the way of the file beside it: no permission bits, which root ignores.
        fs::create_dir(path.with_extension("new")).unwrap();
        let newer = Checkpoint { position: 18, ..checkpoint() };
        assert!(write(&path, &newer.to_bytes()).is_err());
        assert_eq!(Checkpoint::read(&path, &words()).unwrap().position, 17);
    }
}
