//! Numbers in words.

use std::time::Duration;

/// `12345` as `12,345`.
#[must_use]
pub fn thousands(value: i64) -> String {
    let digits = value.unsigned_abs().to_string();
    let mut text = String::from(if value < 0 { "-" } else { "" });
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `12.3 ms`, without a fraction from 100 ms on.
#[must_use]
pub fn milliseconds(duration: Duration) -> String {
    let ms = duration.as_secs_f64() * 1000.0;
    if ms < 100.0 { format!("{ms:.1} ms") } else { format!("{} ms", thousands(whole(ms))) }
}

/// So many per second, without a fraction from 100 on.
pub(super) fn rate(count: i64, seconds: f64) -> String {
    if seconds <= 0.0 {
        return String::new();
    }
    let rate = f64::from(u32::try_from(count).unwrap_or(u32::MAX)) / seconds;
    if rate < 100.0 { format!("{rate:.1}") } else { thousands(whole(rate)) }
}

/// The nearest whole number.
pub(super) fn whole(value: f64) -> i64 {
    Duration::try_from_secs_f64(value.round())
        .ok()
        .and_then(|seconds| i64::try_from(seconds.as_secs()).ok())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_easy_to_read() {
        assert_eq!(
            (thousands(336_776), thousands(-1000), thousands(999)),
            ("336,776".into(), "-1,000".into(), "999".into())
        );
        assert_eq!(milliseconds(Duration::from_micros(9_740)), "9.7 ms");
        assert_eq!(milliseconds(Duration::from_micros(1_234_567)), "1,235 ms");
        assert_eq!(
            (rate(90, 2.0), rate(9000, 2.0), rate(1, 0.0)),
            ("45.0".into(), "4,500".into(), String::new())
        );
    }
}
