//! What must never be printed.
//!
//! Two nets, because a leak into a log cannot be taken back: the `secret` rows of the registry, and the looks of keys and values,
//! which also catch misspelled and unknown keys. Masking too much costs a reader little.

use super::{conf_file::Span, properties::Entry, sections::Group};
use crate::registry::Registry;

/// Found in a key without case, `-`, `_` and `.`.
const KEY_PARTS: &[&str] = &[
    "passw",
    "paswo",
    "passphrase",
    "passwd",
    "pwd",
    "secret",
    "token",
    "credential",
    "apikey",
    "accesskey",
    "privatekey",
    "jaas",
    "sharedaccess",
    "authorization",
    "connectionstring",
];
/// Parts of a key as a whole.
const KEY_WORDS: &[&str] = &["pass", "sas"];
/// Found in a value without case: settings inside settings, signed addresses.
const VALUE_PARTS: &[&str] = &[
    "password=",
    "password =",
    "passwd=",
    "pwd=",
    "secret=",
    "token=",
    "sig=",
    "accesskey=",
    "apikey=",
];

/// Where the secrets of `entry` stand, if it has any.
#[must_use]
pub(super) fn secret_span(entry: &Entry, registry: &Registry) -> Option<Span> {
    let key = entry.key.as_str();
    if looks_secret(key) || is_secret_row(key, registry) {
        return Some(masked_part_of_line(entry));
    }
    let value = entry.value.as_str();
    let value_lower = value.to_ascii_lowercase();
    let has_secret =
        VALUE_PARTS.iter().any(|part| value_lower.contains(part)) || has_user_info(value);
    has_secret.then(|| entry.value.span())
}

/// The value, and what an escaped separator has made a part of the key.
fn masked_part_of_line(entry: &Entry) -> Span {
    let from_key = entry.key.behind_separator();
    from_key.map_or(entry.value.span(), |(_, tail)| tail.to(entry.value.span()))
}

pub(super) fn looks_secret(key: &str) -> bool {
    let key = property_of(key);
    let plain: String = key.chars().filter(|c| !matches!(c, '-' | '_' | '.')).collect();
    let plain = plain.to_ascii_lowercase();
    // A path to a secret is none, and an operator needs it.
    if plain.ends_with("file") || plain.ends_with("path") {
        return false;
    }
    KEY_PARTS.iter().any(|part| plain.contains(part))
        || key
            .split(['.', '-', '_'])
            .any(|word| KEY_WORDS.iter().any(|part| word.eq_ignore_ascii_case(part)))
}

/// The part of a key that names a property: the names of agents and components make no secret. All of a key that is malformed.
fn property_of(key: &str) -> &str {
    let parts: Vec<&str> = key.splitn(4, '.').collect();
    match parts.as_slice() {
        [_, group] if Group::parse(group).is_some() => "",
        [_, group, name, property]
            if Group::parse(group).is_some() && !name.is_empty() && !property.is_empty() =>
        {
            property
        }
        _ => key,
    }
}

/// True if any component of the registry calls this key a secret, whatever the type of the component that has it here.
fn is_secret_row(key: &str, registry: &Registry) -> bool {
    let mut rows = registry.iter().flat_map(|(_, entry)| entry.keys).filter(|row| row.secret);
    let tails: Vec<&str> =
        key.match_indices('.').map(|(dot, _)| &key[dot + 1..]).skip(2).take(4).collect();
    rows.any(|row| tails.iter().any(|tail| row.matches(tail)))
}

/// True for `scheme://user:password@host`. A password may hold any character, so an `@` further back counts too.
fn has_user_info(value: &str) -> bool {
    value.find("://").is_some_and(|at| value[at..].contains('@'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_look_secret_are_found_and_paths_are_not() {
        for key in [
            "a.sinks.k.keystore-password",
            "a.sinks.k.keyPasswrod.pwd",
            "a.b.c.sas",
            "x.y.z.apiKey",
            "a.s.k.pass",
            "k.jaas.config",
        ] {
            assert!(looks_secret(key), "{key}");
        }
        for key in [
            "a.sinks.k.batchSize",
            "a.channels.c.encryption.keyProvider.keyStorePasswordFile",
            "a.b.c.compass",
            "a.b.passthrough",
            "tokens.sources",
            "a.sinks.token.type",
        ] {
            assert!(!looks_secret(key), "{key}");
        }
    }

    #[test]
    fn user_info_of_an_address_is_a_secret() {
        assert!(has_user_info("jdbc:x://u:p@h/db"));
        assert!(has_user_info("http://a/ amqp://u@h"));
        assert!(has_user_info("ftp://u:p/w@h"));
        assert!(!has_user_info("http://host/a"));
    }
}
