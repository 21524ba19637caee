//! One algorithm everywhere: CRC-32 (IEEE, the zlib polynomial), which is also the one of Flume's file channel.

/// The checksum of `parts`, one behind the other.
pub(crate) fn crc32(parts: &[&[u8]]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    for part in parts {
        hasher.update(part);
    }
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_algorithm_is_pinned_by_its_check_value() {
        assert_eq!(super::crc32(&[b"1234", b"56789"]), 0xcbf4_3926);
    }
}
