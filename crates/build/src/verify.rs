//! Holds what a manifest claims against the sources that came with it.

use std::path::Path;

use flash_manifest::{Diagnostic, Endpoint, Location, Manifest, Module};

/// Reads the functions' modules, without running them, and errs where they declare something else than the manifest says.
pub(crate) fn sources(manifest: &Manifest, sources: &Path) -> Result<(), Vec<Diagnostic>> {
    let root = sources.canonicalize().unwrap_or_else(|_| sources.to_owned());
    let claimed = manifest.endpoints_in(&root);
    let mut modules: Vec<Module> =
        claimed.iter().flat_map(|endpoint| &endpoint.functions).map(|function| function.module.clone()).collect();
    modules.sort_by(|one, other| one.file.cmp(&other.file));
    modules.dedup_by(|one, other| one.file == other.file);
    let declared = flash_scan::declared(&root, &modules)?;
    let (declared, claimed) = (comparable(declared, &root), comparable(claimed, &root));
    let lies = claimed
        .iter()
        .filter(|endpoint| !declared.contains(endpoint))
        .chain(declared.iter().filter(|endpoint| !claimed.contains(endpoint)));
    let lies: Vec<Diagnostic> = lies.take(1).map(lie).collect();
    if lies.is_empty() { Ok(()) } else { Err(lies) }
}

/// Endpoints in one order, and with what may differ made the same: the names that modules are imported by depend on the rest of the project.
fn comparable(mut endpoints: Vec<Endpoint>, root: &Path) -> Vec<Endpoint> {
    let nowhere = Location { file: root.into(), line: 0 };
    for endpoint in &mut endpoints {
        endpoint.location = nowhere.clone();
        for function in &mut endpoint.functions {
            function.location = nowhere.clone();
            function.module.name.clear();
            function.module.import_base.clear();
            function.module.import_path.clear();
        }
        endpoint.functions.sort_by(|left, right| (&left.module.file, &left.qualname).cmp(&(&right.module.file, &right.qualname)));
    }
    endpoints.sort_by(|left, right| left.name.cmp(&right.name));
    endpoints
}

fn lie(endpoint: &Endpoint) -> Diagnostic {
    Diagnostic::error(
        format!("the manifest and the sources differ about endpoint '{}'", endpoint.name),
        "what the manifest says is what the sources declare, as this release of flash reads them",
        "build the project anew, with the release of flash that the server has",
    )
}
