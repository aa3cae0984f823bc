//! The files of `examples/`, compiled in: what they set is what the plan sets.
//!
//! - `main.cf`: `parameter = value` lines, without continuation lines.
//! - `master.cf`: services, each with its `-o` lines.
//! - `dovecot-2.3.conf`, `dovecot-2.4.conf`: topics, each begun by a line `# --- Title. More`.
//! - `pg_hba.conf`, `pg_ident.conf`: records in columns.
//!
//! The unit tests hold the tables of [`super`] beside these files: a parameter or topic that appears or goes is seen there.

/// `examples/main.cf`.
pub const MAIN_CF: &str = include_str!("../../examples/main.cf");
/// `examples/master.cf`.
pub const MASTER_CF: &str = include_str!("../../examples/master.cf");
/// `examples/dovecot-2.3.conf`.
pub const DOVECOT_2_3: &str = include_str!("../../examples/dovecot-2.3.conf");
/// `examples/dovecot-2.4.conf`.
pub const DOVECOT_2_4: &str = include_str!("../../examples/dovecot-2.4.conf");
/// `examples/pg_hba.conf`.
pub const PG_HBA: &str = include_str!("../../examples/pg_hba.conf");
/// `examples/pg_ident.conf`.
pub const PG_IDENT: &str = include_str!("../../examples/pg_ident.conf");
/// `examples/gatepost.toml`.
pub const GATEPOST_TOML: &str = include_str!("../../examples/gatepost.toml");
/// The Sieve scripts, by file name.
pub const SIEVE: [(&str, &str); 3] = [
    ("spam-to-junk.sieve", include_str!("../../examples/spam-to-junk.sieve")),
    ("learn-spam.sieve", include_str!("../../examples/learn-spam.sieve")),
    ("learn-ham.sieve", include_str!("../../examples/learn-ham.sieve")),
];

/// The parameters of `main.cf` in order, those commented out left out.
pub fn parameters() -> impl Iterator<Item = (&'static str, &'static str)> {
    MAIN_CF.lines().filter(|line| !line.starts_with('#')).filter_map(|line| {
        let (name, value) = line.split_once('=')?;
        Some((name.trim(), value.trim()))
    })
}

/// One parameter's value.
pub fn parameter(name: &str) -> Option<&'static str> {
    parameters().find(|(known, _)| *known == name).map(|(_, value)| value)
}

/// The services of `master.cf`: the first line of each, and its further lines.
pub fn services() -> Vec<(&'static str, Vec<&'static str>)> {
    let mut services: Vec<(&str, Vec<&str>)> = Vec::new();
    for line in MASTER_CF.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty()) {
        match services.last_mut() {
            Some((_, options)) if line.starts_with([' ', '\t']) => options.push(line.trim()),
            _ => services.push((line, Vec::new())),
        }
    }
    services
}

/// The topics of Dovecot's file, each with its title (the words between `# --- ` and the first full stop, colon or comma) and its text,
/// the title's line included. What stands above the first is not among them.
pub fn topics(text: &'static str) -> Vec<(&'static str, &'static str)> {
    let mut starts: Vec<usize> =
        text.match_indices("\n# --- ").map(|(at, _)| at + 1).chain([text.len()]).collect();
    starts.sort_unstable();
    starts
        .windows(2)
        .filter_map(|pair| {
            let topic = text.get(pair[0]..pair[1])?;
            let title = topic.strip_prefix("# --- ")?.split(['.', ':', ',', '\n', '(']).next()?;
            Some((title.trim(), topic))
        })
        .collect()
}

/// The record of `pg_hba.conf` for our roles: the one with passwords, or the one that trusts the system's users.
pub fn hba_record(peer: bool) -> &'static str {
    let ours = |line: &&str| {
        line.contains("gatepost_milter")
            && line.trim_start_matches('#').trim_start().starts_with("local ")
            && line.contains("peer") == peer
    };
    PG_HBA.lines().find(ours).map_or("", |line| line.trim_start_matches('#').trim())
}

/// The records of `pg_ident.conf`: map, system user, role.
pub fn ident_records() -> impl Iterator<Item = [&'static str; 3]> {
    PG_IDENT.lines().filter(|line| !line.starts_with('#')).filter_map(|line| {
        let mut words = line.split_whitespace();
        Some([words.next()?, words.next()?, words.next()?])
    })
}
