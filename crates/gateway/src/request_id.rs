//! The id that a request's answer carries, and with which it is looked up in the log.

use http::{HeaderName, HeaderValue};

/// Where the answer carries it.
pub(crate) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Sixteen hexadecimal digits: eight of the run of the server, eight of the request's number.
#[derive(Debug)]
pub(crate) struct RequestId([u8; 16]);

impl RequestId {
    pub(crate) fn new(epoch: u32, tag: u64) -> Self {
        let number = u64::from(epoch) << 32 | tag & u64::from(u32::MAX);
        let digit = |index: usize| (number >> (60 - 4 * index) & 0xF) as usize;
        Self(std::array::from_fn(|index| b"0123456789abcdef"[digit(index)]))
    }

    pub(crate) fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("digits are ASCII")
    }

    pub(crate) fn header(&self) -> HeaderValue {
        HeaderValue::from_bytes(&self.0).expect("hexadecimal digits are allowed")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_names_the_run_and_the_request() {
        assert_eq!(RequestId::new(0xDEAD_BEEF, 0x12).as_str(), "deadbeef00000012");
        assert_eq!(RequestId::new(1, 0x5_0000_00AB).as_str(), "00000001000000ab", "numbers go round after 32 bits");
        assert_eq!(RequestId::new(0x0123_4567, 0x89AB_CDEF).header(), "0123456789abcdef");
    }
}
