//! Where webhooks may go.

use std::net::{IpAddr, Ipv4Addr};

use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;

/// Looks names up, and leaves out what is private. What it gives is what is connected to: nothing is looked up a second time.
#[derive(Debug, Default)]
pub(super) struct PublicAlone(DefaultResolver);

impl Resolver for PublicAlone {
    fn resolve(&self, uri: &Uri, config: &Config, timeout: NextTimeout) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let found = self.0.resolve(uri, config, timeout)?;
        let mut public = self.empty();
        for address in found.iter().filter(|address| is_public(address.ip())) {
            public.push(*address);
        }
        if public.is_empty() {
            return Err(std::io::Error::other(Private).into());
        }
        Ok(public)
    }
}

/// Why something is not sent, and never will be.
#[derive(Debug, thiserror::Error)]
#[error("it leads to a private address, which the server's settings do not allow")]
pub(super) struct Private;

/// Whether a webhook may go there, as far as its URL tells.
pub(crate) fn acceptable(url: &str, private: bool) -> Result<(), String> {
    let uri: http::Uri = url.parse().map_err(|_| format!("`webhook` is no URL: `{url}`"))?;
    let host = uri.host().unwrap_or_default();
    check_port(&uri)?;
    // A dot at a name's end says that it is whole, and changes nothing.
    let bare = host.trim_start_matches('[').trim_end_matches(']').trim_end_matches('.').to_ascii_lowercase();
    let address = match bare.parse::<IpAddr>() {
        Ok(address) => Some(address),
        Err(_) => numeric(&bare)
            .transpose()
            .map_err(|NoAddress| format!("`webhook` goes to `{host}`, which ends in a number and is no IPv4 address"))?,
    };
    let is_private = match address {
        Some(address) => !is_public(address),
        None => bare == "localhost" || bare.ends_with(".localhost"),
    };
    if is_private && !private {
        return Err(format!("`webhook` goes to `{host}`, which is no public address: the server's settings do not allow that"));
    }
    Ok(())
}

/// A URI may have a port that no connection has.
fn check_port(uri: &http::Uri) -> Result<(), String> {
    let authority = uri.authority().map_or("", http::uri::Authority::as_str);
    let place = authority.rsplit('@').next().unwrap_or_default();
    let port = place.strip_prefix(uri.host().unwrap_or_default()).and_then(|rest| rest.strip_prefix(':')).unwrap_or_default();
    if port.is_empty() || port.parse::<u16>().is_ok_and(|port| port > 0) {
        return Ok(());
    }
    Err(format!("`webhook` has the port `{port}`, and ports are from 1 to 65535"))
}

/// The host ends in a number, and no address is written so.
#[derive(Debug, PartialEq, Eq)]
struct NoAddress;

/// The IPv4 address that a host stands for that ends in a number, as <https://url.spec.whatwg.org/#concept-ipv4-parser> has it and systems'
/// resolvers do: `127.1`, `0x7f000001`. `None` where it ends in none.
fn numeric(host: &str) -> Option<Result<IpAddr, NoAddress>> {
    let parts: Vec<&str> = host.split('.').collect();
    let last = *parts.last()?;
    let is_numeric = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if !is_numeric(last) && number(last).is_none() {
        return None;
    }
    let address = || {
        let numbers = parts.iter().map(|part| number(part)).collect::<Option<Vec<u64>>>()?;
        let (last, first) = numbers.split_last()?;
        let left = 4_usize.checked_sub(first.len()).filter(|left| *left > 0)?;
        if first.iter().any(|number| *number > 255) || *last >= 1 << (8 * left) {
            return None;
        }
        let high = first.iter().zip([24, 16, 8]).map(|(number, shift)| number << shift).sum::<u64>();
        Some(Ipv4Addr::from(u32::try_from(high + last).ok()?).into())
    };
    Some(address().ok_or(NoAddress))
}

/// A part of such an address: hexadecimal after `0x`, octal after `0`, else decimal.
fn number(part: &str) -> Option<u64> {
    let (digits, radix) = match part.strip_prefix("0x").or_else(|| part.strip_prefix("0X")) {
        Some("") => return Some(0),
        Some(digits) => (digits, 16),
        None if part.len() > 1 && part.starts_with('0') => (&part[1..], 8),
        None => (part, 10),
    };
    if digits.starts_with('+') { None } else { u64::from_str_radix(digits, radix).ok() }
}

/// Whether an address is one of the open network.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            let [a, b, c, _] = address.octets();
            !(address.is_private()
                || address.is_loopback()
                || address.is_link_local()
                || address.is_broadcast()
                || address.is_documentation()
                || address.is_multicast()
                || a == 0
                || a >= 240
                || a == 100 && (64..128).contains(&b)
                || a == 192 && b == 0 && c == 0
                || a == 198 && (18..20).contains(&b))
        }
        IpAddr::V6(address) => {
            if let Some(inner) = address.to_ipv4_mapped() {
                return is_public(inner.into());
            }
            let first = address.segments()[0];
            // Of all others little is in use: only what is given out counts as public, without what carries IPv4 in it.
            (0x2000..0x4000).contains(&first)
                && !(first == 0x2001 && address.segments()[1] < 0x200)
                && !(first == 0x2001 && address.segments()[1] == 0xDB8)
                && first != 0x2002
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_addresses_are_told_from_public_ones() {
        for (address, expected) in [
            ("127.0.0.1", false),
            ("10.1.2.3", false),
            ("172.31.0.1", false),
            ("172.32.0.1", true),
            ("192.168.0.1", false),
            ("169.254.169.254", false),
            ("100.64.0.1", false),
            ("100.128.0.1", true),
            ("0.0.0.0", false),
            ("224.0.0.1", false),
            ("255.255.255.255", false),
            ("8.8.8.8", true),
            ("::1", false),
            ("::", false),
            ("::ffff:127.0.0.1", false),
            ("::ffff:8.8.8.8", true),
            ("fe80::1", false),
            ("fd00::1", false),
            ("2002:7f00:1::", false),
            ("2001:db8::1", false),
            ("2001:0:1::1", false),
            ("2606:4700::1111", true),
        ] {
            assert_eq!(is_public(address.parse().unwrap()), expected, "{address}");
        }
    }

    #[test]
    fn an_url_of_a_private_address_is_refused_unless_allowed() {
        for url in [
            "http://127.0.0.1:8000/x",
            "https://[::1]/",
            "http://LOCALHOST/x",
            "http://a.localhost:1/",
            "http://localhost./",
            "http://127.0.0.1./",
            "http://169.254.169.254/latest",
            "http://user@10.0.0.1/",
            "http://2130706433/",
            "http://0x7f.1/",
            "http://127.1/",
            "http://0177.0.0.1:80/",
            "http://0/",
            "http://u:p@0XA9FEA9FE./",
        ] {
            let why = acceptable(url, false).unwrap_err();
            assert!(why.contains("is no public address"), "{why}");
            assert_eq!(acceptable(url, true), Ok(()));
        }
        for url in
            ["https://example.org/done", "https://8.8.8.8:65535/", "http://a1.example.org:/", "http://134744072/", "http://1e100.net/"]
        {
            assert_eq!(acceptable(url, false), Ok(()), "{url}");
        }
    }

    #[test]
    fn what_no_connection_could_be_made_to_is_refused() {
        for (url, expected) in [
            ("http://u:p@127.0.0.1:99999/", "`webhook` has the port `99999`, and ports are from 1 to 65535"),
            ("http://example.org:0/", "`webhook` has the port `0`, and ports are from 1 to 65535"),
            ("http://[2606:4700::1111]:70000/", "`webhook` has the port `70000`, and ports are from 1 to 65535"),
            ("http://1.2.3.4.5/", "`webhook` goes to `1.2.3.4.5`, which ends in a number and is no IPv4 address"),
            ("http://256.1.1.1/", "`webhook` goes to `256.1.1.1`, which ends in a number and is no IPv4 address"),
            ("http://4294967296/", "`webhook` goes to `4294967296`, which ends in a number and is no IPv4 address"),
            ("http://a.08/", "`webhook` goes to `a.08`, which ends in a number and is no IPv4 address"),
            ("http://a.0x/", "`webhook` goes to `a.0x`, which ends in a number and is no IPv4 address"),
        ] {
            for private in [false, true] {
                assert_eq!(acceptable(url, private), Err(expected.to_owned()), "{url}");
            }
        }
    }

    #[test]
    fn a_host_that_ends_in_a_number_is_read_as_urls_are() {
        for (host, expected) in [
            ("127.0.0.1", Some("127.0.0.1")),
            ("127.1", Some("127.0.0.1")),
            ("1.2.259", Some("1.2.1.3")),
            ("0x7f000001", Some("127.0.0.1")),
            ("017700000001", Some("127.0.0.1")),
            ("0x", Some("0.0.0.0")),
            ("4294967295", Some("255.255.255.255")),
            ("example.org", None),
            ("0xg", None),
            ("1.2.3.4.example", None),
        ] {
            assert_eq!(numeric(host), expected.map(|address| Ok(address.parse().unwrap())), "{host}");
        }
    }
}
