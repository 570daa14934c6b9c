//! Whom a request is addressed to: the host of its target, else its `Host`.

use std::net::IpAddr;

use http::{Version, header, request::Parts};

/// The host that a request names, without its port; `None` where HTTP/1.0 names none. Errs with what is wrong with it.
pub(crate) fn host(head: &Parts) -> Result<Option<&str>, &'static str> {
    let mut hosts = head.headers.get_all(header::HOST).iter();
    let field = hosts.next();
    if hosts.next().is_some() {
        return Err("the request has more than one Host");
    }
    let named = match field {
        Some(value) => Some(
            value.to_str().ok().and_then(without_port).ok_or("the request's Host is not a host, with or without a port (0 to 65535)")?,
        ),
        None if head.version == Version::HTTP_11 => return Err("the request has no Host, which HTTP/1.1 demands"),
        None => None,
    };
    let Some(target) = head.uri.authority() else { return Ok(named) };
    let aimed =
        without_port(target.as_str()).ok_or("the request's target does not begin with a host, with or without a port (0 to 65535)")?;
    // In HTTP/1.1 a target with a host comes from who takes us for a proxy, and counts alone. In HTTP/2 both are the caller's.
    match named {
        Some(named) if head.version == Version::HTTP_2 && !named.eq_ignore_ascii_case(aimed) => {
            Err("the request's Host and :authority name different hosts")
        }
        _ => Ok(Some(aimed)),
    }
}

/// Whether a host's name or address means this machine, as loopback does.
pub(crate) fn is_loopback(host: &str) -> bool {
    let host = without_root(host);
    let ends_in = |name: &str| host.len() > name.len() && host.as_bytes()[host.len() - name.len()..].eq_ignore_ascii_case(name.as_bytes());
    host.eq_ignore_ascii_case("localhost")
        || ends_in(".localhost")
        || host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// A host's name without the dot of the root, with which it means the same: `localhost.` is `localhost`.
pub(crate) fn without_root(host: &str) -> &str {
    host.strip_suffix('.').unwrap_or(host)
}

/// Of `host` or `host:port` the host; `None` where it is neither.
fn without_port(authority: &str) -> Option<&str> {
    let inside = |byte: u8| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.');
    let allowed = |byte: u8| {
        byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'%' | b'!' | b'$' | b'&'..=b',' | b';' | b'=')
    };
    let bracket = authority.starts_with('[').then(|| authority.find(']')).flatten();
    let (host, port) = match bracket {
        Some(end) => {
            (authority.as_bytes()[1..end].iter().all(|byte| inside(*byte)) && end > 1).then_some(())?;
            authority.split_at(end + 1)
        }
        None => {
            let end = authority.bytes().position(|byte| byte == b':').unwrap_or(authority.len());
            (end > 0 && authority.as_bytes()[..end].iter().all(|byte| allowed(*byte))).then_some(())?;
            authority.split_at(end)
        }
    };
    let digits = if port.is_empty() { port } else { port.strip_prefix(':')? };
    let is_port = digits.bytes().all(|byte| byte.is_ascii_digit()) && (digits.is_empty() || digits.parse::<u16>().is_ok());
    is_port.then_some(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_has_a_name_or_an_address_and_perhaps_a_port() {
        for (authority, expected) in [
            ("localhost", Some("localhost")),
            ("a.example:80", Some("a.example")),
            ("a.example:", Some("a.example")),
            ("127.0.0.1:8888", Some("127.0.0.1")),
            ("[::1]", Some("[::1]")),
            ("[::1]:80", Some("[::1]")),
            ("a_b~%41", Some("a_b~%41")),
            ("", None),
            (":80", None),
            ("a:b", None),
            ("a:65535", Some("a")),
            ("a:0080", Some("a")),
            ("a:65536", None),
            ("a:99999", None),
            ("[::1]:99999999999999999999", None),
            ("a:+80", None),
            ("a:80:80", None),
            ("::1", None),
            ("[]", None),
            ("[::1", None),
            ("[::1]x", None),
            ("[a b]", None),
            ("user@a", None),
            ("a b", None),
            ("a/b", None),
            ("a,b@c", None),
            ("a\tb", None),
            ("ä", None),
        ] {
            assert_eq!(without_port(authority), expected, "{authority:?}");
        }
    }

    #[test]
    fn loopback_is_what_this_machine_calls_itself() {
        for host in ["localhost", "LOCALHOST", "LOCALHOST.", "api.localhost", "api.localhost.", "127.0.0.1", "127.9.9.9", "[::1]"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in [
            "a.example",
            "localhost.example",
            "xlocalhost",
            ".localhost",
            "localhost..",
            "localhost.example.",
            ".",
            "[::2]",
            "10.0.0.1",
            "é.localhos",
        ] {
            assert!(!is_loopback(host), "{host}");
        }
    }
}
