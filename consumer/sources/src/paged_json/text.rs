//! Reads JSON text token by token, strictly by RFC 8259, and notes on the way what Postgres would not store.
//!
//! The JSON library splits a page without a tree, too, but what it passes over it tells nobody, so that each record would be
//! read once more: that took a tenth of a consumer's time on full pages. Tests hold this reader to what the library accepts.

use serde::de::IgnoredAny;

use super::storable::{MAX_NESTING, MAX_PLAIN_BYTES, Unstorable, check_characters, check_number};

/// Why a text was not read to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReadError {
    /// It is not JSON; noticed at this byte.
    NotJson(usize),
    /// A list in it has more items than this.
    TooMany(usize),
}

impl ReadError {
    /// Whether the text ends before it is complete.
    pub(super) fn is_cut(self, json: &str) -> bool {
        match self {
            Self::TooMany(_) => false,
            Self::NotJson(_) => serde_json::from_str::<IgnoredAny>(json).is_err_and(|error| error.is_eof()),
        }
    }

    /// In words, of the text that was read.
    pub(super) fn explain(self, json: &str) -> String {
        match self {
            Self::TooMany(most) => format!("more than {most} records on one page"),
            // The library says it better: what was expected, in which line and column.
            Self::NotJson(at) => match serde_json::from_str::<IgnoredAny>(json) {
                Err(error) => error.to_string(),
                Ok(IgnoredAny) => format!("not JSON from byte {at} on"),
            },
        }
    }
}

/// A place in a JSON text. What is noted of one value is forgotten with [`Text::begin`].
#[derive(Debug)]
pub(super) struct Text<'de> {
    json: &'de str,
    at: usize,
    /// How each array and object that is open here will end.
    open: Vec<u8>,
    /// How many may be open before the value that is looked at is nested too deep.
    deepest: usize,
    wrong: Option<Unstorable>,
    /// How many bytes the numbers with exponents would take without them.
    plain: usize,
}

impl<'de> Text<'de> {
    pub(super) const fn new(json: &'de str) -> Self {
        Self { json, at: 0, open: Vec::new(), deepest: MAX_NESTING, wrong: None, plain: 0 }
    }

    pub(super) fn byte(&self) -> Option<u8> {
        self.json.as_bytes().get(self.at).copied()
    }

    pub(super) const fn at(&self) -> usize {
        self.at
    }

    /// Back to where a value began that was read since.
    pub(super) const fn back_to(&mut self, at: usize) {
        self.at = at;
    }

    /// What has been read from there on.
    pub(super) fn since(&self, begin: usize) -> &'de str {
        self.json.get(begin..self.at).unwrap_or_default()
    }

    /// From here on, something is looked at by itself: whether Postgres stores it.
    pub(super) fn begin(&mut self) {
        self.deepest = self.open.len() + MAX_NESTING;
        self.wrong = None;
        self.plain = 0;
    }

    /// What Postgres does not take of what was read since [`Text::begin`], the first of it.
    pub(super) fn storable(&mut self) -> Result<(), Unstorable> {
        self.wrong.take().map_or(Ok(()), Err)
    }

    pub(super) const fn not_json<T>(&self) -> Result<T, ReadError> {
        Err(ReadError::NotJson(self.at))
    }

    pub(super) fn space(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.byte() {
            self.at += 1;
        }
    }

    /// Nothing but space may come any more.
    pub(super) fn end(&mut self) -> Result<(), ReadError> {
        self.space();
        if self.byte().is_none() { Ok(()) } else { self.not_json() }
    }

    /// Goes into an array or object that ends with this bracket, if there is anything in it; else past it.
    pub(super) fn enter(&mut self, end: u8) -> bool {
        self.at += 1;
        self.open.push(end);
        if self.open.len() > self.deepest {
            self.wrong.get_or_insert(Unstorable::Nesting);
        }
        self.space();
        let anything = self.byte() != Some(end);
        if !anything {
            self.leave();
        }
        anything
    }

    fn leave(&mut self) {
        self.at += 1;
        self.open.pop();
    }

    /// Behind a value in an array or object: goes to the next one (in an object, to its name), if there is one; else out of it.
    pub(super) fn another(&mut self) -> Result<bool, ReadError> {
        self.space();
        match self.byte() {
            Some(b',') => {
                self.at += 1;
                self.space();
                Ok(true)
            }
            Some(byte) if self.open.last() == Some(&byte) => {
                self.leave();
                Ok(false)
            }
            _ => self.not_json(),
        }
    }

    /// A name in an object, as it is written with its quotes, and whether it has no escapes. Goes on to its value.
    pub(super) fn name(&mut self) -> Result<(&'de str, bool), ReadError> {
        if self.byte() != Some(b'"') {
            return self.not_json();
        }
        let begin = self.at;
        let plain = self.string()?;
        let name = self.since(begin);
        self.space();
        if self.byte() != Some(b':') {
            return self.not_json();
        }
        self.at += 1;
        self.space();
        Ok((name, plain))
    }

    /// A value in which nothing is looked for. No recursion: it may be nested as deep as it likes.
    pub(super) fn skip(&mut self) -> Result<(), ReadError> {
        let outside = self.open.len();
        loop {
            match self.byte() {
                Some(b'"') => {
                    self.string()?;
                }
                Some(b'{') => {
                    if self.enter(b'}') {
                        self.name()?;
                        continue;
                    }
                }
                Some(b'[') => {
                    if self.enter(b']') {
                        continue;
                    }
                }
                Some(b'-' | b'0'..=b'9') => self.number()?,
                _ => self.word()?,
            }
            loop {
                if self.open.len() == outside {
                    return Ok(());
                }
                if self.another()? {
                    break;
                }
            }
            if self.open.last() == Some(&b'}') {
                self.name()?;
            }
        }
    }

    /// A text, from its opening quote to behind the closing one; whether it has no escapes.
    fn string(&mut self) -> Result<bool, ReadError> {
        let bytes = self.json.as_bytes();
        self.at += 1;
        let (begin, mut plain, mut units) = (self.at, true, false);
        loop {
            self.at += ordinary(bytes.get(self.at..).unwrap_or_default());
            match (bytes.get(self.at), bytes.get(self.at + 1)) {
                (Some(b'"'), _) => {
                    if units && self.wrong.is_none() {
                        self.wrong = check_characters(bytes.get(begin..self.at).unwrap_or_default()).err();
                    }
                    self.at += 1;
                    return Ok(plain);
                }
                (Some(b'\\'), Some(b'u')) => {
                    let digits = bytes.get(self.at + 2..self.at + 6);
                    if !digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit)) {
                        return self.not_json();
                    }
                    (plain, units) = (false, true);
                    self.at += 6;
                }
                (Some(b'\\'), Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't')) => {
                    plain = false;
                    self.at += 2;
                }
                _ => return self.not_json(),
            }
        }
    }

    fn number(&mut self) -> Result<(), ReadError> {
        let begin = self.at;
        self.pass(b"-");
        match self.byte() {
            Some(b'0') => self.at += 1,
            _ => self.digits()?,
        }
        if self.pass(b".") {
            self.digits()?;
        }
        let exponent = self.pass(b"eE");
        if exponent {
            self.pass(b"+-");
            self.digits()?;
        }
        // Nearly all numbers are short and have no exponent.
        if (exponent || self.at - begin > 1000) && self.wrong.is_none() {
            match check_number(self.since(begin)) {
                Ok(bytes) => self.plain += bytes,
                Err(wrong) => self.wrong = Some(wrong),
            }
            if self.plain > MAX_PLAIN_BYTES {
                self.wrong.get_or_insert(Unstorable::Numbers);
            }
        }
        Ok(())
    }

    /// Goes past one of these, if it is here.
    fn pass(&mut self, any: &[u8]) -> bool {
        let here = self.byte().is_some_and(|byte| any.contains(&byte));
        self.at += usize::from(here);
        here
    }

    /// One digit or more.
    fn digits(&mut self) -> Result<(), ReadError> {
        let begin = self.at;
        while let Some(b'0'..=b'9') = self.byte() {
            self.at += 1;
        }
        if self.at == begin { self.not_json() } else { Ok(()) }
    }

    fn word(&mut self) -> Result<(), ReadError> {
        let rest = self.json.as_bytes().get(self.at..).unwrap_or_default();
        for word in ["null", "true", "false"] {
            if rest.starts_with(word.as_bytes()) {
                self.at += word.len();
                return Ok(());
            }
        }
        self.not_json()
    }
}

/// How many bytes come before the first quote, backslash, or control character. Eight at a time: most texts are short.
fn ordinary(bytes: &[u8]) -> usize {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    const HIGH: u64 = ONES << 7;
    // In the lowest byte that is set, and perhaps in higher ones, the byte is below `limit`, or equal to `byte`.
    let below = |word: u64, limit: u64| word.wrapping_sub(ONES * limit) & !word;
    let equal = |word: u64, byte: u8| below(word ^ (ONES * u64::from(byte)), 1);
    let (words, rest) = bytes.as_chunks::<8>();
    for (number, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        let found = (below(word, 0x20) | equal(word, b'"') | equal(word, b'\\')) & HIGH;
        if found != 0 {
            // 0 to 7.
            let within = usize::try_from(found.trailing_zeros() / 8).unwrap_or(0);
            return number * 8 + within;
        }
    }
    let special = |byte: &u8| *byte < 0x20 || matches!(byte, b'"' | b'\\');
    words.len() * 8 + rest.iter().position(special).unwrap_or(rest.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::value::RawValue;

    /// Whether it is JSON, if this reader and the library agree on it.
    fn is_json(json: &str) -> bool {
        let mut text = Text::new(json);
        text.space();
        let read = text.skip().and_then(|()| text.end()).is_ok();
        assert_eq!(read, serde_json::from_str::<&RawValue>(json).is_ok(), "{json:?}");
        read
    }

    #[test]
    fn what_is_json() {
        for json in [
            " {\"a\" : [ ] ,\r\n\t\"b\":{ }, \"\" : [null,true , false]} ",
            r#"[0,-0,10,-1.50,0.0,1e5,1E+05,-2.5e-3]"#,
            r#""\"\\\/\b\f\n\r\t\u00e9\uD83D \ud800é""#,
            "\"\u{7f}\u{80}\u{2028}\"",
            "7",
        ] {
            assert!(is_json(json), "{json:?}");
        }
        let broken = [
            "|nul|nullx|True|NaN|'a'|1 2|// a",
            "[1 2]|[1,]|[,1]|[1|]|[}|{]|[\"a\":1]",
            r#"{"a"}|{"a" 1}|{"a":}|{"a":1,}|{,}|{1:2}|{null:1}|{"a":1 "b":2}"#,
            "01|-|-a|+1|.5|1.|1.e5|1e|1e+|1.5.2|--1|0x1",
            r#""|"a|"\|"\"|"\x"|"\u12"|"\u12g4"|"\u+123""#,
            "\"\n\"|\"\u{1f}\"|\"\0\"|\u{a0}1|\u{feff}1",
        ];
        for json in broken.iter().flat_map(|several| several.split('|')) {
            assert!(!is_json(json), "{json:?}");
        }
    }

    #[test]
    fn a_text_ends_at_its_quote_wherever_that_is() {
        for length in 0..40 {
            for (special, fine) in
                [("", true), ("\\n", true), ("\\", false), ("\u{1f}", false), ("\u{9f}", true)]
            {
                for filler in ["a", " ", "!", "#", "[", "]", "\u{7f}", "é", "\u{a2}\u{dc}"] {
                    let json = format!("\"{}{special}\"", filler.repeat(length));
                    assert_eq!(is_json(&json), fine, "{json:?}");
                }
            }
        }
    }

    proptest::proptest! {
        #[test]
        fn the_library_agrees(json in r#"([\[\]{}:,"\\/ \n\x00\x1fé0-3.eE+\-ubnrt]|null|true|"a":|\\u[0-9d]{4}){0,12}"#) {
            is_json(&json);
        }
    }
}
