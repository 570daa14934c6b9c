//! Who may do what: the token of this machine, and API keys.

use std::sync::{PoisonError, RwLock};

use flash_api::Scope;
use http::{header, request::Parts};

use crate::secret::{self, Hash};

/// Before the secret of an API key, so that people and scanners of leaks know one when they see it.
pub const PREFIX: &str = "flash_";

/// All credentials, by what is kept of their secrets.
pub struct Keyring {
    token: Hash,
    keys: RwLock<Vec<Held>>,
}

/// One key.
struct Held {
    id: String,
    hash: Hash,
    scope: Scope,
}

impl Keyring {
    /// With the local token alone.
    pub fn new(token: &str) -> Self {
        Self { token: secret::hash(token.as_bytes()), keys: RwLock::default() }
    }

    /// Lets a key in from now on.
    pub fn add(&self, id: String, hash: Hash, scope: Scope) {
        self.keys.write().unwrap_or_else(PoisonError::into_inner).push(Held { id, hash, scope });
    }

    /// Lets a key in no longer.
    pub fn remove(&self, id: &str) {
        self.keys.write().unwrap_or_else(PoisonError::into_inner).retain(|key| key.id != id);
    }

    /// What who sends a request may do; `None` where it shows nothing that is known.
    ///
    /// All keys are compared with, whichever it is and wherever they differ: the time tells nothing of them.
    pub fn scope(&self, head: &Parts) -> Option<Scope> {
        self.scope_of(bearer(head)?)
    }

    /// As [`Self::scope`], where a key may stand alone in `Authorization` too: clients of the job API send it so.
    pub fn scope_of_client(&self, head: &Parts) -> Option<Scope> {
        let mut values = head.headers.get_all(header::AUTHORIZATION).iter();
        let (value, others) = (values.next()?.as_bytes(), values.next());
        let bare = || (others.is_none() && !value.contains(&b' ')).then_some(value);
        self.scope_of(bearer(head).or_else(bare)?)
    }

    fn scope_of(&self, secret: &[u8]) -> Option<Scope> {
        let given = secret::hash(secret);
        let admin = secret::same(&given, &self.token).then_some(Scope::Admin);
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        keys.iter().fold(admin, |found, key| if secret::same(&given, &key.hash) { Some(key.scope) } else { found })
    }
}

/// What stands behind `Bearer`, in the only `Authorization`.
pub(crate) fn bearer(head: &Parts) -> Option<&[u8]> {
    let mut values = head.headers.get_all(header::AUTHORIZATION).iter();
    let value = values.next()?.as_bytes();
    if values.next().is_some() {
        return None;
    }
    let (scheme, rest) = value.split_at_checked("Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then_some(rest.trim_ascii())
}

/// Whether a scope allows what `needed` is needed for.
pub fn allows(scope: Scope, needed: Scope) -> bool {
    scope <= needed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(keyring: &Keyring, values: &[&str]) -> Option<Scope> {
        let mut request = http::Request::new(());
        for value in values {
            request.headers_mut().append(header::AUTHORIZATION, value.parse().unwrap());
        }
        keyring.scope(&request.into_parts().0)
    }

    #[test]
    fn the_token_and_keys_are_known_until_they_are_revoked() {
        let keyring = Keyring::new("the-token");
        keyring.add("a".into(), secret::hash(b"flash_a"), Scope::Deploy);
        keyring.add("b".into(), secret::hash(b"flash_b"), Scope::Invoke);
        for (values, expected) in [
            (&["Bearer the-token"][..], Some(Scope::Admin)),
            (&["bearer flash_a"], Some(Scope::Deploy)),
            (&["Bearer  flash_b "], Some(Scope::Invoke)),
            (&["Bearer flash_c"], None),
            (&["Bearer "], None),
            (&["Bearer"], None),
            (&["Basic flash_a"], None),
            (&["flash_a"], None),
            (&[], None),
            (&["Bearer flash_c", "Bearer flash_a"], None),
        ] {
            assert_eq!(scope(&keyring, values), expected, "{values:?}");
        }
        keyring.remove("a");
        assert_eq!(scope(&keyring, &["Bearer flash_a"]), None);
        assert_eq!(scope(&keyring, &["Bearer flash_b"]), Some(Scope::Invoke));
    }

    #[test]
    fn a_client_s_key_may_stand_alone() {
        let keyring = Keyring::new("the-token");
        keyring.add("b".into(), secret::hash(b"flash_b"), Scope::Invoke);
        for (values, expected) in [
            (&["flash_b"][..], Some(Scope::Invoke)),
            (&["Bearer flash_b"], Some(Scope::Invoke)),
            (&["the-token"], Some(Scope::Admin)),
            (&["flash_c"], None),
            (&["Basic flash_b"], None),
            (&["flash_b", "flash_b"], None),
            (&[], None),
        ] {
            let mut request = http::Request::new(());
            for value in values {
                request.headers_mut().append(header::AUTHORIZATION, value.parse().unwrap());
            }
            assert_eq!(keyring.scope_of_client(&request.into_parts().0), expected, "{values:?}");
        }
    }

    #[test]
    fn each_scope_allows_what_those_after_it_do() {
        let all = [Scope::Admin, Scope::Deploy, Scope::Invoke];
        for (index, scope) in all.into_iter().enumerate() {
            for (other, needed) in all.into_iter().enumerate() {
                assert_eq!(allows(scope, needed), index <= other, "{scope:?} {needed:?}");
            }
        }
    }
}
