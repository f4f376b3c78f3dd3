//! Judges one record: is it in the slice's span, what is its key, can it be imported, can it be stored?

use std::borrow::Cow;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use protocol::payload::Payload;
use protocol::slice::Span;

use super::pointer::{MAX_POINTERS, Pointer};
use super::scan::{Item, scan};
use super::settings::{Records, pointer};
use super::time::{TimeFormat, Zone};
use crate::error::quote;
use crate::{Content, Outside, ParsedRecord, SourceError, Version};

/// Longest key that is stored: it is part of an index.
const MAX_KEY_BYTES: usize = 512;

/// An id has no more parts than this: there are as many pointers as bits, and the time, the sign of deferral and the version
/// have one each.
const MAX_IDS: usize = MAX_POINTERS - 3;

/// Where the known parts of a record are.
#[derive(Debug)]
pub(super) struct RecordShape {
    /// The parts of the id, then the time, the sign of deferral and the version, if they are known.
    pointers: Vec<Pointer>,
    ids: usize,
    time: Option<usize>,
    deferred: Option<usize>,
    version: Option<usize>,
    format: TimeFormat,
    /// The zone of times without an offset.
    zone: Zone,
}

impl RecordShape {
    pub(super) fn new(records: &Records, zone: &Zone) -> Result<Self, SourceError> {
        let ids = records.id.as_slice();
        if ids.is_empty() || ids.len() > MAX_IDS {
            return Err(SourceError::settings(format!("records.id: needs between 1 and {MAX_IDS} pointers")));
        }
        let mut pointers =
            ids.iter().map(|id| pointer("records.id", id)).collect::<Result<Vec<_>, SourceError>>()?;
        let mut add = |setting: &str, text: &Option<String>| -> Result<Option<usize>, SourceError> {
            let Some(text) = text else { return Ok(None) };
            pointers.push(pointer(setting, text)?);
            Ok(Some(pointers.len() - 1))
        };
        let time = add("records.time", &records.time)?;
        let deferred = add("records.deferred_when_null", &records.deferred_when_null)?;
        let version = add("records.version", &records.version)?;
        let (ids, format, zone) = (ids.len(), records.format()?, zone.clone());
        Ok(Self { pointers, ids, time, deferred, version, format, zone })
    }

    /// A record of which this was found.
    pub(super) const fn part<'p, 'de>(&'p self, found: &'p [Option<&'de str>]) -> Parts<'p, 'de> {
        Parts { shape: self, found }
    }

    /// What to look for in a record.
    pub(super) fn pointers(&self) -> &[Pointer] {
        &self.pointers
    }
}

/// Judges the records of one page.
#[derive(Clone, Copy, Debug)]
pub(super) struct Judge<'s, 'de> {
    shape: &'s RecordShape,
    span: Span,
    answer: &'de Arc<String>,
}

impl<'s, 'de> Judge<'s, 'de> {
    pub(super) const fn new(shape: &'s RecordShape, span: Span, answer: &'de Arc<String>) -> Self {
        Self { shape, span, answer }
    }

    /// The record, of which this was found. Or when it lies outside the span: it belongs to another slice, or to none.
    pub(super) fn record(
        &self,
        record: &Item<'de>,
        found: &[Option<&'de str>],
    ) -> Result<ParsedRecord, Outside> {
        let json = record.json;
        let failed = |key: String, time, reason: String| {
            Ok(ParsedRecord { key, time, version: None, content: Content::Failed { reason } })
        };
        if !json.starts_with('{') {
            return failed(String::new(), None, "the record is not an object".to_owned());
        }
        let parts = Parts { shape: self.shape, found };
        // First of all the time, so that a broken record is counted by one slice only.
        let (time, key) = (parts.time(), parts.key());
        if let Ok(Some(time)) = time
            && !self.span.contains(time)
        {
            return Err(Outside { id: key.unwrap_or_default(), time: Some(time) });
        }
        let known_time = time.as_ref().ok().copied().flatten();
        let key = match key {
            Ok(key) => key,
            Err(reason) => return failed(String::new(), known_time, reason),
        };
        if let Err(reason) = time {
            return failed(key, None, reason);
        }
        if self.shape.deferred.is_some_and(|index| parts.part(index).is_none()) {
            return Ok(ParsedRecord { key, time: known_time, version: None, content: Content::Deferred });
        }
        if let Err(reason) = &record.storable {
            return failed(key, known_time, reason.to_string());
        }
        let content = Content::Stored {
            hash: blake3::hash(json.as_bytes()).into(),
            payload: Payload::within(self.answer, json),
        };
        Ok(ParsedRecord { key, time: known_time, version: parts.version(), content })
    }

    /// The same of a record that stands alone in the answer, or of nothing that is JSON.
    pub(super) fn alone(&self, json: &'de str) -> Result<ParsedRecord, Outside> {
        let mut found = [None; MAX_POINTERS];
        let found = found.get_mut(..self.shape.pointers.len()).unwrap_or_default();
        match scan(json, &self.shape.pointers, found) {
            Ok(storable) => self.record(&Item { json, storable }, found),
            Err(error) => {
                let content = Content::Failed { reason: error.explain(json) };
                Ok(ParsedRecord { key: String::new(), time: None, version: None, content })
            }
        }
    }
}

/// What was found of a record.
#[derive(Debug)]
pub(super) struct Parts<'p, 'de> {
    shape: &'p RecordShape,
    found: &'p [Option<&'de str>],
}

impl<'de> Parts<'_, 'de> {
    /// What a pointer found; null is nothing.
    fn part(&self, index: usize) -> Option<&'de str> {
        self.found.get(index).copied().flatten().filter(|part| *part != "null")
    }

    /// Its time, as it is written.
    pub(super) fn written_time(&self) -> Option<&'de str> {
        self.part(self.shape.time?)
    }

    pub(super) fn time(&self) -> Result<Option<DateTime<Utc>>, String> {
        let Some(index) = self.shape.time else { return Ok(None) };
        let json =
            self.part(index).ok_or_else(|| format!("the record has no time at {:?}", self.name(index)))?;
        self.shape.format.read(json, &self.shape.zone).map(Some).ok_or_else(|| {
            format!(
                "{} at {:?} cannot be read as a time; records.time_format says how times are written",
                quote(json),
                self.name(index)
            )
        })
    }

    /// What cannot be read is no version: then the time of the fetch decides.
    fn version(&self) -> Option<Version> {
        let json = self.part(self.shape.version?)?;
        let written = text(json);
        let written = written.as_deref().or_else(|| number(json))?.trim();
        let whole = written.split_once('.').map_or(written, |(whole, _)| whole);
        if let Ok(number) = whole.parse() {
            return Some(number);
        }
        let time = self.shape.format.read(json, &self.shape.zone);
        let time = time.or_else(|| TimeFormat::Rfc3339.read(json, &self.shape.zone));
        time.map(|time| time.timestamp_micros())
    }

    pub(super) fn key(&self) -> Result<String, String> {
        let mut key = String::new();
        for index in 0..self.shape.ids {
            let json =
                self.part(index).ok_or_else(|| format!("the record has no id at {:?}", self.name(index)))?;
            let part = text(json)
                .or_else(|| number(json).map(Cow::Borrowed))
                .filter(|part| !part.is_empty() && !part.contains('\0'))
                .ok_or_else(|| format!("{} at {:?} cannot be an id", quote(json), self.name(index)))?;
            if index > 0 {
                key.push('|');
            }
            if self.shape.ids > 1 {
                // Else two records could have the same key by chance.
                key.push_str(&part.replace('\\', "\\\\").replace('|', "\\|"));
            } else {
                key.push_str(&part);
            }
        }
        if key.len() > MAX_KEY_BYTES {
            return Err(format!("the id {} is longer than {MAX_KEY_BYTES} bytes", quote(&key)));
        }
        Ok(key)
    }

    /// A pointer, as a reason shows it.
    fn name(&self, index: usize) -> String {
        self.shape.pointers.get(index).map(|pointer| quote(&pointer.to_string())).unwrap_or_default()
    }
}

/// The text that a JSON string stands for.
pub(super) fn text(json: &str) -> Option<Cow<'_, str>> {
    let inner = json.strip_prefix('"')?.strip_suffix('"')?;
    if inner.contains('\\') {
        // A lone surrogate stands for no text.
        return serde_json::from_str(json).ok().map(Cow::Owned);
    }
    Some(Cow::Borrowed(inner))
}

/// A JSON number, as it is written.
pub(super) fn number(json: &str) -> Option<&str> {
    json.starts_with(|first: char| first == '-' || first.is_ascii_digit()).then_some(json)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::paged_json::OneOrMany;

    fn judged(records: &Records, json: &str) -> Option<ParsedRecord> {
        let span = Span {
            from: Some("2026-01-01T00:00:00Z".parse().unwrap()),
            to: "2026-01-02T00:00:00Z".parse().unwrap(),
        };
        let answer = Arc::new(json.to_owned());
        Judge::new(&RecordShape::new(records, &Zone::default()).unwrap(), span, &answer).alone(&answer).ok()
    }

    fn calls() -> Records {
        let records = serde_json::json!({
            "pointer": "/results", "id": "/callId", "time": "/created", "deferred_when_null": "/ended",
        });
        serde_json::from_value(records).unwrap()
    }

    fn reason(json: &str) -> (String, String) {
        match judged(&calls(), json) {
            Some(ParsedRecord { key, content: Content::Failed { reason }, .. }) => (key, reason),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_record_is_kept_verbatim() {
        let json = r#"{ "callId":"a", "created" : "2026-01-01T00:00:00.000001Z","ended":"x", "n": 1.50,
            "medium":{"new-enum":"NEVER_HEARD_OF"}, "é": "\u00e9" }"#;
        let record = judged(&calls(), json).unwrap();
        assert_eq!(record.key, "a");
        assert_eq!(record.time, Some("2026-01-01T00:00:00.000001Z".parse().unwrap()));
        let hash = blake3::hash(json.as_bytes()).into();
        assert_eq!(record.content, Content::Stored { hash, payload: json.into() });
    }

    #[test]
    fn the_span_is_half_open() {
        let kept = |created: &str| {
            judged(&calls(), &format!(r#"{{"callId":"a","created":"{created}","ended":"x"}}"#)).is_some()
        };
        assert!(kept("2026-01-01T00:00:00Z"));
        assert!(kept("2026-01-02T00:59:59.999999+01:00"));
        assert!(!kept("2026-01-02T00:00:00Z"));
        assert!(!kept("2025-12-31T23:59:59.999999Z"));
    }

    #[test]
    fn a_record_that_has_not_ended_is_deferred() {
        for json in [
            r#"{"callId":"a","created":"2026-01-01T01:00:00Z","ended":null}"#,
            r#"{"callId":"a","created":"2026-01-01T01:00:00Z"}"#,
        ] {
            assert_eq!(judged(&calls(), json).unwrap().content, Content::Deferred);
        }
    }

    #[test]
    fn what_is_wrong_with_a_record_is_said() {
        let rest = r#""created":"2026-01-01T01:00:00Z","ended":"x"}"#;
        for (json, key, words) in [
            ("7".to_owned(), "", "not an object"),
            (format!("{{{rest}"), "", "no id at \"/callId\""),
            (format!(r#"{{"callId":null,{rest}"#), "", "no id"),
            (format!(r#"{{"callId":"",{rest}"#), "", "cannot be an id"),
            (format!(r#"{{"callId":["a"],{rest}"#), "", "cannot be an id"),
            (format!(r#"{{"callId":"a\u0000",{rest}"#), "", "cannot be an id"),
            (format!(r#"{{"callId":"{}",{rest}"#, "x".repeat(513)), "", "longer than 512"),
            (format!(r#"{{"callId":"a","\ud800":1,{rest}"#), "a", "half of a surrogate"),
            (format!(r#"{{"callId":"a","note":"\u0000",{rest}"#), "a", "NUL"),
            (r#"{"callId":"a","ended":"x"}"#.to_owned(), "a", "no time at \"/created\""),
            (r#"{"callId":"a","created":"yesterday","ended":"x"}"#.to_owned(), "a", "as a time"),
            (r#"{"callId":"a","created":12,"ended":"x"}"#.to_owned(), "a", "as a time"),
        ] {
            let (found, reason) = reason(&json);
            assert_eq!(found, key, "{json}");
            assert!(reason.contains(words), "{json}: {reason}");
        }
    }

    #[test]
    fn a_long_pointer_is_cut_in_a_reason() {
        let long = format!("/{}", "a".repeat(2000));
        for records in [
            Records { id: OneOrMany::One(long.clone()), ..calls() },
            Records { time: Some(long.clone()), ..calls() },
        ] {
            let found = judged(&records, r#"{"callId":"a","ended":"x"}"#).unwrap().content;
            let Content::Failed { reason } = found else { panic!("{found:?}") };
            assert!(reason.chars().count() < 200, "{reason}");
        }
    }

    #[test]
    fn an_id_has_a_length_and_so_many_parts() {
        let rest = r#""created":"2026-01-01T01:00:00Z","ended":"x"}"#;
        let long =
            judged(&calls(), &format!(r#"{{"callId":"{}",{rest}"#, "x".repeat(MAX_KEY_BYTES))).unwrap();
        assert_eq!(long.key.len(), MAX_KEY_BYTES);
        let parts = |count: usize| {
            let id = OneOrMany::Many((0..count).map(|part| format!("/{part}")).collect());
            RecordShape::new(&Records { id, ..calls() }, &Zone::default())
        };
        assert!(parts(1).is_ok() && parts(MAX_IDS).is_ok());
        assert!(parts(0).is_err() && parts(MAX_IDS + 1).is_err());
        let deep = |levels: usize| Pointer::parse(&"/a".repeat(levels));
        assert!(deep(16).is_ok());
        assert!(deep(17).unwrap_err().contains("deeper than 16 levels"));
    }

    #[test]
    fn a_version_is_a_number_or_a_time_and_may_be_missing() {
        let records = Records { version: Some("/v".to_owned()), ..calls() };
        let version = |json: &str| {
            let json = format!(r#"{{"callId":"a","created":"2026-01-01T01:00:00Z","ended":"x","v":{json}}}"#);
            judged(&records, &json).unwrap().version
        };
        for (json, number) in [
            ("7", Some(7)),
            (r#""7""#, Some(7)),
            ("-7.9", Some(-7)),
            ("9007199254740993", Some(9_007_199_254_740_993)),
            (r#""2024-01-10T00:00:00.000001Z""#, Some(1_704_844_800_000_001)),
            ("null", None),
            ("99999999999999999999", None),
            (r#""v7""#, None),
            ("{}", None),
        ] {
            assert_eq!(version(json), number, "{json}");
        }
        assert_eq!(
            judged(&calls(), r#"{"callId":"a","created":"2026-01-01T01:00:00Z","ended":"x","v":7}"#)
                .unwrap()
                .version,
            None
        );
    }

    #[test]
    fn a_time_is_read_by_its_format_and_zone() {
        let time = |format: &str, zone: &str, json: &str| {
            let records = Records { time_format: Some(format.to_owned()), ..calls() };
            let json = format!(r#"{{"callId":"a","created":{json},"ended":"x"}}"#);
            let answer = Arc::new(json);
            let shape = RecordShape::new(&records, &Zone::named(zone).unwrap()).unwrap();
            let span = Span { from: None, to: DateTime::<Utc>::MAX_UTC };
            Judge::new(&shape, span, &answer).alone(&answer).unwrap().time
        };
        let midnight = Some("2024-01-10T00:00:00Z".parse().unwrap());
        for (format, zone, json) in [
            ("unix", "UTC", "1704844800"),
            ("unix_ms", "UTC", r#""1704844800000""#),
            ("rfc2822", "UTC", r#""Wed, 10 Jan 2024 01:00:00 +0100""#),
            ("%d/%m/%Y %H:%M", "UTC", r#""10/01/2024 00:00""#),
            ("%d/%m/%Y %H:%M", "Asia/Tokyo", r#""10/01/2024 09:00""#),
            ("%Y%m%d", "UTC", "20240110"),
        ] {
            assert_eq!(time(format, zone, json), midnight, "{format} {json}");
        }
        assert_eq!(time("unix", "UTC", r#""2024-01-10""#), None);
    }

    #[test]
    fn a_broken_record_of_another_slice_is_dropped() {
        assert_eq!(judged(&calls(), r#"{"created":"2026-01-05T00:00:00Z","x":"\u0000"}"#), None);
    }

    #[test]
    fn keys_of_several_parts_do_not_collide() {
        let key = |a: &str, b: &str| {
            let records = serde_json::json!({"pointer": "", "id": ["/a", "/b"]});
            let records: Records = serde_json::from_value(records).unwrap();
            judged(&records, &format!(r#"{{"a":{a},"b":{b}}}"#)).unwrap().key
        };
        assert_eq!(key("12", r#""UA""#), "12|UA");
        assert_ne!(key(r#""x|y""#, r#""z""#), key(r#""x""#, r#""y|z""#));
        assert_ne!(key(r#""x\\""#, r#""y""#), key(r#""x""#, r#""\\|y""#));
    }
}
