//! Mutations: of bytes, and of the values of a JSON text, which need not be valid any more.
//!
//! An input is a choice of a valid document and a list of small numbers that say what is done to it, so that what is found
//! shrinks to few mutations of a known document.

use crate::nasty::{JSON, TEXTS};
use proptest::collection::vec;
use proptest::prelude::*;
use std::fmt;
use std::ops::{Deref, Range};

/// No mutation makes an input longer than this.
const LONGEST: usize = 300 << 10;

/// How much of an input is shown.
const SHOWN: usize = 2000;

/// One mutation: what is done, where, and with what.
type Step = (u8, u16, u16);

/// An input, shown as text.
#[derive(Clone, PartialEq, Eq)]
pub struct Input(pub Vec<u8>);

impl Deref for Input {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.get(..SHOWN).unwrap_or(self);
        write!(f, "{} bytes: {}", self.len(), shown.escape_ascii())?;
        if shown.len() < self.len() { f.write_str("…") } else { Ok(()) }
    }
}

/// One of these JSON documents, with up to six mutations of its values and of its bytes.
pub fn document(valid: &[&str]) -> impl Strategy<Value = Input> + use<> {
    inputs(valid, 12)
}

/// One of these texts, with up to six mutations of its characters, and maybe no longer UTF-8.
pub fn text(valid: &[&str]) -> impl Strategy<Value = Input> + use<> {
    inputs(valid, 6)
}

fn inputs(valid: &[&str], kinds: u8) -> impl Strategy<Value = Input> + use<> {
    let valid: Vec<Vec<u8>> = valid.iter().map(|one| one.as_bytes().to_vec()).collect();
    (0..valid.len(), vec((0..kinds, any::<u16>(), any::<u16>()), 0..=6)).prop_map(move |(which, steps)| {
        let other = valid.get((which + 1) % valid.len()).cloned().unwrap_or_default();
        let mut input = valid.get(which).cloned().unwrap_or_default();
        for step in steps {
            apply(&mut input, &other, step);
            input.truncate(LONGEST);
        }
        Input(input)
    })
}

fn apply(input: &mut Vec<u8>, other: &[u8], (kind, place, with): Step) {
    let (place, with) = (usize::from(place), usize::from(with));
    let at = place % (input.len() + 1);
    match kind {
        0 => {
            if let Some(byte) = input.get_mut(at) {
                *byte ^= 1 << (with % 8);
            }
        }
        1 => replace(input, at..at, pick(TEXTS, with).as_bytes()),
        2 => {
            let to = (at + with % 16).min(input.len());
            replace(input, at..to, b"");
        }
        3 => input.truncate(at),
        4 => {
            let from = with % (other.len() + 1);
            let piece = other.get(from..).unwrap_or_default().to_vec();
            input.truncate(at);
            input.extend(piece);
        }
        5 => {
            let to = (at + 1 + with % 8).min(input.len());
            let piece = input.get(at..to).unwrap_or_default().repeat(1 << (with % 10));
            replace(input, at..at, &piece);
        }
        _ => of_a_value(input, kind, place, with),
    }
}

/// What can be done to a value of a JSON text. Without one, nothing.
fn of_a_value(input: &mut Vec<u8>, kind: u8, place: usize, with: usize) {
    let values = values(input);
    if values.is_empty() {
        return;
    }
    let Some(value) = values.get(place % values.len()).cloned() else { return };
    let old = input.get(value.clone()).unwrap_or_default().to_vec();
    match kind {
        6 | 7 => replace(input, value, pick(JSON, with).as_bytes()),
        8 => {
            // Mostly near what readers allow, and sometimes far beyond.
            let depth = [1, 2, 99, 100, 101, 126, 127, 128, 129, 3000].get(with % 10).copied().unwrap_or(1);
            let (open, close): (&[u8], &[u8]) =
                if with % 20 < 10 { (b"[", b"]") } else { (b"{\"a\":", b"}") };
            replace(input, value, &[open.repeat(depth), old, close.repeat(depth)].concat());
        }
        9 => {
            // Behind the value, it is one more of its array, or a member with a name that may be there already.
            let more = format!(
                ",\"{}\":{}",
                pick(&["a", "callId", "job_id", "sub", "alg"], with),
                pick(JSON, with / 5)
            );
            let more = if with.is_multiple_of(2) { more } else { format!(",{}", pick(JSON, with / 2)) };
            replace(input, value.end..value.end, more.as_bytes());
        }
        10 => {
            let long = [200, 201, 512, 513, 70_000].get(with % 5).copied().unwrap_or(1);
            let digit = if with % 10 < 5 { "7" } else { "é" };
            replace(input, value, format!("\"{}\"", digit.repeat(long)).as_bytes());
        }
        _ => {
            // Another value of the same text in its place.
            let from = values.get(with % values.len()).and_then(|from| input.get(from.clone()));
            let from = from.unwrap_or_default().to_vec();
            replace(input, value, &from);
        }
    }
}

fn replace(input: &mut Vec<u8>, place: Range<usize>, with: &[u8]) {
    drop(input.splice(place, with.iter().copied()));
}

fn pick<'p>(from: &[&'p str], with: usize) -> &'p str {
    from.get(with % from.len()).copied().unwrap_or_default()
}

/// Where the texts (names too), numbers and words of a JSON text are, and its objects and arrays, as far as it is readable.
fn values(json: &[u8]) -> Vec<Range<usize>> {
    let (mut found, mut open) = (Vec::new(), Vec::new());
    let mut at = 0;
    while let Some(&byte) = json.get(at) {
        let from = at;
        at += 1;
        match byte {
            b'"' => {
                while let Some(&inner) = json.get(at) {
                    at += if inner == b'\\' { 2 } else { 1 };
                    if inner == b'"' {
                        break;
                    }
                }
                at = at.min(json.len());
                found.push(from..at);
            }
            b'{' | b'[' => open.push(from),
            b'}' | b']' => found.extend(open.pop().map(|from| from..at)),
            b'-' | b'+' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => {
                while json.get(at).is_some_and(|next| next.is_ascii_alphanumeric() || b"+-.".contains(next)) {
                    at += 1;
                }
                found.push(from..at);
            }
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_is_found() {
        let json = br#"{"a\"": [1, -2.5e3, null], "b": {}}"#;
        let found: Vec<_> =
            values(json).into_iter().map(|range| std::str::from_utf8(&json[range]).unwrap()).collect();
        let whole = std::str::from_utf8(json).unwrap();
        assert_eq!(found, [r#""a\"""#, "1", "-2.5e3", "null", "[1, -2.5e3, null]", r#""b""#, "{}", whole]);
        let one = |json: &[u8]| values(json).pop();
        assert_eq!((one(b"\"open"), one(b"\"open\\")), (Some(0..5), Some(0..6)));
    }
}
