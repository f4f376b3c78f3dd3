//! JSON pointers, and sets of them: which of several can still be meant at a place in a text.

use std::fmt;

/// Pointers are kept in a bit mask while walking.
pub(super) const MAX_POINTERS: usize = 32;
/// The walk is recursive, so a pointer may not be deep.
const MAX_TOKENS: usize = 16;

/// A JSON pointer (RFC 6901).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pointer {
    text: String,
    tokens: Vec<String>,
}

impl Pointer {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut parts = text.split('/');
        if parts.next() != Some("") {
            return Err(format!("{text:?} is not a JSON pointer: it must be empty or begin with /"));
        }
        let tokens: Vec<String> = parts.map(|token| token.replace("~1", "/").replace("~0", "~")).collect();
        if tokens.len() > MAX_TOKENS {
            return Err(format!("{text:?} is deeper than {MAX_TOKENS} levels"));
        }
        Ok(Self { text: text.to_owned(), tokens })
    }
}

impl fmt::Display for Pointer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

/// The set of one pointer.
pub(super) const fn bit(index: usize) -> u32 {
    1 << index
}

/// All of the pointers. Some of them are a mask with a bit for each.
pub(super) fn all(pointers: &[Pointer]) -> u32 {
    (0..pointers.len()).fold(0, |mask, index| mask | bit(index))
}

/// Those of the pointers that have no token left after `depth` of them.
pub(super) fn ending(pointers: &[Pointer], live: u32, depth: usize) -> u32 {
    select(pointers, live, |pointer| pointer.tokens.len() == depth)
}

/// Those of the pointers whose token at `depth` fits.
pub(super) fn fitting(pointers: &[Pointer], live: u32, depth: usize, fits: impl Fn(&str) -> bool) -> u32 {
    select(pointers, live, |pointer| pointer.tokens.get(depth).is_some_and(|token| fits(token)))
}

fn select(pointers: &[Pointer], live: u32, wanted: impl Fn(&Pointer) -> bool) -> u32 {
    let chosen =
        pointers.iter().enumerate().filter(|(index, pointer)| live & bit(*index) != 0 && wanted(pointer));
    chosen.fold(0, |mask, (index, _)| mask | bit(index))
}

/// Notes what these pointers have found.
pub(super) fn place<T: Copy>(found: &mut [Option<T>], of: u32, part: Option<T>) {
    for (index, place) in found.iter_mut().enumerate() {
        if of & bit(index) != 0 {
            *place = part;
        }
    }
}
