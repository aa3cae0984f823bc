//! The password as it is. Weak: whoever reads the database has it.

use super::super::scheme::{Cost, Form, Scheme};
use super::same;

pub(in super::super) const PLAIN: Scheme = Scheme {
    name: "PLAIN",
    aliases: &["CLEAR", "CLEARTEXT"],
    summary: "the password as it is",
    weak: true,
    dovecot: true,
    form: Form::Text,
    pattern: |_| false,
    cost: |hash| (!hash.is_empty()).then_some(Cost::time(1)),
    verify: |hash, password, _| (!hash.is_empty()).then(|| same(hash, password)),
};
