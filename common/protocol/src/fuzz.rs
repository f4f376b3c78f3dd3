//! Fuzz tests of what comes with messages: commands, doorbells and markers. See the crate `fuzz`.

use crate::command::{
    CancelCommand, Command, MAX_TEXT_CHARS, StartCommand, UnknownName, decode, decode_exactly, warning,
};
use crate::contract::{AbortMessage, MarkerMessage};
use crate::short::MAX_SENTENCE_CHARS;
use crate::slice::{Ring, Slicing, Span};
use ::fuzz::proptest::prelude::*;
use ::fuzz::{document, run};
use chrono::{Datelike, Utc};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Debug;

const STARTS: &[&str] = &[
    r#"{"connection_id": "018f0000-0000-7000-8000-000000000001"}"#,
    r#"{"connection_id":"018f0000-0000-7000-8000-000000000001","job_id":"018f0000-0000-7000-8000-000000000002",
        "command_id":"crm-1","date_from":"2025-01-01T00:00:00Z","date_to":"2026-01-01T00:00:00+01:00","mode":"range",
        "name":"Größe","on_conflict":"supersede","requested_by":"crm","colour":{"deep":[1,2,{"x":null}]}}"#,
    r#"{"connection_id":"018f0000-0000-7000-8000-000000000001","from":"2025-01-01","date_fron":null}"#,
    r#"{"connection_id":"018f0000-0000-7000-8000-000000000001","mode":"incremental","on_conflict":"use_existing",
        "schema_id":null,"document_ids":null}"#,
];

const CANCELS: &[&str] = &[
    r#"{"job_id": "018f0000-0000-7000-8000-000000000001", "reason": "wrong account", "requested_by": "ann"}"#,
    r#"{"connection_id":"018f0000-0000-7000-8000-000000000001","command_id":"crm-2","colour":1e3}"#,
];

/// What holds for every body of a command, and `accepted` for those that are accepted.
fn command<T: Command + Serialize + Debug + PartialEq>(
    body: &[u8],
    texts: fn(&T) -> [Option<&str>; 3],
    accepted: impl Fn(&T) -> Result<(), TestCaseError>,
) -> Result<(), TestCaseError> {
    let decoded = match decode::<T>(body, None) {
        Ok(decoded) => decoded,
        Err(refused) => {
            prop_assert!(
                refused.detail.chars().count() <= MAX_SENTENCE_CHARS,
                "{} chars",
                refused.detail.len()
            );
            prop_assert!(!refused.detail.is_empty() && !refused.detail.contains('\0'));
            return Ok(());
        }
    };
    let near = |name: &String| UnknownName::of(name, T::FIELDS).is_some_and(|unknown| unknown.is_near);
    prop_assert!(!decoded.unknown.iter().any(near), "{:?}", decoded.unknown);
    prop_assert_eq!(decode_exactly::<T>(body).is_ok(), decoded.unknown.is_empty());
    let command = decoded.command;
    for text in texts(&command).into_iter().flatten() {
        prop_assert!(text.chars().count() <= MAX_TEXT_CHARS && !text.contains('\0'), "{:?}", text);
    }
    if let Some(warning) = warning(&decoded.unknown) {
        prop_assert!(
            warning.len() < 250 && warning.bytes().all(|byte| (b' '..=b'~').contains(&byte)),
            "{}",
            warning
        );
    }
    accepted(&command)?;
    // What is published on behalf of a caller is read as what the caller said.
    let encoded = serde_json::to_vec(&command).map_err(|error| TestCaseError::fail(error.to_string()))?;
    let again =
        decode::<T>(&encoded, Some(T::KEY)).map_err(|error| TestCaseError::fail(error.to_string()))?;
    prop_assert_eq!(again.command, command);
    prop_assert!(again.unknown.is_empty());
    Ok(())
}

fn texts_of_a_start(start: &StartCommand) -> [Option<&str>; 3] {
    [start.command_id.as_deref(), start.name.as_deref(), start.requested_by.as_deref()]
}

fn texts_of_a_cancel(cancel: &CancelCommand) -> [Option<&str>; 3] {
    [cancel.command_id.as_deref(), cancel.reason.as_deref(), cancel.requested_by.as_deref()]
}

#[test]
fn starts() {
    run("start commands", document(STARTS), |body| {
        command(&body, texts_of_a_start, |start: &StartCommand| {
            let dates = [start.date_from, start.date_to];
            prop_assert!(dates.iter().flatten().all(|date| (0..=9999).contains(&date.year())), "{:?}", dates);
            // Whatever span is accepted can be planned, or is refused with the figure to set.
            let to = start.date_to.unwrap_or_else(Utc::now);
            if start.date_from.is_none_or(|from| from < to) {
                let slices = Slicing::cut(Some(Slicing::days(1, 1000)), Span { from: start.date_from, to });
                prop_assert!(
                    slices.as_ref().map_or_else(
                        |refused| refused.needed() > 1000,
                        |slices| (1..=1000).contains(&slices.len())
                    ),
                    "{:?}",
                    slices
                );
            }
            Ok(())
        })
    });
}

#[test]
fn cancels() {
    run("cancel commands", document(CANCELS), |body| {
        command(&body, texts_of_a_cancel, |cancel: &CancelCommand| {
            prop_assert!(cancel.job_id.is_some() != cancel.connection_id.is_some());
            Ok(())
        })
    });
}

/// What is read is written as it was read.
fn round_trip<T: Serialize + DeserializeOwned + PartialEq + Debug>(body: &[u8]) -> Result<(), TestCaseError> {
    let Ok(message) = serde_json::from_slice::<T>(body) else { return Ok(()) };
    let written = serde_json::to_vec(&message).map_err(|error| TestCaseError::fail(error.to_string()))?;
    prop_assert!(written.len() < 200, "{}", written.len());
    let again =
        serde_json::from_slice::<T>(&written).map_err(|error| TestCaseError::fail(error.to_string()))?;
    prop_assert_eq!(again, message);
    Ok(())
}

#[test]
fn messages_between_consumers() {
    let valid = [
        r#"{"job_id": "018f0000-0000-7000-8000-000000000001", "slice": 3, "page": 17, "ring": 20}"#,
        r#"{"marker": 12}"#,
        r#"{"job_id": "018f0000-0000-7000-8000-000000000001"}"#,
    ];
    run("doorbells, markers and aborts", document(&valid), |body| {
        round_trip::<Ring>(&body)?;
        round_trip::<MarkerMessage>(&body)?;
        round_trip::<AbortMessage>(&body)
    });
}
