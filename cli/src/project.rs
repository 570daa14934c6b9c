//! The project that a command is given in.

use std::path::Path;

use crate::report::{Failure, Fault, Trouble};

/// The app that is meant: the one that is named, else that of the project at `place`.
pub fn app(named: Option<String>, place: &Path) -> Result<String, Failure> {
    if let Some(named) = named.filter(|named| !named.is_empty()) {
        return Ok(named);
    }
    let given = std::env::var("FLASH_APP").ok();
    let app = flash_scan::app(place, given.as_deref());
    app.map(|app| app.name.as_str().to_owned()).map_err(|problem| Failure::new(Fault::Request, Trouble::from(problem)))
}
