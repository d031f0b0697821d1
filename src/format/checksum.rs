//! CRC-32C (Castagnoli), as iSCSI and ext4 use it: RFC 3720, appendix B.4.

/// The checksum of `bytes`.
#[must_use]
#[inline]
pub fn checksum(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes)
}

/// The checksum of what `so_far` covers followed by `bytes`.
#[must_use]
#[inline]
pub fn checksum_more(so_far: u32, bytes: &[u8]) -> u32 {
    crc32c::crc32c_append(so_far, bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_value_of_the_catalogue_of_parametrised_crc_algorithms() {
        assert_eq!(checksum(b"123456789"), 0xe306_9283);
    }

    #[test]
    fn the_zero_vectors_of_rfc_3720() {
        assert_eq!(checksum(&[0; 32]), 0x8a91_36aa);
        assert_eq!(checksum(&[0xff; 32]), 0x62a8_ab43);
    }

    #[test]
    fn a_checksum_in_pieces_is_the_checksum_of_the_whole() {
        assert_eq!(checksum_more(checksum(b"1234"), b"56789"), checksum(b"123456789"));
    }
}
