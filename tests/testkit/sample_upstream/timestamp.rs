//! Times as the upstream writes them.

/// `2025-01-31T23:59:59.000001Z`. By hand, because it is most of the cost of a page otherwise.
pub(super) fn timestamp(out: &mut String, us: i64) {
    let (day, in_day) = (us.div_euclid(86_400_000_000), us.rem_euclid(86_400_000_000));
    // Days since 0000-03-01, in eras of 400 years: the civil-from-days algorithm.
    let shifted = day + 719_468;
    let (era, of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    for (value, width, end) in [
        (year, 4, '-'),
        (month, 2, '-'),
        (of_year - (153 * shifted_month + 2) / 5 + 1, 2, 'T'),
        (in_day / 3_600_000_000, 2, ':'),
        (in_day / 60_000_000 % 60, 2, ':'),
        (in_day / 1_000_000 % 60, 2, '.'),
        (in_day % 1_000_000, 6, 'Z'),
    ] {
        digits(out, value, width);
        out.push(end);
    }
}

fn digits(out: &mut String, value: i64, width: u32) {
    for place in (0..width).rev() {
        let digit = u8::try_from(value / 10_i64.pow(place) % 10).unwrap_or(0);
        out.push(char::from(b'0' + digit));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::{DateTime, SecondsFormat};

    #[test]
    fn timestamps_are_those_of_chrono() {
        for us in [
            0,
            1,
            951_782_400_000_000,
            1_735_689_599_999_999,
            1_709_164_800_000_001,
            -1,
            4_102_444_800_000_000,
        ] {
            let mut ours = String::new();
            timestamp(&mut ours, us);
            let theirs = DateTime::from_timestamp_micros(us).unwrap();
            assert_eq!(ours, theirs.to_rfc3339_opts(SecondsFormat::Micros, true));
        }
    }
}
