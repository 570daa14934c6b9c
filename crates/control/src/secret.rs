//! Secrets: 256 random bits, and what is kept of them.

use std::hint::black_box;
use std::io;

use rustix::rand::{GetRandomFlags, getrandom};
use sha2::{Digest as _, Sha256};

/// Bytes of a secret; it is written as twice as many hexadecimal digits.
const LENGTH: usize = 32;

/// What is kept of a secret. One round of SHA-256 is enough, and cheap at each request: a slow hash makes up for secrets that can be guessed,
/// as people's passwords, and nobody guesses one of 2^256.
pub type Hash = [u8; 32];

/// A new secret.
pub fn draw() -> io::Result<String> {
    random::<LENGTH>().map(|bytes| hex(&bytes))
}

/// Random bytes, from the system.
pub fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    let mut filled = 0;
    while filled < N {
        filled += getrandom(&mut bytes[filled..], GetRandomFlags::empty())?;
    }
    Ok(bytes)
}

/// Whether a text is such a secret.
pub fn is_secret(text: &str) -> bool {
    text.len() == 2 * LENGTH && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// What is kept of it.
pub fn hash(secret: &[u8]) -> Hash {
    Sha256::digest(secret).into()
}

/// Whether two are the same, in a time that does not depend on where they differ.
pub fn same(one: &Hash, other: &Hash) -> bool {
    black_box(one.iter().zip(other).fold(0, |differs, (left, right)| black_box(differs | (left ^ right)))) == 0
}

/// Lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        let _ = write!(text, "{byte:02x}"); // to a String
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_the_same_only_where_each_byte_is() {
        let one = hash(b"secret");
        assert!(same(&one, &hash(b"secret")));
        for index in 0..one.len() {
            let mut other = one;
            other[index] ^= 1;
            assert!(!same(&one, &other), "{index}");
        }
    }

    #[test]
    fn a_secret_is_drawn_anew_each_time() {
        let (one, other) = (draw().unwrap(), draw().unwrap());
        assert!(is_secret(&one) && is_secret(&other) && one != other);
        assert!(!is_secret("") && !is_secret(&one[1..]));
    }
}
