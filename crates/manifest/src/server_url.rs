//! Where a server is.

use std::fmt;
use std::str::FromStr;

use crate::Diagnostic;
use crate::text::{named, shown};

/// The URL of a server, without a slash at the end: `https://flash.example.org`, `http://127.0.0.1:8000`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerUrl(String);

impl ServerUrl {
    /// The URL.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ServerUrl {
    type Err = Diagnostic;

    /// Takes `http` and `https` with a host, a port and a path; what belongs to one request (a query), or is a secret (a password), is
    /// refused.
    fn from_str(text: &str) -> Result<Self, Diagnostic> {
        // What may be a password is not shown.
        let written = if text.contains('@') { "it".to_owned() } else { format!("`{}`", shown(text)) };
        let wrong =
            |what: &str, why: &str, remedy: &str| Err(Diagnostic::error(format!("{written} is no server's URL: {what}"), why, remedy));
        let example = "https://flash.example.org, or http://127.0.0.1:8000";
        let Some(rest) = ["http://", "https://"].iter().find_map(|scheme| text.strip_prefix(scheme)) else {
            return wrong("it does not begin with http:// or https://", "the server speaks these two", example);
        };
        if let Some(odd) = text.chars().find(|character| !character.is_ascii_graphic() || "\"<>\\^`{|}".contains(*character)) {
            return wrong(&format!("it has the character {}", named(odd)), "a URL has no such characters", example);
        }
        if rest.contains('@') {
            return wrong("it has a user or a password", "an API key says who asks", "take it out, and set FLASH_API_KEY");
        }
        if rest.contains(['?', '#']) {
            return wrong("it has a query or a fragment", "paths of the API are added to it", example);
        }
        let authority = rest.split('/').next().unwrap_or_default();
        let (host, port) = match authority.rsplit_once(':') {
            // A colon within the brackets of an IPv6 address begins no port.
            Some((host, port)) if !port.contains(']') => (host, Some(port)),
            _ => (authority, None),
        };
        let bracketed = host.starts_with('[') && host.ends_with(']') && host.len() > 2;
        if host.is_empty() || host.contains(['[', ']', ':']) && !bracketed {
            return wrong("it has no host", "the host is the machine that the server runs on", example);
        }
        if port.is_some_and(|port| port.parse::<u16>().is_err()) {
            return wrong("its port is no number up to 65535", "the server listens at a port", example);
        }
        Ok(Self(text.trim_end_matches('/').to_owned()))
    }
}

impl fmt::Display for ServerUrl {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::ServerUrl;

    #[test]
    fn a_servers_url_has_a_scheme_a_host_and_nothing_of_one_request() {
        let check = |text: &str, expected: &str| assert_eq!(text.parse::<ServerUrl>().map(|url| url.to_string()), Ok(expected.to_owned()));
        check("http://127.0.0.1:8000", "http://127.0.0.1:8000");
        check("https://flash.example.org/", "https://flash.example.org");
        check("https://example.org/flash/", "https://example.org/flash");
        check("http://[::1]:8000", "http://[::1]:8000");
        check("http://[::1]", "http://[::1]");
        let refused = |text: &str, expected: &str| {
            let problem = text.parse::<ServerUrl>().expect_err(text);
            assert!(problem.what.contains(expected), "{text}: {}", problem.what);
        };
        refused("flash.example.org", "does not begin with http");
        refused("ftp://example.org", "does not begin with http");
        refused("", "does not begin with http");
        refused("http://", "has no host");
        refused("http://:8000", "has no host");
        refused("http:///path", "has no host");
        refused("http://[::1", "has no host");
        refused("http://[]", "has no host");
        refused("http://::1", "has no host");
        refused("http://a:99999", "no number up to 65535");
        refused("http://a:", "no number up to 65535");
        refused("http://a b", "the character ' '");
        refused("http://ä.example", "the character U+00E4");
        refused("http://a/?x=1", "a query");
        refused("http://user:secret@a", "a user or a password");
        assert!(!"http://user:secret@a".parse::<ServerUrl>().expect_err("a password").to_string().contains("secret"));
    }
}
