//! Passes: what workers show when they call other endpoints. One is good for the endpoints of one environment, and for nothing else.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use http::request::Parts;

use crate::control::Place;
use crate::keyring::bearer;
use crate::secret::{self, Hash};

/// All passes that are held.
#[derive(Default)]
pub(crate) struct Passes {
    /// By what is kept of their secrets: who could tell where two of these differ would know nothing of the secrets.
    held: RwLock<HashMap<Hash, Place>>,
}

/// A pass. It is taken back when this is dropped.
pub(crate) struct Pass {
    passes: Arc<Passes>,
    secret: String,
}

impl Passes {
    /// A new one, for an environment.
    pub(crate) fn issue(self: &Arc<Self>, place: &Place) -> std::io::Result<Pass> {
        let secret = secret::draw()?;
        self.held.write().unwrap_or_else(PoisonError::into_inner).insert(secret::hash(secret.as_bytes()), place.clone());
        Ok(Pass { passes: self.clone(), secret })
    }

    /// The environment that a request's pass is for; `None` where it shows none that is held.
    pub(crate) fn place(&self, head: &Parts) -> Option<Place> {
        let shown = secret::hash(bearer(head)?);
        self.held.read().unwrap_or_else(PoisonError::into_inner).get(&shown).cloned()
    }
}

impl Pass {
    /// What is shown.
    pub(crate) fn secret(&self) -> &str {
        &self.secret
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        let hash = secret::hash(self.secret.as_bytes());
        self.passes.held.write().unwrap_or_else(PoisonError::into_inner).remove(&hash);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pass_is_for_one_environment_until_it_is_taken_back() {
        let passes = Arc::new(Passes::default());
        let place = |environment: &str| Place { app: "shop".into(), environment: environment.into() };
        let (one, other) = (passes.issue(&place("production")).unwrap(), passes.issue(&place("staging")).unwrap());
        let shown = |text: &str| {
            let (head, ()) = http::Request::builder().header("authorization", text).body(()).unwrap().into_parts();
            passes.place(&head)
        };
        let (first, second) = (format!("Bearer {}", one.secret()), format!("Bearer {}", other.secret()));
        assert_eq!((shown(&first), shown(&second)), (Some(place("production")), Some(place("staging"))));
        assert_eq!((shown("Bearer nothing"), shown(one.secret())), (None, None));
        drop(one);
        assert_eq!((shown(&first), shown(&second)), (None, Some(place("staging"))));
    }
}
