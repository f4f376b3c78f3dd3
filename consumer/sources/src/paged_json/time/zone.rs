//! The zone that an upstream's days and clock times are in.

use chrono::{DateTime, NaiveDateTime, NaiveTime, TimeDelta, Utc};
use chrono::{Datelike, Timelike};
use jiff::Timestamp;
use jiff::tz::{AmbiguousOffset, Offset, TimeZone, TimeZoneDatabase};

/// A zone of the IANA database, which is part of this program; UTC without one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::paged_json) struct Zone(Option<TimeZone>);

impl Zone {
    /// Where there is none.
    pub(super) const UTC: &Self = &Self(None);

    /// The zone of this name.
    pub(in crate::paged_json) fn named(name: &str) -> Result<Self, String> {
        let zone = TimeZoneDatabase::bundled().get(name);
        let zone = zone.map_err(|_unknown| {
            format!("{name:?} is not a time zone of the IANA database, such as Europe/Berlin or UTC")
        })?;
        Ok(Self(Some(zone).filter(|zone| *zone != TimeZone::UTC)))
    }

    /// Whether its clock is UTC's.
    pub(in crate::paged_json) const fn is_utc(&self) -> bool {
        self.0.is_none()
    }

    /// What its clock and UTC's differ by at a moment.
    pub(in crate::paged_json) fn offset(&self, moment: DateTime<Utc>) -> TimeDelta {
        let Some(zone) = &self.0 else { return TimeDelta::zero() };
        let offset = Timestamp::from_second(moment.timestamp()).map(|stamp| zone.to_offset(stamp));
        offset.map_or(TimeDelta::zero(), length)
    }

    /// What its clock shows at a moment.
    pub(in crate::paged_json) fn clock(&self, moment: DateTime<Utc>) -> NaiveDateTime {
        let utc = moment.naive_utc();
        utc.checked_add_signed(self.offset(moment)).unwrap_or(utc)
    }

    /// When its clock shows this. When it does so twice, the first time; when never, as much later as the clock was put on.
    pub(in crate::paged_json) fn moment(&self, clock: NaiveDateTime) -> Option<DateTime<Utc>> {
        let offset = match self.offsets(clock) {
            Some(
                AmbiguousOffset::Unambiguous { offset }
                | AmbiguousOffset::Gap { before: offset, .. }
                | AmbiguousOffset::Fold { before: offset, .. },
            ) => length(offset),
            None => TimeDelta::zero(),
        };
        Some(clock.checked_sub_signed(offset)?.and_utc())
    }

    /// For how long its clock shows again what it showed before, if it does so at this moment.
    pub(in crate::paged_json) fn repeats(&self, moment: DateTime<Utc>) -> TimeDelta {
        match self.offsets(self.clock(moment)) {
            Some(AmbiguousOffset::Fold { before, after }) => length(before) - length(after),
            Some(AmbiguousOffset::Unambiguous { .. } | AmbiguousOffset::Gap { .. }) | None => {
                TimeDelta::zero()
            }
        }
    }

    /// The beginning of a moment's day.
    pub(in crate::paged_json) fn midnight(&self, moment: DateTime<Utc>) -> DateTime<Utc> {
        self.moment(self.clock(moment).date().and_time(NaiveTime::MIN)).unwrap_or(moment)
    }

    /// The first beginning of a day that is not before a moment. At the end of the calendar, the moment itself.
    pub(in crate::paged_json) fn midnight_after(&self, moment: DateTime<Utc>) -> DateTime<Utc> {
        if self.midnight(moment) == moment {
            return moment;
        }
        let next = self.clock(moment).date().succ_opt().map(|day| day.and_time(NaiveTime::MIN));
        next.and_then(|next| self.moment(next)).unwrap_or(moment)
    }

    /// The offsets that its clock can have when it shows this; `None` in UTC, and beyond the calendar.
    fn offsets(&self, clock: NaiveDateTime) -> Option<AmbiguousOffset> {
        let zone = self.0.as_ref()?;
        let small = |part: u32| i8::try_from(part).ok();
        let clock = jiff::civil::DateTime::new(
            clock.year().try_into().ok()?,
            small(clock.month())?,
            small(clock.day())?,
            small(clock.hour())?,
            small(clock.minute())?,
            small(clock.second())?,
            0,
        );
        Some(zone.to_ambiguous_timestamp(clock.ok()?).offset())
    }
}

fn length(offset: Offset) -> TimeDelta {
    TimeDelta::seconds(i64::from(offset.seconds()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn shows(text: &str) -> NaiveDateTime {
        text.parse().unwrap()
    }

    #[test]
    fn a_zone_has_its_own_days() {
        let berlin = Zone::named("Europe/Berlin").unwrap();
        assert_eq!(berlin.clock(at("2024-01-01T23:30:00Z")), shows("2024-01-02T00:30:00"));
        assert_eq!(berlin.midnight(at("2024-07-01T23:30:00Z")), at("2024-07-01T22:00:00Z"));
        assert_eq!(berlin.midnight_after(at("2024-07-01T22:00:00Z")), at("2024-07-01T22:00:00Z"));
        assert_eq!(berlin.midnight_after(at("2024-07-01T22:00:01Z")), at("2024-07-02T22:00:00Z"));
        // Beyond what other libraries know.
        assert_eq!(berlin.offset(at("2150-07-01T00:00:00Z")), TimeDelta::hours(2));
        let los_angeles = Zone::named("America/Los_Angeles").unwrap();
        assert_eq!(los_angeles.midnight(at("2024-01-01T03:00:00Z")), at("2023-12-31T08:00:00Z"));
    }

    #[test]
    fn a_clock_that_is_changed_loses_no_moment() {
        let berlin = Zone::named("Europe/Berlin").unwrap();
        // Put back at 01:00 UTC: half past two comes twice.
        assert_eq!(berlin.moment(shows("2024-10-27T02:30:00")), Some(at("2024-10-27T00:30:00Z")));
        for twice in ["2024-10-27T00:30:00Z", "2024-10-27T01:30:00Z"] {
            assert_eq!(berlin.repeats(at(twice)), TimeDelta::hours(1), "{twice}");
        }
        assert_eq!(berlin.repeats(at("2024-10-27T02:00:00Z")), TimeDelta::zero());
        // Put on at 01:00 UTC: half past two never comes.
        assert_eq!(berlin.moment(shows("2024-03-31T02:30:00")), Some(at("2024-03-31T01:30:00Z")));
        // A day without a midnight begins later.
        let cairo = Zone::named("Africa/Cairo").unwrap();
        assert_eq!(cairo.midnight(at("2024-04-26T12:00:00Z")), at("2024-04-25T22:00:00Z"));
        assert_eq!(
            Zone::named("Australia/Lord_Howe").unwrap().repeats(at("2024-04-06T15:10:00Z")),
            TimeDelta::minutes(30)
        );
    }

    #[test]
    fn utc_is_no_zone_and_what_is_none_is_refused() {
        assert_eq!(Zone::named("UTC").unwrap(), Zone::default());
        assert!(Zone::default().is_utc() && !Zone::named("Etc/GMT+8").unwrap().is_utc());
        for unknown in ["", "Europe/Atlantis", "CEST", "+02:00"] {
            assert!(Zone::named(unknown).unwrap_err().contains("IANA"), "{unknown}");
        }
    }

    proptest::proptest! {
        #[test]
        fn every_moment_of_the_calendar_has_a_clock(seconds in -62_167_219_200_i64..253_402_300_800, index in 0_usize..4) {
            let names = ["Asia/Kolkata", "America/St_Johns", "Pacific/Apia", "Europe/London"];
            let zone = Zone::named(names[index]).unwrap();
            let moment = DateTime::from_timestamp(seconds, 0).unwrap();
            let back = zone.moment(zone.clock(moment)).unwrap();
            proptest::prop_assert!(back == moment || back + zone.repeats(moment) == moment, "{} {}", moment, back);
            proptest::prop_assert!(zone.midnight(moment) <= moment && moment <= zone.midnight_after(moment));
        }
    }
}
