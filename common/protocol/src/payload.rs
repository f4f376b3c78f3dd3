//! A record's content, kept in the answer that it came in.

use std::fmt;
use std::ops::{Deref, Range};
use std::sync::Arc;

/// A record's JSON text: a part of an upstream's answer. The answer is kept as long as any of its records, so that a page
/// of a hundred records is one piece of memory, and none is copied on its way to the database.
#[derive(Clone)]
pub struct Payload {
    answer: Arc<String>,
    part: Range<usize>,
}

impl Payload {
    /// A part of an answer. What is no part of it is copied.
    #[must_use]
    pub fn within(answer: &Arc<String>, part: &str) -> Self {
        let start = part.as_ptr().addr().wrapping_sub(answer.as_ptr().addr());
        let range = start..start.wrapping_add(part.len());
        match answer.get(range.clone()) {
            Some(found) if found.as_ptr() == part.as_ptr() => {
                Self { answer: Arc::clone(answer), part: range }
            }
            _ => Self::from(part),
        }
    }
}

impl Deref for Payload {
    type Target = str;

    fn deref(&self) -> &str {
        self.answer.get(self.part.clone()).unwrap_or_default()
    }
}

impl From<String> for Payload {
    fn from(text: String) -> Self {
        let part = 0..text.len();
        Self { answer: Arc::new(text), part }
    }
}

impl From<&str> for Payload {
    fn from(text: &str) -> Self {
        Self::from(text.to_owned())
    }
}

impl PartialEq for Payload {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Payload {}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

impl fmt::Display for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_shares_its_answer() {
        let answer = Arc::new(r#"[{"a":"é"},{}]"#.to_owned());
        for part in [&answer[1..11], &answer[12..14], &answer[..], &answer[answer.len()..]] {
            let payload = Payload::within(&answer, part);
            assert_eq!((&*payload, payload.as_ptr()), (part, part.as_ptr()));
        }
        assert_eq!(Arc::strong_count(&answer), 1, "none is left");
    }

    #[test]
    fn what_is_no_part_is_copied() {
        let (answer, other) = (Arc::new("{}".to_owned()), "{}".to_owned());
        let payload = Payload::within(&answer, &other);
        assert_eq!(payload, Payload::from("{}"));
        assert_ne!(payload.as_ptr(), answer.as_ptr());
        assert_eq!(format!("{payload} {payload:?}"), r#"{} "{}""#);
    }
}
