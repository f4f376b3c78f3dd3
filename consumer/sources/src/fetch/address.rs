//! Which addresses may be connected to.
//!
//! A connection's base URL is written by a tenant, so it must not reach what only this machine or its network can
//! reach. Names are checked after they are resolved, at the moment of connecting, since a name can change its address.
//!
//! What is not public follows IANA's registries of special-purpose addresses for IPv4 and IPv6 (RFC 6890), as of
//! 2024-10-22: whatever they do not call globally reachable, and the few blocks that they do but that lead to no server
//! (ORCHID, DRIP, AS112, AMT and the anycast of protocols, all within 2001::/23).

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tracing::debug;
use url::{Host, Url};

/// A URL whose host is an address that is not public.
#[derive(Debug, thiserror::Error)]
#[error(
    "{host} is not a public address: set allow_private_addresses if upstreams on private networks are to be trusted"
)]
pub(super) struct AddressRefused {
    host: String,
}

/// A name that leads to no public address. Whether it leads to a private one is not said: whoever may write a base URL could
/// list the names of the network that a consumer runs in.
#[derive(Debug, thiserror::Error)]
#[error(
    "the name {host} does not lead to a public address: check how it is spelled, or set allow_private_addresses if upstreams on private networks are to be trusted"
)]
struct NotPublic {
    host: String,
}

/// Resolves names, and leaves out addresses that are not public.
#[derive(Clone, Copy, Debug)]
pub(super) struct Resolver {
    pub(super) allow_private: bool,
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let (allow_private, host) = (self.allow_private, name.as_str().to_owned());
        Box::pin(async move {
            let found: io::Result<Vec<SocketAddr>> =
                tokio::net::lookup_host((host.as_str(), 0)).await.map(Iterator::collect);
            if allow_private {
                return Ok(Box::new(found?.into_iter()) as Addrs);
            }
            if let Err(error) = &found {
                debug!(host, %error, "a name cannot be resolved");
            }
            let mut public = found.unwrap_or_default();
            public.retain(|address| is_public(address.ip()));
            if public.is_empty() {
                return Err(NotPublic { host }.into());
            }
            Ok(Box::new(public.into_iter()) as Addrs)
        })
    }
}

/// Refuses a URL whose host is an address that is not public; such hosts never come to the resolver.
pub(super) fn check_literal(url: &Url) -> Result<(), AddressRefused> {
    let public = match url.host() {
        Some(Host::Ipv4(address)) => is_public(address.into()),
        Some(Host::Ipv6(address)) => is_public(address.into()),
        Some(Host::Domain(_)) | None => true,
    };
    if public { Ok(()) } else { Err(AddressRefused { host: url.host_str().unwrap_or_default().to_owned() }) }
}

pub(super) fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let special = match (a, b) {
        // This network; private; loopback; multicast, reserved and broadcast.
        (0 | 10 | 127 | 224.., _) => true,
        // Shared by carriers (100.64.0.0/10).
        (100, 64..=127) => true,
        // Link-local: clouds serve their machines' secrets there.
        (169, 254) => true,
        (172, 16..=31) | (192, 168) => true,
        // Protocol assignments and documentation.
        (192, 0) => c == 0 || c == 2,
        // The relays of 6to4, which are no more.
        (192, 88) => c == 99,
        (198, 51) => c == 100,
        (203, 0) => c == 113,
        // Benchmarks.
        (198, 18 | 19) => true,
        _ => false,
    };
    !special
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let embedded = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        is_public_v4(Ipv4Addr::new(a, b, c, d))
    };
    match address.segments() {
        // IPv4 in IPv6: mapped, compatible (with :: and ::1 among them), NAT64, 6to4.
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => embedded(high, low),
        [0x2002, high, low, ..] => embedded(high, low),
        // Only 2000::/3 is handed out for the public network. Protocol assignments (2001::/23: Teredo, benchmarks, ORCHID)
        // and documentation (2001:db8::/32, 3fff::/20) lie within it.
        [0x2001, 0..=0x1ff | 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => false,
        [first, ..] => first & 0xe000 == 0x2000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_public_addresses_are_public() {
        for public in [
            "1.1.1.1",
            "172.32.0.1",
            "100.128.0.1",
            "192.88.98.1",
            "2001:200::1",
            "2001:4860:4860::8888",
            "2606:4700::1111",
            "3ffe::1",
            "64:ff9b::101:101",
        ] {
            assert!(is_public(public.parse().unwrap()), "{public}");
        }
        for private in [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "127.0.0.1",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "192.0.0.8",
            "192.0.2.1",
            "192.88.99.1",
            "198.18.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:10.0.0.1",
            "::ffff:169.254.169.254",
            "64:ff9b::7f00:1",
            "64:ff9b:1::1",
            "2002:7f00:1::",
            "2001:0:1::",
            "2001:2::1",
            "2001:10::1",
            "2001:20::1",
            "2001:2f:ffff::1",
            "2001:1ff:ffff::1",
            "2001:db8::1",
            "3fff::1",
            "3fff:fff:ffff::1",
            "5f00::1",
            "100::1",
            "fc00::1",
            "fd12::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(!is_public(private.parse().unwrap()), "{private}");
        }
    }

    #[test]
    fn odd_spellings_of_an_address_are_seen_through() {
        for spelled in ["http://2130706433/", "http://0x7f.1/", "http://[::ffff:7f00:1]:80/", "http://127.1/"]
        {
            assert!(check_literal(&Url::parse(spelled).unwrap()).is_err(), "{spelled}");
        }
        assert!(check_literal(&Url::parse("http://example.org/").unwrap()).is_ok());
    }
}
