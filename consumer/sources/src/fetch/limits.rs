//! How an upstream asks to be left alone, and for how long.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use reqwest::header::{DATE, HeaderMap, HeaderName, RETRY_AFTER};

/// A request to be left alone is for no less than this.
const LEAST: Duration = Duration::from_secs(1);
/// A number from here on is a moment and not a length: 2001 in seconds since 1970, and then in milliseconds.
const MOMENT: f64 = 1e9;
const MOMENT_IN_MILLIS: f64 = 1e11;

/// Where upstreams say when their limit is reset, the plainest first.
const RESETS: [HeaderName; 3] = [
    HeaderName::from_static("ratelimit-reset"),
    HeaderName::from_static("x-ratelimit-reset"),
    HeaderName::from_static("x-rate-limit-reset"),
];
/// Where they say how much of it is left.
const REMAINING: [HeaderName; 3] = [
    HeaderName::from_static("ratelimit-remaining"),
    HeaderName::from_static("x-ratelimit-remaining"),
    HeaderName::from_static("x-rate-limit-remaining"),
];
/// Both in one: `limit=100, remaining=0, reset=30`, or `"day";r=0;t=30`.
const COMBINED: HeaderName = HeaderName::from_static("ratelimit");

/// How an upstream asks to be left alone, beside what the standards say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestRules {
    /// It is not left alone for longer than this at a time.
    pub longest: Duration,
    /// The header that says when the limit is reset: seconds, a moment, or a date.
    pub reset: Option<HeaderName>,
    /// The header that says how much of the limit is left.
    pub remaining: Option<HeaderName>,
}

impl RestRules {
    /// What holds without settings: a day, since some limits are daily.
    pub const DEFAULT: Self = Self { longest: Duration::from_secs(24 * 3600), reset: None, remaining: None };

    /// How long the upstream wants to be left alone; `None` if it does not say so readably.
    pub(super) fn rest(&self, headers: &HeaderMap) -> Option<Duration> {
        let said = self.named(headers).or_else(|| first(headers, &[RETRY_AFTER])).or_else(|| reset(headers));
        Some(said?.clamp(LEAST, self.longest.max(LEAST)))
    }

    /// Whether the limit is used up, and will be reset in the future.
    pub(super) fn is_used_up(&self, headers: &HeaderMap) -> bool {
        let named = self.remaining.as_ref().map(|name| text(headers, name));
        let plain = || REMAINING.iter().find_map(|name| text(headers, name));
        let left = named.unwrap_or_else(plain).or_else(|| combined(headers, &["r", "remaining"]));
        let left = left.and_then(|left| left.split([',', ';']).next()?.trim().parse::<f64>().ok());
        let reset = self.named(headers).or_else(|| reset(headers));
        left.is_some_and(|left| left <= 0.0) && reset.is_some_and(|reset| reset > Duration::ZERO)
    }

    /// How much is left of the limit, by the headers that are known without settings.
    pub(crate) fn remaining_of(headers: &HeaderMap) -> Option<f64> {
        let left = REMAINING.iter().find_map(|name| text(headers, name));
        let left = left.or_else(|| combined(headers, &["r", "remaining"]))?;
        left.split([',', ';']).next()?.trim().parse().ok()
    }

    /// Whether this header is known without settings.
    pub(crate) fn knows(name: &str) -> bool {
        let all = [COMBINED, RETRY_AFTER];
        RESETS.iter().chain(&REMAINING).chain(&all).any(|known| known == name)
    }

    fn named(&self, headers: &HeaderMap) -> Option<Duration> {
        first(headers, std::slice::from_ref(self.reset.as_ref()?))
    }
}

impl Default for RestRules {
    fn default() -> Self {
        Self::DEFAULT
    }
}

fn reset(headers: &HeaderMap) -> Option<Duration> {
    first(headers, &RESETS).or_else(|| until(&combined(headers, &["t", "reset"])?, headers))
}

fn first(headers: &HeaderMap, names: &[HeaderName]) -> Option<Duration> {
    names.iter().find_map(|name| until(&text(headers, name)?, headers))
}

fn text(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    Some(headers.get(name)?.to_str().ok()?.trim().to_owned())
}

/// A member of the combined header.
fn combined(headers: &HeaderMap, names: &[&str]) -> Option<String> {
    let value = text(headers, &COMBINED)?;
    let mut members = value.split([',', ';']).filter_map(|member| member.split_once('='));
    members.find(|(name, _)| names.contains(&name.trim())).map(|(_, value)| value.trim().to_owned())
}

/// How long it is until then: a number of seconds, a moment since 1970, or a date. `None` for anything else.
fn until(value: &str, headers: &HeaderMap) -> Option<Duration> {
    // The upstream's own clock, if it tells: ours may differ.
    let now = || {
        let date = text(headers, &DATE).and_then(|date| httpdate::parse_http_date(&date).ok());
        date.unwrap_or_else(SystemTime::now)
    };
    // What follows the number is about the policy.
    let number = value.split([',', ';']).next().unwrap_or_default().trim();
    let is_number = number.starts_with(|first: char| first.is_ascii_digit())
        && number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    if !is_number {
        let moment = httpdate::parse_http_date(value).ok().or_else(|| {
            chrono::DateTime::parse_from_rfc3339(value).ok().map(|moment| SystemTime::from(moment.to_utc()))
        });
        return Some(moment?.duration_since(now()).unwrap_or_default());
    }
    // More digits than a number can hold are a very long time.
    let number: f64 = number.parse().ok()?;
    let seconds = if number >= MOMENT_IN_MILLIS { number / 1000.0 } else { number };
    let length = if seconds >= MOMENT {
        let now = now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        (seconds - now).max(0.0)
    } else {
        seconds
    };
    // A part of a second is waited for whole: to come back too early is to be refused again.
    Some(Duration::try_from_secs_f64(length.ceil()).unwrap_or(Duration::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A Tuesday, 1704844800 seconds after 1970 began.
    const NOW: (&str, &str) = ("date", "Wed, 10 Jan 2024 00:00:00 GMT");

    fn headers(of: &[(&'static str, &str)]) -> HeaderMap {
        of.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap())).collect()
    }

    fn rest(of: &[(&'static str, &str)]) -> Option<u64> {
        RestRules::DEFAULT.rest(&headers(of)).map(|rest| rest.as_secs())
    }

    #[test]
    fn retry_after_is_read_in_every_form() {
        for (value, seconds) in [
            ("7", Some(7)),
            ("0", Some(1)),
            ("0.3", Some(1)),
            ("1.5", Some(2)),
            ("7200", Some(7200)),
            ("99999999999999999999999999", Some(86400)),
            ("-5", None),
            ("soon", None),
            ("", None),
            ("Wed, 10 Jan 2024 00:00:30 GMT", Some(30)),
            ("Wed, 10 Jan 2024 06:00:00 GMT", Some(21600)),
            ("Tue, 09 Jan 2024 00:00:00 GMT", Some(1)),
            ("Fri, 31 Dec 9999 23:59:59 GMT", Some(86400)),
            ("2024-01-10T00:01:00Z", Some(60)),
            ("1704844860", Some(60)),
        ] {
            assert_eq!(rest(&[("retry-after", value), NOW]), seconds, "{value:?}");
        }
        assert_eq!(rest(&[]), None);
        // Long ago by this machine's clock.
        assert_eq!(rest(&[("retry-after", "Wed, 21 Oct 2015 07:28:30 GMT")]), Some(1));
    }

    #[test]
    fn resets_are_lengths_or_moments() {
        for (name, value, seconds) in [
            ("ratelimit-reset", "30", 30),
            ("x-ratelimit-reset", "1704848400", 3600),
            ("x-ratelimit-reset", "1704848400000", 3600),
            ("x-rate-limit-reset", "1704844801", 1),
            ("x-ratelimit-reset", "1704844000", 1),
            ("ratelimit", "limit=100, remaining=0, reset=30", 30),
            ("ratelimit", "\"day\";r=0;t=30", 30),
            ("ratelimit-reset", "30, 60;w=60", 30),
        ] {
            assert_eq!(rest(&[(name, value), NOW]), Some(seconds), "{name}: {value}");
        }
        assert_eq!(rest(&[("retry-after", "5"), ("x-ratelimit-reset", "1704848400"), NOW]), Some(5));
        assert_eq!(rest(&[("retry-after", "later"), ("ratelimit-reset", "9"), NOW]), Some(9));
    }

    #[test]
    fn a_header_of_the_settings_counts_before_the_others_and_rest_has_a_limit() {
        let rules = RestRules {
            longest: Duration::from_secs(100),
            reset: Some("x-quota-reset".parse().unwrap()),
            remaining: Some("x-quota-left".parse().unwrap()),
        };
        let rest = |of: &[(&'static str, &str)]| rules.rest(&headers(of)).map(|rest| rest.as_secs());
        assert_eq!(rest(&[("x-quota-reset", "20"), ("retry-after", "7")]), Some(20));
        assert_eq!(rest(&[("retry-after", "7")]), Some(7));
        assert_eq!(rest(&[("x-quota-reset", "2000")]), Some(100));
        let used_up = |left: &'static str| {
            rules.is_used_up(&headers(&[("x-quota-left", left), ("x-quota-reset", "5")]))
        };
        assert!(used_up("0") && !used_up("1"));
    }

    #[test]
    fn a_limit_is_used_up_when_nothing_is_left_until_the_future() {
        let used_up = |of: &[(&'static str, &str)]| RestRules::DEFAULT.is_used_up(&headers(of));
        assert!(used_up(&[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "1704848400"), NOW]));
        assert!(used_up(&[("ratelimit-remaining", "0"), ("ratelimit-reset", "9")]));
        assert!(used_up(&[("ratelimit", "\"day\";r=0;t=30")]));
        assert!(!used_up(&[("x-ratelimit-remaining", "3"), ("x-ratelimit-reset", "1704848400"), NOW]));
        assert!(!used_up(&[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "1704844000"), NOW]));
        assert!(!used_up(&[("x-ratelimit-remaining", "0")]));
        assert!(!used_up(&[("x-ratelimit-remaining", "none"), ("x-ratelimit-reset", "9")]));
    }
}
