//! Finds values in JSON text by JSON pointers, in one pass and without building a tree.
//!
//! What no pointer leads to is skipped over. What is found is a piece of the text itself, verbatim. Of a name that
//! an object has twice, the last one counts, as it does in Postgres.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

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

/// What was found: one place per pointer.
pub(super) type Found<'de> = [Option<&'de RawValue>];

/// An array that is split into its items where it is found, so that the text is read only once.
#[derive(Debug)]
pub(super) struct Items<'de> {
    /// Which pointer leads to the array.
    pub(super) pointer: usize,
    /// The items; `None` while no array was found.
    pub(super) items: Option<Vec<&'de RawValue>>,
    /// How many items are too many.
    pub(super) max: usize,
}

/// Finds what the pointers lead to. `found` must be as long as `pointers`, and is overwritten.
pub(super) fn find<'de>(
    json: &'de str,
    pointers: &[Pointer],
    found: &mut Found<'de>,
    items: Option<&mut Items<'de>>,
) -> Result<(), serde_json::Error> {
    found.fill(None);
    let mut walk = Walk { pointers, found, items };
    let all = all(pointers);
    let here = ending(pointers, all, 0);
    if here != 0 {
        let whole: &RawValue = serde_json::from_str(json)?;
        walk.land(here, whole)?;
    }
    let deeper = all & !here;
    // With nothing to look for, the text must still be JSON.
    if deeper == 0 && here != 0 { Ok(()) } else { walk.descend(json, deeper, 0) }
}

const fn bit(index: usize) -> u32 {
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

struct Walk<'w, 'de> {
    pointers: &'w [Pointer],
    found: &'w mut Found<'de>,
    items: Option<&'w mut Items<'de>>,
}

impl<'de> Walk<'_, 'de> {
    /// Whether `hit` is the array to split, and nothing else.
    fn splits(&self, hit: u32, depth: usize) -> bool {
        self.items.as_ref().is_some_and(|items| hit == bit(items.pointer))
            && ending(self.pointers, hit, depth) == hit
    }

    /// Notes a value that pointers end at.
    fn land(&mut self, ending: u32, raw: &'de RawValue) -> Result<(), serde_json::Error> {
        place(self.found, ending, Some(raw));
        match &mut self.items {
            Some(items) if ending & bit(items.pointer) != 0 => {
                Split(items).deserialize(&mut serde_json::Deserializer::from_str(raw.get()))
            }
            _ => Ok(()),
        }
    }

    /// Takes the value that `hit` leads to, and goes on inside it where pointers are longer.
    fn take(&mut self, hit: u32, depth: usize, raw: &'de RawValue) -> Result<(), serde_json::Error> {
        let ending = ending(self.pointers, hit, depth);
        self.land(ending, raw)?;
        let deeper = hit & !ending;
        if deeper == 0 {
            return Ok(());
        }
        place(self.found, deeper, None);
        self.descend(raw.get(), deeper, depth)
    }

    fn descend(&mut self, json: &'de str, live: u32, depth: usize) -> Result<(), serde_json::Error> {
        let mut deserializer = serde_json::Deserializer::from_str(json);
        let step = Step { walk: self, live, depth };
        match json.trim_ascii_start().as_bytes().first() {
            Some(b'{') => deserializer.deserialize_map(step)?,
            Some(b'[') => deserializer.deserialize_seq(step)?,
            // A pointer that leads into a text or a number finds nothing.
            _ => {
                deserializer.deserialize_ignored_any(IgnoredAny)?;
            }
        }
        deserializer.end()
    }
}

/// One level of the walk.
struct Step<'s, 'w, 'de> {
    walk: &'s mut Walk<'w, 'de>,
    live: u32,
    depth: usize,
}

impl<'de> Visitor<'de> for Step<'_, '_, 'de> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object or an array")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Self { walk, live, depth } = self;
        while let Some(hit) = map.next_key_seed(Name { walk, live, depth })? {
            if hit == 0 {
                map.next_value::<IgnoredAny>()?;
            } else if let (true, Some(items)) = (walk.splits(hit, depth + 1), walk.items.as_deref_mut()) {
                map.next_value_seed(Split(items))?;
            } else {
                let raw = map.next_value()?;
                walk.take(hit, depth + 1, raw).map_err(A::Error::custom)?;
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let Self { walk, live, depth } = self;
        let mut index = 0_usize;
        while let Some(raw) = seq.next_element()? {
            let hit = fitting(walk.pointers, live, depth, |token| token.parse() == Ok(index));
            if hit != 0 {
                walk.take(hit, depth + 1, raw).map_err(A::Error::custom)?;
            }
            index += 1;
        }
        Ok(())
    }
}

/// Reads a name of an object: which pointers it fits.
struct Name<'s, 'w, 'de> {
    walk: &'s Walk<'w, 'de>,
    live: u32,
    depth: usize,
}

impl<'de> DeserializeSeed<'de> for Name<'_, '_, 'de> {
    type Value = u32;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<u32, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Name<'_, '_, '_> {
    type Value = u32;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<u32, E> {
        Ok(fitting(self.walk.pointers, self.live, self.depth, |token| token == name))
    }
}

/// Splits an array into its items.
struct Split<'s, 'de>(&'s mut Items<'de>);

impl<'de> DeserializeSeed<'de> for Split<'_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Split<'_, 'de> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("the array of records")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let mut items = Vec::new();
        while let Some(raw) = seq.next_element()? {
            if items.len() == self.0.max {
                return Err(A::Error::custom(format_args!("more than {} records on one page", self.0.max)));
            }
            items.push(raw);
        }
        self.0.items = Some(items);
        Ok(())
    }
}
