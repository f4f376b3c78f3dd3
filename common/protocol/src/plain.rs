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

/// Whether a character is not seen at all, so that two texts that look alike may differ by it: those that Unicode calls
/// default-ignorable (of zero width, joiners, variation selectors, tags, fillers), and those that mark annotations.
const fn is_invisible(char: char) -> bool {
    matches!(
        char,
        '\u{ad}'
            | '\u{34f}'
            | '\u{61c}'
            | '\u{115f}'..='\u{1160}'
            | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}'
            | '\u{ffa0}'
            | '\u{fff0}'..='\u{fffb}'
            | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}'
    )
}

/// Whether a new name may not have a character: what controls how text is shown, and what is invisible. Names that are older
/// may have what is invisible; it controls nothing.
#[must_use]
pub const fn unfit_for_a_name(char: char) -> bool {
    controls_display(char) || is_invisible(char)
}

#[cfg(test)]
mod tests {
    use super::{controls_display, is_invisible, unfit_for_a_name};

    #[test]
    fn a_name_has_nothing_invisible() {
        let ignorable = [
            0xad..=0xad,
            0x34f..=0x34f,
            0x200b..=0x200f,
            0x2060..=0x206f,
            0xfe00..=0xfe0f,
            0xfeff..=0xfeff,
            0xe0000..=0xe007f,
            0xe0100..=0xe01ef,
        ];
        for char in ignorable.into_iter().flatten().filter_map(char::from_u32) {
            assert!(is_invisible(char) && unfit_for_a_name(char), "{char:?}");
        }
        // A letter, a mark or a picture is none, whatever it looks like.
        for char in "az09 ~\u{a0}éß日אاक\u{301}\u{3000}👩🏽—…\u{2010}\u{fffd}\u{10ffff}".chars()
        {
            assert!(!unfit_for_a_name(char), "{char:?}");
        }
    }

    #[test]
    fn text_is_told_from_what_controls_it() {
        let controls = "\0\u{7}\t\n\r\u{1b}\u{1f}\u{7f}\u{80}\u{85}\u{9b}\u{9f}\u{61c}\u{200e}\u{200f}\u{2028}\u{2029}\u{202a}\u{202e}\u{2066}\u{2069}";
        assert!(controls.chars().all(controls_display));
        // A joiner makes one picture of several, and a soft hyphen says where a word may be parted.
        let text = "az09 ~\u{a0}é\u{ad}ß日א\u{200d}\u{2027}\u{202f}\u{2065}\u{206a}👩\u{10ffff}";
        assert!(!text.chars().any(controls_display));
    }
}
