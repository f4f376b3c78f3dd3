//! How what comes from outside is shown.

use protocol::plain::controls_display;
use serde::Serialize;
use std::borrow::Cow;
use std::fmt::Write;
use std::io;

/// A text on one line: what would control the terminal, end the line or turn the direction of reading is escaped as Rust
/// escapes it (`\n`, `\u{1b}`). A text that was shown before stays as it is.
pub(super) fn shown(text: &str) -> Cow<'_, str> {
    if !text.contains(controls_display) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for char in text.chars() {
        match char {
            '\n' | '\r' | '\t' => escaped.extend(char.escape_default()),
            char if controls_display(char) => escaped.extend(char.escape_unicode()),
            char => escaped.push(char),
        }
    }
    Cow::Owned(escaped)
}

/// A value as JSON on one line, for a script or a terminal: the same characters are escaped as JSON escapes them.
pub(crate) fn json_text(value: &impl Serialize) -> io::Result<String> {
    Ok(escaped(serde_json::to_string(value)?))
}

/// The same on many lines.
pub(super) fn json_lines(value: &impl Serialize) -> io::Result<String> {
    Ok(escaped(serde_json::to_string_pretty(value)?))
}

/// The writer of JSON has escaped what is below the blank; a newline is its own. The others stand in strings only.
fn escaped(json: String) -> String {
    let rest = |char: char| char > ' ' && controls_display(char);
    if !json.contains(rest) {
        return json;
    }
    let mut escaped = String::with_capacity(json.len() + 16);
    for char in json.chars() {
        if rest(char) {
            // Writing to a String cannot fail.
            write!(escaped, "\\u{:04x}", u32::from(char)).unwrap_or_default();
        } else {
            escaped.push(char);
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    const NASTY: &str = "a\u{1b}[2J\u{9b}31m\u{7f}\r\n\tb\u{202e}c\u{2066}\u{2069}\u{200e}\u{200f}\u{61c}\u{2028}\u{2029}\0é\\";

    #[test]
    fn what_a_terminal_would_obey_is_escaped() {
        let said = shown(NASTY);
        assert_eq!(
            said,
            "a\\u{1b}[2J\\u{9b}31m\\u{7f}\\r\\n\\tb\\u{202e}c\\u{2066}\\u{2069}\\u{200e}\\u{200f}\\u{61c}\\u{2028}\\u{2029}\\u{0}é\\"
        );
        assert_eq!(shown(&said), said, "shown once more it is the same");
    }

    #[test]
    fn what_is_plain_stays_as_it_is() {
        for plain in ["", "a b", "日本語 עברית", "👩‍👩‍👧", "a\\nb", "naïve – “quoted”"]
        {
            assert!(matches!(shown(plain), Cow::Borrowed(said) if said == plain), "{plain}");
        }
    }

    #[test]
    fn json_stays_json_and_says_the_same() {
        let value = json!({ NASTY: [NASTY, 1] });
        for text in [json_text(&value).unwrap(), json_lines(&value).unwrap()] {
            assert!(text.chars().all(|char| char == '\n' || !controls_display(char)), "{text}");
            assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value);
        }
        assert!(json_text(&"\u{85}\u{202e}\u{7f}").unwrap().contains(r"\u0085\u202e\u007f"));
    }
}
