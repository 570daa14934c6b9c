//! Where webhooks may go.

use std::net::IpAddr;

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
            let why = "it leads to a private address, which the server's settings do not allow";
            return Err(std::io::Error::new(std::io::ErrorKind::PermissionDenied, why).into());
        }
        Ok(public)
    }
}

/// Whether a webhook may go there, as far as its URL tells.
pub(crate) fn acceptable(url: &str, private: bool) -> Result<(), String> {
    if private {
        return Ok(());
    }
    let uri: http::Uri = url.parse().map_err(|_| format!("`webhook` is no URL: `{url}`"))?;
    let host = uri.host().unwrap_or_default();
    // A dot at a name's end says that it is whole, and changes nothing.
    let bare = host.trim_start_matches('[').trim_end_matches(']').trim_end_matches('.').to_ascii_lowercase();
    let is_private = match bare.parse::<IpAddr>() {
        Ok(address) => !is_public(address),
        Err(_) => bare == "localhost" || bare.ends_with(".localhost"),
    };
    if is_private {
        return Err(format!("`webhook` goes to `{host}`, which is no public address: the server's settings do not allow that"));
    }
    Ok(())
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
        ] {
            let why = acceptable(url, false).unwrap_err();
            assert!(why.contains("is no public address"), "{why}");
            assert_eq!(acceptable(url, true), Ok(()));
        }
        assert_eq!(acceptable("https://example.org/done", false), Ok(()));
    }
}
