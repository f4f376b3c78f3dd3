//! Which characters are text, and which say how text is shown.

/// Whether a character controls how text is shown, rather than being shown: the control characters (C0, DEL and C1, which
/// terminals obey), the ends of lines and paragraphs, and the marks that turn the direction of reading.
///
/// Names have none of them (see migrations/0001_schema.up.sql), and nothing else is shown with them.
#[must_use]
pub const fn controls_display(char: char) -> bool {
    matches!(
        char,
        '\0'..='\x1f'
            | '\x7f'..='\u{9f}'
            | '\u{61c}'
            | '\u{200e}'
            | '\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2066}'..='\u{2069}'
    )
}

#[cfg(test)]
mod tests {
    use super::controls_display;

    #[test]
    fn text_is_told_from_what_controls_it() {
        let controls = "\0\u{7}\t\n\r\u{1b}\u{1f}\u{7f}\u{80}\u{85}\u{9b}\u{9f}\u{61c}\u{200e}\u{200f}\u{2028}\u{2029}\u{202a}\u{202e}\u{2066}\u{2069}";
        assert!(controls.chars().all(controls_display));
        // A joiner makes one picture of several, and a soft hyphen says where a word may be parted.
        let text = "az09 ~\u{a0}é\u{ad}ß日א\u{200d}\u{2027}\u{202f}\u{2065}\u{206a}👩\u{10ffff}";
        assert!(!text.chars().any(controls_display));
    }
}
