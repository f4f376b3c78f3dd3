//! Fuzz tests of the addresses that a name or a URL can lead to, and of an answer's headers. See the crate `fuzz`.

use super::RestRules;
use super::address::{check_literal, is_public};
use super::status::verdict;
use crate::FetchError;
use ::fuzz::proptest::prelude::*;
use ::fuzz::{run, text};
use reqwest::StatusCode;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;
use url::Url;

/// What the standard library knows to be no public address.
fn is_special(address: Ipv4Addr) -> bool {
    address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_broadcast()
        || address.is_documentation()
        || address.is_multicast()
        || address.is_unspecified()
}

fn is_special_v6(address: Ipv6Addr) -> bool {
    address.is_loopback()
        || address.is_multicast()
        || address.is_unspecified()
        || address.is_unique_local()
        || address.is_unicast_link_local()
        || address.to_ipv4().is_some_and(is_special)
}

#[test]
fn addresses() {
    // Special ranges have few bits that count, so high octets are drawn from their edges too.
    let octet =
        prop_oneof![any::<u8>(), prop::sample::select(vec![0, 10, 100, 127, 169, 172, 192, 198, 224])];
    let v4 = (octet, prop_oneof![any::<u8>(), Just(254), Just(168), Just(64), Just(16)], any::<u16>());
    let segment = prop_oneof![
        any::<u16>(),
        prop::sample::select(vec![0, 0x64, 0xff9b, 0xffff, 0xfe80, 0xfc00, 0x2002])
    ];
    let v6 = prop::collection::vec(segment, 8);
    run("addresses", (v4, v6), |((a, b, low), segments)| {
        let [c, d] = low.to_be_bytes();
        let v4 = Ipv4Addr::new(a, b, c, d);
        let public = is_public(IpAddr::V4(v4));
        prop_assert!(!(public && is_special(v4)), "{}", v4);
        // However it is wrapped, an address stays what it is.
        let (high, low) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
        for wrapped in [
            v4.to_ipv6_mapped(),
            v4.to_ipv6_compatible(),
            Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, high, low),
            Ipv6Addr::new(0x2002, high, low, 0, 0, 0, 0, 1),
        ] {
            prop_assert_eq!(is_public(IpAddr::V6(wrapped)), public, "{} in {}", v4, wrapped);
        }
        let segments: [u16; 8] = segments.try_into().unwrap_or_default();
        let v6 = Ipv6Addr::from(segments);
        prop_assert!(!(is_public(IpAddr::V6(v6)) && is_special_v6(v6)), "{}", v6);
        for (url, public) in
            [(format!("http://{v4}/"), public), (format!("http://[{v6}]:8/"), is_public(v6.into()))]
        {
            let url = Url::parse(&url).map_err(|error| TestCaseError::fail(error.to_string()))?;
            prop_assert_eq!(check_literal(&url).is_ok(), public, "{}", url);
        }
        Ok(())
    });
}

#[test]
fn spelled_addresses() {
    let valid =
        ["http://127.0.0.1/", "http://[::ffff:10.0.0.1]:80/x", "http://0x7f.1/", "http://2130706433/"];
    run("spelled addresses", text(&valid), |url| {
        let Some(url) = std::str::from_utf8(&url).ok().and_then(|url| Url::parse(url).ok()) else {
            return Ok(());
        };
        let literal = url.host_str().and_then(|host| host.trim_matches(['[', ']']).parse::<IpAddr>().ok());
        // Of other schemes the standard reads no address; no source takes them.
        if let (Some(literal), "http" | "https") = (literal, url.scheme()) {
            prop_assert_eq!(check_literal(&url).is_ok(), is_public(literal), "{}", url);
        }
        Ok(())
    });
}

#[test]
fn headers_of_refusals() {
    let valid = [
        "7",
        "Wed, 21 Oct 2015 07:28:30 GMT",
        "Fri, 31 Dec 9999 23:59:59 GMT",
        "1.5",
        "1704848400000",
        "limit=100, remaining=0, reset=30",
        "\"day\";r=0;t=30",
    ];
    run("Retry-After", text(&valid), |value| {
        let Ok(value) = HeaderValue::from_bytes(&value) else { return Ok(()) };
        let limit = HeaderName::from_static("ratelimit");
        let headers = HeaderMap::from_iter([(RETRY_AFTER, value.clone()), (limit, value)]);
        match verdict(StatusCode::TOO_MANY_REQUESTS, &headers, &RestRules::DEFAULT, None) {
            FetchError::RateLimited { retry_after, .. } => {
                let within = Duration::from_secs(1)..=RestRules::DEFAULT.longest;
                prop_assert!(retry_after.is_none_or(|after| within.contains(&after)), "{:?}", retry_after);
            }
            other @ (FetchError::Transient { .. }
            | FetchError::NoRoom { .. }
            | FetchError::Permanent { .. }
            | FetchError::Expired { .. }
            | FetchError::Unreadable { .. }) => return Err(TestCaseError::fail(format!("{other:?}"))),
        }
        Ok(())
    });
}
