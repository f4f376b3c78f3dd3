//! Text from outside, cut to a length that fits into a sentence.

use std::fmt::{Display, Write};

/// The longest sentence about somebody else's input, in characters.
pub const MAX_SENTENCE_CHARS: usize = 500;

/// A sentence that may repeat what came from outside: cut to [`MAX_SENTENCE_CHARS`], and without NULs, which Postgres
/// cannot store. No more than that is ever kept of it, however long it would be.
#[must_use]
pub fn short(sentence: impl Display) -> String {
    let mut cut = Cut { text: String::new(), chars: 0 };
    // The only error is our own: enough.
    if write!(cut, "{sentence}").is_err() {
        cut.text.pop();
        cut.text.push('…');
    }
    cut.text
}

struct Cut {
    text: String,
    chars: usize,
}

impl Write for Cut {
    fn write_str(&mut self, more: &str) -> std::fmt::Result {
        for char in more.chars() {
            if self.chars == MAX_SENTENCE_CHARS {
                return Err(std::fmt::Error);
            }
            self.text.push(if char == '\0' { '\u{fffd}' } else { char });
            self.chars += 1;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_is_cut_at_its_limit() {
        let at = "é".repeat(MAX_SENTENCE_CHARS);
        assert_eq!(short(&at), at);
        let past = short(format!("{at}x"));
        assert_eq!(past.chars().count(), MAX_SENTENCE_CHARS);
        assert!(past.ends_with("é…"), "{past}");
        assert_eq!(short("a\0b"), "a\u{fffd}b");
    }
}
