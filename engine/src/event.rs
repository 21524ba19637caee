//! The one codec of an event: ordered headers and a body.
//!
//! The queue carries opaque payloads. This module says what a payload is when it is an event, so that the agent, the tools and other
//! programs agree. The bytes in memory are the bytes on disk: decoding slices, it does not copy.
//!
//! ```text
//! payload  = headers_len: u32 | headers | body (the rest)
//! headers  = { key_len: u32 | value_len: u32 | key (UTF-8) | value (UTF-8) } ...      all numbers little-endian
//! ```

use crate::error::{Error, Result};
use bytes::{BufMut, Bytes, BytesMut};
use std::fmt;

/// Ordered headers with unique keys, packed in one buffer: shared while it is read, owned once it is changed.
///
/// Looking a key up walks the buffer: events have a handful of headers, and a map would cost an allocation for each.
///
/// # Examples
/// ```
/// use fchannel::Headers;
/// let mut headers = Headers::from_iter([("host", "web1"), ("level", "info")]);
/// headers.insert("host", "web2");
/// assert_eq!(headers.get("host"), Some("web2"));
/// assert_eq!(headers.iter().map(|(key, _)| key).collect::<Vec<_>>(), ["host", "level"]);
/// assert!(headers.remove("level"));
/// assert_eq!(headers.len(), 1);
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Headers(Bytes);

const ENTRY_PREFIX_BYTES: usize = 8;

impl Headers {
    /// No headers.
    #[must_use]
    pub const fn new() -> Self {
        Self(Bytes::new())
    }

    /// Checks packed headers read from disk or wire, and takes them over without a copy.
    ///
    /// # Errors
    /// `Corrupt` if a length points outside the buffer or a text is not UTF-8.
    pub fn from_packed(packed: Bytes) -> Result<Self> {
        let mut rest = packed.as_ref();
        while !rest.is_empty() {
            let (key, value, after) = split_entry(rest)
                .ok_or_else(|| Error::corrupt("event headers end in the middle of an entry"))?;
            if std::str::from_utf8(key).is_err() || std::str::from_utf8(value).is_err() {
                return Err(Error::corrupt("an event header is not UTF-8"));
            }
            rest = after;
        }
        Ok(Self(packed))
    }

    /// The packed bytes, as they lie in a payload.
    #[must_use]
    pub fn packed(&self) -> &Bytes {
        &self.0
    }

    /// The value of `key`.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.iter().find(|(found, _)| *found == key).map(|(_, value)| value)
    }

    /// Sets `key`, in its old place if it had one, else at the end.
    ///
    /// # Panics
    /// If a text is 4 GiB or longer.
    pub fn insert(&mut self, key: &str, value: &str) {
        if self.get(key).is_none() {
            let mut packed = match std::mem::take(&mut self.0).try_into_mut() {
                Ok(owned) => owned,
                Err(shared) => BytesMut::from(shared.as_ref()),
            };
            put_entry(&mut packed, key, value);
            self.0 = packed.freeze();
        } else {
            *self = self
                .iter()
                .map(|(old, old_value)| (old, if old == key { value } else { old_value }))
                .collect();
        }
    }

    /// Removes `key`; true if it was there.
    pub fn remove(&mut self, key: &str) -> bool {
        if self.get(key).is_none() {
            return false;
        }
        *self = self.iter().filter(|(old, _)| *old != key).collect();
        true
    }

    /// Keys and values in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let mut rest = self.0.as_ref();
        std::iter::from_fn(move || {
            let (key, value, after) = split_entry(rest)?;
            rest = after;
            // `from_packed` and `insert` let in nothing but UTF-8.
            Some((
                std::str::from_utf8(key).unwrap_or_default(),
                std::str::from_utf8(value).unwrap_or_default(),
            ))
        })
    }

    /// How many headers there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.iter().count()
    }

    /// True if there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<'a> FromIterator<(&'a str, &'a str)> for Headers {
    /// Keys are unique: of equal keys the last one wins, in the place of the first.
    fn from_iter<I: IntoIterator<Item = (&'a str, &'a str)>>(entries: I) -> Self {
        let mut unique: Vec<(&str, &str)> = Vec::new();
        for (key, value) in entries {
            match unique.iter_mut().find(|(old, _)| *old == key) {
                Some(slot) => slot.1 = value,
                None => unique.push((key, value)),
            }
        }
        let mut packed = BytesMut::with_capacity(
            unique.iter().map(|(key, value)| ENTRY_PREFIX_BYTES + key.len() + value.len()).sum(),
        );
        for (key, value) in unique {
            put_entry(&mut packed, key, value);
        }
        Self(packed.freeze())
    }
}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

fn put_entry(packed: &mut BytesMut, key: &str, value: &str) {
    packed.put_u32_le(u32::try_from(key.len()).expect("a header key is shorter than 4 GiB"));
    packed.put_u32_le(u32::try_from(value.len()).expect("a header value is shorter than 4 GiB"));
    packed.put_slice(key.as_bytes());
    packed.put_slice(value.as_bytes());
}

/// Key, value, and what follows; `None` at the end or where a length points outside.
fn split_entry(packed: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let (key_len, rest) = packed.split_first_chunk::<4>()?;
    let (value_len, rest) = rest.split_first_chunk::<4>()?;
    let (key, rest) = rest.split_at_checked(u32::from_le_bytes(*key_len) as usize)?;
    let (value, rest) = rest.split_at_checked(u32::from_le_bytes(*value_len) as usize)?;
    Some((key, value, rest))
}

/// An event: what sources bring, channels keep and sinks deliver.
///
/// # Examples
/// ```
/// use fchannel::{Event, Headers};
/// let event = Event::new(Headers::from_iter([("host", "web1")]), "GET /cart 200");
/// let mut payload = Vec::new();
/// event.encode_into(&mut payload);
/// assert_eq!(payload.len(), event.encoded_len());
/// assert_eq!(Event::decode(payload.into())?, event);
/// # Ok::<(), fchannel::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// Ordered, unique keys.
    pub headers: Headers,
    /// Opaque bytes.
    pub body: Bytes,
}

impl Event {
    /// An event of these parts.
    #[must_use]
    pub fn new(headers: Headers, body: impl Into<Bytes>) -> Self {
        Self { headers, body: body.into() }
    }

    /// An event without headers.
    #[must_use]
    pub fn of_body(body: impl Into<Bytes>) -> Self {
        Self::new(Headers::new(), body)
    }

    /// How many bytes [`encode_into`](Self::encode_into) appends.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        4 + self.headers.packed().len() + self.body.len()
    }

    /// Appends the payload of this event.
    ///
    /// # Panics
    /// If the headers take 4 GiB or more.
    pub fn encode_into(&self, out: &mut Vec<u8>) {
        let headers = self.headers.packed();
        let headers_len =
            u32::try_from(headers.len()).expect("the headers of an event are shorter than 4 GiB");
        out.reserve(self.encoded_len());
        out.extend_from_slice(&headers_len.to_le_bytes());
        out.extend_from_slice(headers);
        out.extend_from_slice(&self.body);
    }

    /// Reads a payload; headers and body are slices of it.
    ///
    /// # Errors
    /// `Corrupt` if the payload is not an event.
    pub fn decode(payload: Bytes) -> Result<Self> {
        let Some((headers_len, rest)) = payload.split_first_chunk::<4>() else {
            return Err(Error::corrupt("an event payload is shorter than its first length"));
        };
        let headers_len = u32::from_le_bytes(*headers_len) as usize;
        if headers_len > rest.len() {
            return Err(Error::corrupt("event headers are longer than the payload"));
        }
        let headers = Headers::from_packed(payload.slice(4..4 + headers_len))?;
        Ok(Self { headers, body: payload.slice(4 + headers_len..) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_last_of_equal_keys_wins_in_the_place_of_the_first() {
        let headers = Headers::from_iter([("a", "1"), ("b", "2"), ("a", "3")]);
        assert_eq!(headers.iter().collect::<Vec<_>>(), [("a", "3"), ("b", "2")]);
    }

    #[test]
    fn a_change_leaves_clones_alone() {
        let mut headers = Headers::from_iter([("a", "1")]);
        let before = headers.clone();
        headers.insert("b", "2");
        headers.insert("a", "x");
        assert_eq!(before.iter().collect::<Vec<_>>(), [("a", "1")]);
        assert_eq!(headers.iter().collect::<Vec<_>>(), [("a", "x"), ("b", "2")]);
    }

    #[test]
    fn a_length_that_points_outside_is_refused() {
        for payload in [
            &b""[..],
            &[1, 0, 0],
            &[9, 0, 0, 0],
            &[8, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0],
            &[255, 255, 255, 255, 1],
        ] {
            assert!(Event::decode(Bytes::copy_from_slice(payload)).is_err(), "{payload:?}");
        }
    }

    proptest! {
        #[test]
        fn decoding_what_was_encoded_gives_it_back(entries in prop::collection::vec((".{0,8}", ".{0,8}"), 0..5), body: Vec<u8>) {
            let headers = entries.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
            let event = Event::new(headers, body);
            let mut payload = Vec::new();
            event.encode_into(&mut payload);
            prop_assert_eq!(payload.len(), event.encoded_len());
            prop_assert_eq!(Event::decode(payload.into()).unwrap(), event);
        }

        #[test]
        fn no_payload_makes_decode_panic(payload: Vec<u8>) {
            if let Ok(event) = Event::decode(payload.into()) {
                prop_assert_eq!(event.headers.iter().count(), event.headers.len());
            }
        }
    }
}
