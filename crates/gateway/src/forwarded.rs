//! How callers address this server, where a proxy that is trusted says it.
//!
//! Of several values the last one counts: the proxy next to us wrote it, while those before may be the caller's own. A value that cannot
//! stand in a URL is passed over as if it had not come.

use http::uri::Authority;
use http::{HeaderMap, HeaderName, header};

const HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const PROTOCOL: HeaderName = HeaderName::from_static("x-forwarded-proto");
const PREFIX: HeaderName = HeaderName::from_static("x-forwarded-prefix");

/// What `base` reads, for caches.
pub(crate) const VARY: &str = "forwarded, x-forwarded-host, x-forwarded-proto, x-forwarded-prefix";

/// The longest host, and the longest prefix, in bytes.
const LONGEST: usize = 1024;

/// What callers write before this server's own paths: `https://api.example/prefix`, or what is known of that. It has no slash at its end.
///
/// Without a host it is a path alone, which is right whatever the host and the protocol are.
pub(crate) fn base(headers: &HeaderMap) -> String {
    let (mut host, mut protocol) = (None, None);
    for (name, value) in last_element(headers) {
        match name.to_ascii_lowercase().as_str() {
            "host" => host = Some(value),
            "proto" => protocol = Some(value),
            _ => {} // who asks, and through whom
        }
    }
    let host = host.or_else(|| last(headers, &HOST)).filter(|host| is_host(host));
    let protocol = protocol.or_else(|| last(headers, &PROTOCOL)).map(|protocol| protocol.to_ascii_lowercase());
    let prefix = prefix(headers);
    match host {
        Some(host) => {
            let protocol = protocol.filter(|protocol| protocol == "https").map_or("http", |_| "https");
            format!("{protocol}://{host}{prefix}")
        }
        None => prefix,
    }
}

/// What callers write before this server's own paths, without a host: right wherever the answer is read.
pub(crate) fn prefix(headers: &HeaderMap) -> String {
    last(headers, &PREFIX).and_then(|prefix| path(&prefix)).unwrap_or_default()
}

/// Whether a proxy says that it hands on somebody's request. Nobody gains anything by saying so falsely.
pub(crate) fn came_through_a_proxy(headers: &HeaderMap) -> bool {
    headers.keys().any(|name| match name {
        &header::FORWARDED | &header::VIA => true,
        name => name.as_str().starts_with("x-forwarded-") || name.as_str() == "x-real-ip",
    })
}

/// The last value of a list in headers of this name.
fn last(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    let line = headers.get_all(name).iter().next_back()?.to_str().ok()?;
    line.rsplit(',').next().map(|value| value.trim().to_owned())
}

/// The pairs of the last element of `Forwarded`; none where the header is not written as it must be.
fn last_element(headers: &HeaderMap) -> Vec<(String, String)> {
    let line = headers.get_all(header::FORWARDED).iter().next_back().and_then(|line| line.to_str().ok());
    line.and_then(elements).and_then(|mut elements| elements.pop()).unwrap_or_default()
}

/// `name=value;name="value", name=value`: pairs, by element.
fn elements(line: &str) -> Option<Vec<Vec<(String, String)>>> {
    let mut elements = vec![Vec::new()];
    let mut rest = line.trim_start();
    while !rest.is_empty() {
        let (name, after) = rest.split_once('=')?;
        let (value, after) = match after.strip_prefix('"') {
            Some(quoted) => unquoted(quoted)?,
            None => {
                let end = after.find([',', ';', ' ', '\t']).unwrap_or(after.len());
                (after[..end].to_owned(), &after[end..])
            }
        };
        elements.last_mut()?.push((name.trim().to_owned(), value));
        rest = after.trim_start();
        let separator = rest.chars().next();
        match separator {
            Some(';') => {}
            Some(',') => elements.push(Vec::new()),
            Some(_) => return None,
            None => break,
        }
        rest = rest[1..].trim_start();
    }
    Some(elements)
}

/// A quoted string from behind its first quote, and what follows the last.
fn unquoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => value.push(characters.next()?.1),
            _ => value.push(character),
        }
    }
    None
}

fn is_host(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-:[]_".contains(&byte);
    let Ok(authority) = text.parse::<Authority>() else { return false };
    let has_good_port = authority.host() == text || authority.port_u16().is_some();
    text.len() <= LONGEST && text.bytes().all(plain) && !authority.host().is_empty() && has_good_port
}

/// A path that can stand behind a host: it starts with one slash and climbs nowhere. Without the slash at its end.
fn path(text: &str) -> Option<String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._~-".contains(&byte);
    let path = text.strip_suffix('/').unwrap_or(text);
    let mut segments = path.split('/');
    let fits = path.len() <= LONGEST
        && path.bytes().all(plain)
        && segments.next() == Some("")
        && segments.all(|segment| !matches!(segment, "" | "." | ".."));
    fits.then(|| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::base;
    use http::{HeaderMap, HeaderName, HeaderValue};

    fn base_of(sent: &[(&str, &str)]) -> String {
        let parsed = sent.iter().map(|(name, value)| (name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap()));
        let mut headers = HeaderMap::new();
        for (name, value) in parsed {
            headers.append(name, value);
        }
        base(&headers)
    }

    #[test]
    fn what_is_not_said_is_left_to_the_caller() {
        assert_eq!(base_of(&[]), "");
        assert_eq!(base_of(&[("x-forwarded-proto", "https")]), "");
        assert_eq!(base_of(&[("x-forwarded-prefix", "/api/")]), "/api");
        assert_eq!(base_of(&[("x-forwarded-for", "10.0.0.1")]), "");
    }

    #[test]
    fn host_protocol_and_prefix_are_put_together() {
        let all = [("x-forwarded-host", "api.example"), ("x-forwarded-proto", "HTTPS"), ("x-forwarded-prefix", "/a/b-1")];
        assert_eq!(base_of(&all), "https://api.example/a/b-1");
        assert_eq!(base_of(&all[..1]), "http://api.example");
        assert_eq!(base_of(&[("x-forwarded-host", "[::1]:8443"), ("x-forwarded-proto", "https")]), "https://[::1]:8443");
    }

    #[test]
    fn the_standard_header_comes_first() {
        let sent = [
            ("forwarded", "for=1.2.3.4;host=\"a.example:81\";Proto=https"),
            ("x-forwarded-host", "b.example"),
            ("x-forwarded-prefix", "/p"),
        ];
        assert_eq!(base_of(&sent), "https://a.example:81/p");
        assert_eq!(base_of(&[("forwarded", "for=1.2.3.4"), ("x-forwarded-host", "b.example")]), "http://b.example");
        assert_eq!(base_of(&[("forwarded", r#"for="a, b;host=c";host="\d.example" ; proto=https"#)]), "https://d.example");
    }

    #[test]
    fn of_several_the_nearest_proxy_is_believed() {
        assert_eq!(base_of(&[("x-forwarded-host", "evil.example, good.example")]), "http://good.example");
        assert_eq!(base_of(&[("x-forwarded-host", "evil.example"), ("x-forwarded-host", "good.example")]), "http://good.example");
        assert_eq!(base_of(&[("forwarded", "host=evil.example, host=good.example;proto=http")]), "http://good.example");
        assert_eq!(base_of(&[("forwarded", "host=evil.example"), ("forwarded", "host=good.example")]), "http://good.example");
    }

    #[test]
    fn what_cannot_stand_in_a_url_is_passed_over() {
        let hosts = ["", "a b", "user@a.example", "a.example/x", "a\"b", "<script>", "a.example:x", ":80", "a?b", "a#b", "a\\b", "[::1"];
        for host in hosts {
            assert_eq!(base_of(&[("x-forwarded-host", host)]), "", "{host}");
        }
        for prefix in
            ["api", "//a.example", "/a//b", "/../x", "/a/./b", "/a b", "/a?b", "/a#b", "/\"><script>", "/a%0d%0a", "javascript:x", "/a\\b"]
        {
            assert_eq!(base_of(&[("x-forwarded-prefix", prefix)]), "", "{prefix}");
        }
        assert_eq!(base_of(&[("x-forwarded-host", "a.example"), ("x-forwarded-proto", "javascript")]), "http://a.example");
        let long = format!("/{}", "a".repeat(2000));
        assert_eq!(base_of(&[("x-forwarded-prefix", &long)]), "");
        for forwarded in ["host", "host=a.example b", "host=\"a.example", "=;,=", "host=\"a.example\"x", ";;;", "host=\"\\"] {
            assert_eq!(base_of(&[("forwarded", forwarded)]), "", "{forwarded}");
        }
    }
}
