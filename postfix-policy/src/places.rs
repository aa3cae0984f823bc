//! Where addresses are in the world: MaxMind database files (GeoLite2 or any other of the format), opened when first asked and again when
//! they have changed.
//!
//! For the checks `country` and `stolen-login`. A file is read whole into memory (some 10 MB), so that an update of the file under us
//! changes no answer half-way. Its content is not trusted: a lookup that fails is no answer.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use gatepost::directory::Lookup;
use maxminddb::{Reader, geoip2};

use crate::checks::country::Settings;
use crate::notice::Notice;

/// The files.
#[derive(Default)]
pub struct Places {
    countries: File,
    networks: File,
}

#[derive(Default)]
struct File {
    state: Mutex<State>,
    notice: Notice,
}

#[derive(Default)]
struct State {
    path: PathBuf,
    looked: Option<Instant>,
    changed: Option<SystemTime>,
    reader: Option<Arc<Reader<Vec<u8>>>>,
    trouble: String,
}

impl Places {
    /// The ISO 3166 code of the country of an address; none where the file does not know, or no file is given.
    pub fn country(&self, settings: &Settings, address: IpAddr) -> Lookup<String> {
        let Some(path) = &settings.database else { return Lookup::None };
        self.countries.with(path, |reader| {
            let found = reader.lookup(address.to_canonical()).ok()?.decode::<geoip2::Country>().ok()??;
            let code = found.country.iso_code.or(found.registered_country.iso_code)?;
            Some(code.to_owned()).filter(|code| code.len() == 2 && code.is_ascii())
        })
    }

    /// The number of the autonomous system of an address; none where the file does not know, or no file is given.
    pub fn network(&self, settings: &Settings, address: IpAddr) -> Lookup<u32> {
        let Some(path) = &settings.network_database else { return Lookup::None };
        self.networks.with(path, |reader| {
            let found = reader.lookup(address.to_canonical()).ok()?.decode::<geoip2::Asn>().ok()??;
            found.autonomous_system_number
        })
    }
}

impl File {
    fn with<T>(&self, path: &Path, f: impl FnOnce(&Reader<Vec<u8>>) -> Option<T>) -> Lookup<T> {
        match self.reader(path) {
            Ok(reader) => f(&reader).map_or(Lookup::None, Lookup::Found),
            Err(why) => Lookup::Misconfigured(why),
        }
    }

    /// The file as it is; a new one that cannot be read leaves the old one in use.
    fn reader(&self, path: &Path) -> Result<Arc<Reader<Vec<u8>>>, String> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.path != path {
            *state = State { path: path.to_owned(), ..State::default() };
        }
        if state.looked.is_none_or(|looked| looked.elapsed() >= LOOK) {
            state.looked = Some(Instant::now());
            let changed = std::fs::metadata(path).and_then(|file| file.modified());
            match changed {
                Ok(changed) if state.reader.is_some() && state.changed == Some(changed) => {}
                Ok(changed) => match Reader::open_readfile(path) {
                    Ok(reader) => {
                        (state.reader, state.changed) = (Some(Arc::new(reader)), Some(changed));
                        self.notice.clear();
                    }
                    Err(error) => state.trouble = format!("{}: {error}", path.display()),
                },
                Err(error) => state.trouble = format!("{}: {error}", path.display()),
            }
            if !state.trouble.is_empty() && self.notice.is_new(&state.trouble) {
                tracing::error!(why = %state.trouble, "cannot read the database of countries or networks");
            }
        }
        state.reader.clone().ok_or_else(|| state.trouble.clone())
    }
}

/// How often a file is looked at for a change.
const LOOK: Duration = Duration::from_secs(60);
