//! Every mailbox and alias of the directory in memory, compactly: about 50 bytes each.
//!
//! For the policy daemon; `kept` fills it and keeps it true. Names lie one behind the other in one piece of memory; entries of 16 bytes point into it, and
//! an open-addressing table of 4-byte numbers finds the entry of an address. Entries are never removed: an address that is gone keeps an
//! entry that says so, until the next whole reading. Refuses to say how certain it is.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::time::Duration;

use super::copied::{ReadError, Reader, Spellings};
use super::kept::{Book, Full, Kept};
use super::{Directory, questions};
use crate::database::Trouble;
use crate::mail::{Address, Domain};

/// The addresses.
#[derive(Debug, Default)]
pub(super) struct Roll {
    names: Vec<u8>,
    entries: Vec<Entry>,
    /// Numbers of entries plus one; 0 is an empty slot. A power of two, at most three quarters full.
    slots: Vec<u32>,
    domains: HashMap<Domain, u32>,
    hasher: RandomState,
    /// Entries that are a mailbox or an alias: counted as they change, because the metrics ask.
    count: usize,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    /// Where the folded local part begins in `names`.
    local: u32,
    /// Where the destinations of the alias begin in `names`; 0 if it is none, [`UNREADABLE`] if one of them is no address.
    destinations: u32,
    domain: u32,
    /// How long the local part is: at most 64.
    length: u8,
    mailbox: bool,
}

impl Roll {
    /// An empty roll.
    pub(super) fn new() -> Self {
        // Offset 0 of `names` is nobody's, so that it can mean "no alias".
        Self { names: vec![0], slots: vec![0; 16], ..Self::default() }
    }

    /// Whether there is a mailbox of this address.
    pub(super) fn mailbox(&self, address: &Address) -> bool {
        self.entry(address).is_some_and(|entry| entry.mailbox)
    }

    /// Where the alias of this address leads; an empty list if one of its destinations is no address, which the database is to be asked about.
    pub(super) fn destinations(&self, address: &Address) -> Option<Vec<Address>> {
        let entry = self.entry(address).filter(|entry| entry.destinations > 0)?;
        Some(if entry.destinations == UNREADABLE {
            Vec::new()
        } else {
            self.listed(entry.destinations as usize)
        })
    }

    /// How many addresses there are, mailboxes and aliases.
    pub(super) fn len(&self) -> usize {
        self.count
    }

    /// Notes that there is a mailbox of this name, or none.
    pub(super) fn set_mailbox(&mut self, local: &str, domain: &Domain, there: bool) -> Result<(), Full> {
        let number = self.number(local, domain, there)?;
        self.change(number, |entry| entry.mailbox = there);
        Ok(())
    }

    /// Notes where the alias of this name leads; nowhere: there is none.
    pub(super) fn set_destinations(
        &mut self,
        local: &str,
        domain: &Domain,
        to: &[Address],
    ) -> Result<(), Full> {
        let Some(number) = self.number(local, domain, !to.is_empty())? else { return Ok(()) };
        let at = if to.is_empty() { 0 } else { u32::try_from(self.names.len()).map_err(|_| Full)? };
        if at == UNREADABLE {
            return Err(Full);
        }
        if !to.is_empty() {
            let list = &to[..to.len().min(MAX_DESTINATIONS)];
            self.names.extend(u16::try_from(list.len()).map_err(|_| Full)?.to_le_bytes());
            for address in list {
                self.names.push(u8::try_from(address.local().len()).map_err(|_| Full)?);
                self.names.push(u8::try_from(address.domain().as_str().len()).map_err(|_| Full)?);
                self.names.extend(address.local().as_bytes());
                self.names.extend(address.domain().as_str().as_bytes());
            }
        }
        self.change(Some(number), |entry| entry.destinations = at);
        Ok(())
    }

    /// Notes that one of the alias's destinations is no address.
    fn set_unreadable(&mut self, local: &str, domain: &Domain) -> Result<(), Full> {
        let number = self.number(local, domain, true)?;
        self.change(number, |entry| entry.destinations = UNREADABLE);
        Ok(())
    }

    fn change(&mut self, number: Option<usize>, change: impl FnOnce(&mut Entry)) {
        let Some(entry) = number.and_then(|number| self.entries.get_mut(number)) else { return };
        let is_there = |entry: &Entry| entry.mailbox || entry.destinations > 0;
        let was_there = is_there(entry);
        change(entry);
        match (was_there, is_there(entry)) {
            (false, true) => self.count += 1,
            (true, false) => self.count -= 1,
            _ => {}
        }
    }

    /// Gives back memory that growing left over.
    pub(super) fn shrink(&mut self) {
        self.names.shrink_to_fit();
        self.entries.shrink_to_fit();
    }

    /// Bytes it takes.
    pub(super) fn size(&self) -> usize {
        self.names.capacity() + self.entries.capacity() * size_of::<Entry>() + self.slots.capacity() * 4
    }

    fn listed(&self, at: usize) -> Vec<Address> {
        let mut rest = self.names.get(at..).unwrap_or_default();
        let mut take = |count: usize| {
            let (taken, left) = rest.split_at_checked(count).unwrap_or_default();
            rest = left;
            taken
        };
        let count = take(2).try_into().map(u16::from_le_bytes).unwrap_or_default();
        let mut list = Vec::with_capacity(count.into());
        for _ in 0..count {
            let [local, domain] = take(2).try_into().unwrap_or_default();
            let (local, domain) = (take(local.into()), take(domain.into()));
            let address = std::str::from_utf8(domain)
                .ok()
                .and_then(|domain| Domain::parse(domain).ok())
                .zip(std::str::from_utf8(local).ok())
                .and_then(|(domain, local)| Address::new(local, domain).ok());
            list.extend(address);
        }
        list
    }

    fn entry(&self, address: &Address) -> Option<&Entry> {
        let domain = *self.domains.get(address.domain())?;
        let slot = self.slot(address.local(), domain);
        self.entries.get((self.slots[slot] as usize).checked_sub(1)?)
    }

    /// The slot of a name: the one that holds it, or the empty one where it belongs.
    fn slot(&self, local: &str, domain: u32) -> usize {
        let mask = self.slots.len() - 1;
        // The low bits of a hash are as good as any.
        let mut slot = usize::try_from(self.hasher.hash_one((domain, local)) & u64::from(u32::MAX))
            .unwrap_or_default()
            & mask;
        while let Some(number) = (self.slots[slot] as usize).checked_sub(1) {
            if self.entries[number].domain == domain && self.local(number) == local.as_bytes() {
                break;
            }
            slot = (slot + 1) & mask;
        }
        slot
    }

    fn local(&self, number: usize) -> &[u8] {
        let Entry { local, length, .. } = self.entries[number];
        &self.names[local as usize..local as usize + usize::from(length)]
    }

    /// The number of a name's entry, made if wanted.
    fn number(&mut self, local: &str, domain: &Domain, make: bool) -> Result<Option<usize>, Full> {
        let domain = match self.domains.get(domain) {
            Some(id) => *id,
            None if !make => return Ok(None),
            None => {
                let id = u32::try_from(self.domains.len()).map_err(|_| Full)?;
                self.domains.insert(domain.clone(), id);
                id
            }
        };
        let mut slot = self.slot(local, domain);
        if let Some(number) = (self.slots[slot] as usize).checked_sub(1) {
            return Ok(Some(number));
        }
        if !make {
            return Ok(None);
        }
        if (self.entries.len() + 1) * 4 > self.slots.len() * 3 {
            self.grow();
            slot = self.slot(local, domain);
        }
        let entry = Entry {
            local: u32::try_from(self.names.len()).map_err(|_| Full)?,
            destinations: 0,
            domain,
            length: u8::try_from(local.len()).map_err(|_| Full)?,
            mailbox: false,
        };
        self.names.extend(local.as_bytes());
        self.entries.push(entry);
        self.slots[slot] = u32::try_from(self.entries.len()).map_err(|_| Full)?;
        Ok(Some(self.entries.len() - 1))
    }

    fn grow(&mut self) {
        self.slots = vec![0; self.slots.len() * 2];
        let mask = self.slots.len() - 1;
        for number in 0..self.entries.len() {
            let local = std::str::from_utf8(self.local(number)).unwrap_or_default();
            let hash = self.hasher.hash_one((self.entries[number].domain, local)) & u64::from(u32::MAX);
            let mut slot = usize::try_from(hash).unwrap_or_default() & mask;
            while self.slots[slot] != 0 {
                slot = (slot + 1) & mask;
            }
            self.slots[slot] = u32::try_from(number + 1).unwrap_or_default();
        }
    }
}

impl Book for Roll {
    type Row = (Option<Address>, Option<Arc<[Address]>>);

    fn kept(directory: &Directory) -> &Kept<Self> {
        &directory.0.roll
    }

    async fn read(directory: &Directory, reader: &mut Reader) -> Result<Self, ReadError> {
        let mut reading = Reading { roll: Self::new(), spellings: Spellings::default(), alias: None };
        let Reading { roll, spellings, .. } = &mut reading;
        reader
            .copy(include_str!("queries/roll_mailboxes.sql"), |columns| {
                spellings.mailbox(columns, |local, domain| roll.set_mailbox(local, domain, true))
            })
            .await?;
        reader.copy(include_str!("queries/roll_aliases.sql"), |columns| reading.alias(columns)).await?;
        reading.end_alias()?;
        reading.roll.shrink();
        // The short lists too, so that all of it is exact should contact be lost before anybody asks.
        let _ = (directory.rules().await, directory.domain_list().await);
        Ok(reading.roll)
    }

    async fn row(directory: &Directory, address: &Address) -> Result<Self::Row, Trouble> {
        Ok((directory.mailbox_row(address).await?, directory.destination_rows(address).await?))
    }

    fn note(&mut self, address: &Address, (mailbox, destinations): Self::Row) -> Result<(), Full> {
        let (local, domain) = (address.local(), address.domain());
        let to = destinations.as_deref().unwrap_or_default();
        self.set_mailbox(local, domain, mailbox.is_some())?;
        self.set_destinations(local, domain, to)
    }

    fn len(&self) -> usize {
        Self::len(self)
    }

    fn size(&self) -> usize {
        Self::size(self)
    }

    fn announce(addresses: usize, bytes: usize, took: Duration) {
        tracing::info!(addresses, bytes, ?took, "all addresses are in memory");
    }
}

/// A roll being filled.
struct Reading {
    roll: Roll,
    spellings: Spellings,
    /// The alias whose rows are passing, in its folded spelling; an empty list as with [`Roll::destinations`].
    alias: Option<(Address, Option<Vec<Address>>)>,
}

impl Reading {
    fn alias(&mut self, columns: &[&str]) -> Result<(), Full> {
        let [local, domain, destination] = columns else { return Ok(()) };
        let Some(address) = self.spellings.domain(domain).and_then(|domain| Address::new(local, domain).ok())
        else {
            return Ok(());
        };
        if self.alias.as_ref().is_none_or(|(current, _)| *current != address) {
            self.end_alias()?;
        }
        // Another spelling of the same alias may have passed before.
        let (_, list) = self.alias.get_or_insert_with(|| {
            let before = self.roll.destinations(&address);
            (address, before)
        });
        match (list, questions::destination(destination)) {
            (list, Err(_)) => *list = Some(Vec::new()),
            (Some(list), _) if list.is_empty() => {}
            (Some(list), Ok(destination)) if list.contains(&destination) => {}
            (list, Ok(destination)) => list.get_or_insert_default().push(destination),
        }
        Ok(())
    }

    fn end_alias(&mut self) -> Result<(), Full> {
        match self.alias.take() {
            Some((address, Some(list))) if list.is_empty() => {
                self.roll.set_unreadable(address.local(), address.domain())
            }
            Some((address, list)) => {
                self.roll.set_destinations(address.local(), address.domain(), &list.unwrap_or_default())
            }
            None => Ok(()),
        }
    }
}

/// For an offset; `names` never grows so long.
const UNREADABLE: u32 = u32::MAX;
/// More than the engine follows.
const MAX_DESTINATIONS: usize = 2000;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn address(text: &str) -> Address {
        Address::parse(text).unwrap()
    }

    #[test]
    fn what_was_noted_is_found_and_what_was_taken_back_is_not() {
        let mut roll = Roll::new();
        let (alice, boss) = (address("alice@example.com"), address("boss@example.com"));
        roll.set_mailbox(alice.local(), alice.domain(), true).unwrap();
        let to = [alice.clone(), address("\"a b\"@bücher.example")];
        roll.set_destinations(boss.local(), boss.domain(), &to).unwrap();
        assert!(roll.mailbox(&alice) && !roll.mailbox(&boss));
        assert_eq!(roll.destinations(&boss).unwrap(), to);
        assert_eq!(roll.destinations(&alice), None);
        assert_eq!(roll.len(), 2);
        roll.set_mailbox(alice.local(), alice.domain(), false).unwrap();
        roll.set_destinations(boss.local(), boss.domain(), &[]).unwrap();
        assert!(!roll.mailbox(&alice) && roll.destinations(&boss).is_none());
        assert_eq!(roll.len(), 0);
    }

    #[test]
    fn a_hundred_thousand_addresses_take_less_than_fifty_bytes_each() {
        let mut roll = Roll::new();
        let domains: Vec<Domain> = (0..100).map(|n| Domain::parse(&format!("d{n}.test")).unwrap()).collect();
        for number in 0..100_000 {
            roll.set_mailbox(&format!("user{number}"), &domains[number % 100], true).unwrap();
        }
        assert_eq!(roll.len(), 100_000);
        assert!(
            (0..100_000)
                .all(|n| roll.mailbox(&Address::new(&format!("user{n}"), domains[n % 100].clone()).unwrap()))
        );
        assert!(!roll.mailbox(&address("user1@d2.test")));
        assert!(roll.size() < 50 * 100_000, "{} bytes", roll.size());
    }

    proptest! {
        /// Whatever is noted and taken back, in whatever order: the same as in a map of the standard library.
        #[test]
        fn it_answers_as_a_plain_map_does(changes in proptest::collection::vec(("[ab]{1,3}", 0..3_usize, any::<bool>()), 0..200)) {
            let (mut roll, mut model) = (Roll::new(), BTreeMap::new());
            let domains = ["a.test", "b.test", "c.test"].map(|name| Domain::parse(name).unwrap());
            for (local, domain, there) in changes {
                roll.set_mailbox(&local, &domains[domain], there).unwrap();
                model.insert((local, domain), there);
            }
            for ((local, domain), there) in &model {
                prop_assert_eq!(roll.mailbox(&Address::new(local, domains[*domain].clone()).unwrap()), *there);
            }
            prop_assert_eq!(roll.len(), model.values().filter(|there| **there).count());
        }
    }
}
