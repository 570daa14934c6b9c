//! The pages that show an OpenAPI document, and what they load. Nothing of it comes from elsewhere, and every URL is relative, so that the
//! pages work without a network and behind any prefix.

use std::fmt::Write as _;

/// What a page may do: run and load what is here, and call this server. Both viewers write styles into the page, and ReDoc searches in a worker.
pub(crate) const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; \
    font-src 'self' data:; connect-src 'self'; worker-src blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'self'";

/// A script or a style.
#[derive(Debug, PartialEq, Eq)]
pub struct Asset {
    /// Where it stands, behind the endpoint's prefix.
    path: &'static str,
    pub(crate) kind: &'static str,
    pub(crate) body: &'static [u8],
    /// Whether `body` is compressed by gzip, as what is not ours is (`assets/README.md`).
    pub(crate) compressed: bool,
}

impl Asset {
    /// The one at this path.
    pub(crate) fn at(path: &str) -> Option<&'static Self> {
        ASSETS.iter().find(|asset| asset.path == path)
    }
}

const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";

/// The version of what is not ours is in its name: browsers keep it for good.
static ASSETS: [Asset; 6] = [
    foreign("/docs/swagger-ui-5.35.0.js", SCRIPT, include_bytes!("../assets/swagger-ui-5.35.0.js.gz")),
    foreign("/docs/swagger-ui-5.35.0.css", STYLE, include_bytes!("../assets/swagger-ui-5.35.0.css.gz")),
    own("/docs/start.js", SCRIPT, include_bytes!("../pages/docs.js")),
    own("/docs/page.css", STYLE, include_bytes!("../pages/docs.css")),
    foreign("/redoc/redoc-2.5.4.js", SCRIPT, include_bytes!("../assets/redoc-2.5.4.js.gz")),
    own("/redoc/start.js", SCRIPT, include_bytes!("../pages/redoc.js")),
];

const fn own(path: &'static str, kind: &'static str, body: &'static [u8]) -> Asset {
    Asset { path, kind, body, compressed: false }
}

const fn foreign(path: &'static str, kind: &'static str, body: &'static [u8]) -> Asset {
    Asset { path, kind, body, compressed: true }
}

/// Swagger UI for the document at `url`. `endpoints` are those to choose from: the name, and whether it is shown.
pub(crate) fn docs(title: &str, endpoints: &[(&str, bool)], url: &str) -> String {
    let mut menu = String::new();
    for (name, is_shown) in endpoints {
        let current = if *is_shown { r#" aria-current="page""# } else { "" };
        // Writing to a String does not fail.
        let _ = write!(menu, r#"<a href="?endpoint={name}"{current}>{name}</a>"#, name = escaped(name));
    }
    if let Some((name, _)) = endpoints.iter().find(|(_, is_shown)| *is_shown) {
        let _ =
            write!(menu, r#"<span><a href="lb/{0}/redoc">ReDoc</a><a href="lb/{0}/openapi.json">openapi.json</a></span>"#, escaped(name));
    }
    let menu = if menu.is_empty() { menu } else { format!("<nav>{menu}</nav>\n") };
    filled(include_str!("../pages/docs.html"), title, &menu, url)
}

/// ReDoc for the document at `url`.
pub(crate) fn redoc(title: &str, url: &str) -> String {
    filled(include_str!("../pages/redoc.html"), title, "", url)
}

fn filled(page: &str, title: &str, menu: &str, url: &str) -> String {
    page.replace("{title}", &escaped(title)).replace("{url}", &escaped(url)).replace("{menu}", menu)
}

/// `text` as it stands in HTML, in attributes too.
fn escaped(text: &str) -> String {
    let mut written = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => written.push_str("&amp;"),
            '<' => written.push_str("&lt;"),
            '>' => written.push_str("&gt;"),
            '"' => written.push_str("&quot;"),
            '\'' => written.push_str("&#39;"),
            _ => written.push(character),
        }
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_names_what_is_there_and_nothing_that_is_elsewhere() {
        for (page, base) in [(docs("users", &[("a", true), ("b", false)], "openapi.json"), "/"), (redoc("users", "openapi.json"), "/")] {
            let mut loaded = 0;
            for start in ["src=\"", "href=\""] {
                for target in page.split(start).skip(1).map(|rest| &rest[..rest.find('"').unwrap()]) {
                    assert!(!target.starts_with(['/', 'h']), "{target} is not relative");
                    loaded += usize::from(Asset::at(&format!("{base}{target}")).is_some());
                }
            }
            assert!(loaded >= 2, "{page}");
            assert!(page.contains("<title>users</title>"), "{page}");
            assert!(!page.contains(['{', '}']), "{page}");
        }
    }

    #[test]
    fn what_comes_from_elsewhere_is_text_in_a_page() {
        let page = docs("<script>", &[("\"><img src=x>", true)], "a\"onload='x'&b");
        assert!(page.contains("<title>&lt;script&gt;</title>"));
        assert!(!page.contains("<img") && !page.contains("\"onload"));
    }
}
