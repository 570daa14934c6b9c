//! API keys.

use axum::Json;
use flash_api::{Key, KeyRequest, NewKey, Scope};
use http::StatusCode;

use super::body::Sent;
use super::{Named, Names, Shared, no_content};
use crate::clock;
use crate::refusal::{Refusal, name};

/// The longest name.
const NAME: usize = 100;

pub(super) async fn list(control: Shared) -> Result<Json<Vec<Key>>, Refusal> {
    let keys = control.ask(|store| store.keys()).await?;
    let shown =
        |key: flash_store::Key| Some(Key { scope: scope(&key.scope)?, id: key.id, name: key.name, created: clock::text(key.created) });
    Ok(Json(keys.into_iter().filter_map(shown).collect()))
}

pub(super) async fn make(control: Shared, Sent(asked): Sent<KeyRequest>) -> Result<(StatusCode, Json<NewKey>), Refusal> {
    if asked.name.is_empty() || asked.name.chars().count() > NAME || asked.name.chars().any(char::is_control) {
        return Err(Refusal::BadBody { why: format!("`name` is of 1 to {NAME} characters, none of them a control character") });
    }
    Ok((StatusCode::CREATED, Json(control.make_key(asked.name, asked.scope).await?)))
}

pub(super) async fn revoke(control: Shared, Names(named): Names<Named>) -> Result<StatusCode, Refusal> {
    let id = named.text("key").to_owned();
    let removed = control
        .work({
            let id = id.clone();
            move |control| {
                // In memory only once it is certain that it does not come back with the next start.
                let removed = control.store.remove_key(&id)?;
                control.keyring.remove(&id);
                Ok(removed)
            }
        })
        .await?;
    if removed { Ok(no_content()) } else { Err(Refusal::Unknown { what: "key", name: id.chars().take(100).collect() }) }
}

/// The scope of this name.
pub fn scope(text: &str) -> Option<Scope> {
    [Scope::Admin, Scope::Deploy, Scope::Invoke].into_iter().find(|scope| name(*scope) == text)
}
