//! Lines for people.

use super::shown::shown;
use std::fmt;

/// Lines for people. What is pushed is one line, with whatever stands in it shown so that it can neither end the line nor
/// control the terminal: only whoever makes a text decides where its lines end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Text(Vec<String>);

impl Text {
    /// The lines of a text that has its own, such as the body of an answer, each after `indent`, which tells them from ours.
    pub(crate) fn of_lines(text: &str, indent: &str) -> Self {
        text.lines().map(|line| format!("{indent}{line}")).collect()
    }

    pub(crate) fn push(&mut self, line: impl AsRef<str>) {
        self.0.push(shown(line.as_ref()).into_owned());
    }

    /// The same with one more line.
    #[must_use]
    pub(crate) fn and(mut self, line: impl AsRef<str>) -> Self {
        self.push(line);
        self
    }

    pub(crate) fn append(&mut self, more: impl Into<Self>) {
        self.0.extend(more.into().0);
    }

    /// The same with this before its first line.
    #[must_use]
    pub(super) fn begun_with(mut self, word: &str) -> Self {
        match self.0.first_mut() {
            Some(line) => line.insert_str(0, word),
            None => self.push(word),
        }
        self
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

impl From<String> for Text {
    fn from(line: String) -> Self {
        Self::default().and(line)
    }
}

impl From<&str> for Text {
    fn from(line: &str) -> Self {
        Self::default().and(line)
    }
}

impl<S: AsRef<str>> FromIterator<S> for Text {
    fn from_iter<T: IntoIterator<Item = S>>(lines: T) -> Self {
        let mut text = Self::default();
        text.extend(lines);
        text
    }
}

impl<S: AsRef<str>> Extend<S> for Text {
    fn extend<T: IntoIterator<Item = S>>(&mut self, lines: T) {
        lines.into_iter().for_each(|line| self.push(line));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_strangers_newline_makes_no_line() {
        let mut text = Text::from("a\nb".to_owned()).and("c\r\n\u{1b}[1A");
        text.append(["d\u{2028}e"].iter().collect::<Text>());
        assert_eq!(text.to_string(), "a\\nb\nc\\r\\n\\u{1b}[1A\nd\\u{2028}e");
    }

    #[test]
    fn lines_of_a_body_are_told_from_ours() {
        assert_eq!(Text::of_lines("a\r\n\u{9b}b\n\nc", "  ").to_string(), "  a\n  \\u{9b}b\n  \n  c");
        assert_eq!(Text::from("no").and("yes").begun_with("error: ").to_string(), "error: no\nyes");
    }
}
