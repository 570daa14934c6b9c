//! By what receivers of webhooks know that this server has sent them: the Standard Webhooks' headers.

use std::path::Path;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use rustix::rand::{GetRandomFlags, getrandom};
use sha2::Sha256;

/// What a secret's text begins with.
const PREFIX: &str = "whsec_";
/// Bytes of a secret that is drawn.
const LENGTH: usize = 32;

/// What webhooks are signed with.
#[derive(Clone)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// Draws one, as text.
    ///
    /// # Errors
    /// Where the system gives no random numbers.
    pub fn draw() -> std::io::Result<String> {
        let mut bytes = [0; LENGTH];
        getrandom(&mut bytes, GetRandomFlags::empty())?;
        Ok(format!("{PREFIX}{}", BASE64_STANDARD.encode(bytes)))
    }

    /// Reads one; `None` where it is no secret.
    pub fn read(text: &str) -> Option<Self> {
        let bytes = BASE64_STANDARD.decode(text.trim().strip_prefix(PREFIX)?).ok()?;
        (bytes.len() >= 24).then_some(Self(bytes))
    }

    /// The secret in a file.
    ///
    /// # Errors
    /// Where it cannot be read, or has no secret.
    pub fn of_file(path: &Path) -> std::io::Result<Self> {
        let text = std::fs::read_to_string(path)?;
        Self::read(&text).ok_or_else(|| std::io::Error::new(std::io::ErrorKind::InvalidData, "it has no secret, as `whsec_...`"))
    }

    /// `webhook-signature` of a message.
    pub(super) fn sign(&self, id: &str, timestamp: i64, body: &[u8]) -> String {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("a key may have any length");
        mac.update(format!("{id}.{timestamp}.").as_bytes());
        mac.update(body);
        format!("v1,{}", BASE64_STANDARD.encode(mac.finalize().into_bytes()))
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Secret(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_signed_as_the_specification_s_example_is() {
        let secret = Secret::read("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n").unwrap();
        let signature = secret.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#);
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn a_secret_that_is_drawn_can_be_read() {
        let text = Secret::draw().unwrap();
        assert_eq!(Secret::read(&text).unwrap().0.len(), LENGTH);
        assert_ne!(text, Secret::draw().unwrap());
        assert!(Secret::read("whsec_c2hvcnQ=").is_none() && Secret::read(text.strip_prefix(PREFIX).unwrap()).is_none());
    }
}
