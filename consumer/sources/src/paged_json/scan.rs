//! Finds values in JSON text by JSON pointers, in one pass and without building a tree, and splits a list into its items.
//!
//! What no pointer leads to is skipped over. What is found is a piece of the text itself, verbatim. Of a name that an object
//! has twice, the last one counts, as it does in Postgres.

use super::pointer::{Pointer, all, bit, ending, fitting, place};
use super::storable::Unstorable;
use super::text::{ReadError, Text};
use crate::error::quote;

/// Finds what the pointers lead to. The places must be as many as the pointers, and are overwritten. Within: what Postgres
/// does not take of the text, the first of it; the places are as they would be without it.
///
/// # Errors
/// When the text is not JSON, all of it.
pub(super) fn scan<'de>(
    json: &'de str,
    pointers: &[Pointer],
    found: &mut [Option<&'de str>],
) -> Result<Result<(), Unstorable>, ReadError> {
    let mut text = Text::new(json);
    Walk { text: &mut text, pointers, found, list: None }.all_of_it()?;
    Ok(text.storable())
}

/// Finds what the pointers lead to, as [`scan`] does, and splits the array that one of them leads to, in the same pass.
///
/// # Errors
/// When the text is not JSON, all of it, or the list is too long.
pub(super) fn scan_list<'de>(
    json: &'de str,
    pointers: &[Pointer],
    found: &mut [Option<&'de str>],
    list: &mut List<'_, 'de>,
) -> Result<(), ReadError> {
    Walk { text: &mut Text::new(json), pointers, found, list: Some(list) }.all_of_it()
}

/// An array that is split where it is found.
#[derive(Debug)]
pub(super) struct List<'s, 'de> {
    /// Which pointer leads to it.
    pub(super) pointer: usize,
    /// How many items are too many.
    pub(super) max: usize,
    /// What to find in each item.
    pub(super) inside: &'s [Pointer],
    /// How many items were begun, in the array that was found last.
    pub(super) begun: usize,
    /// Its items; `None` while no array was found.
    pub(super) items: Option<Vec<Item<'de>>>,
    /// What was found in them: for each item, a place for each pointer.
    pub(super) found: Vec<Option<&'de str>>,
}

impl List<'_, '_> {
    /// Which item was being read, in words, and by what it can be recognised; for what is said of a text that cannot be read.
    pub(super) fn place(&self) -> String {
        if self.items.is_some() || self.begun == 0 {
            return String::new();
        }
        let known = self.found.rchunks(self.inside.len().max(1)).next().and_then(|found| *found.first()?);
        let known = known.map(|id| format!(" ({})", quote(id))).unwrap_or_default();
        format!("record {}{known} of the page: ", self.begun)
    }
}

/// An item of a list.
#[derive(Debug)]
pub(super) struct Item<'de> {
    /// All of it.
    pub(super) json: &'de str,
    /// What Postgres does not take of it.
    pub(super) storable: Result<(), Unstorable>,
}

struct Walk<'w, 's, 'de> {
    text: &'w mut Text<'de>,
    pointers: &'w [Pointer],
    found: &'w mut [Option<&'de str>],
    list: Option<&'w mut List<'s, 'de>>,
}

impl Walk<'_, '_, '_> {
    fn all_of_it(mut self) -> Result<(), ReadError> {
        self.text.space();
        self.value(all(self.pointers), 0)?;
        self.text.end()
    }

    /// A value that these pointers lead to, or through, with so many tokens.
    fn value(&mut self, live: u32, depth: usize) -> Result<(), ReadError> {
        if live == 0 {
            return self.text.skip();
        }
        place(self.found, live, None);
        let ending = ending(self.pointers, live, depth);
        let (begin, deeper) = (self.text.at(), live & !ending);
        let splits = self.list.as_ref().is_some_and(|list| ending & bit(list.pointer) != 0);
        match self.text.byte() {
            Some(b'{') if deeper != 0 => self.object(deeper, depth)?,
            Some(b'[') if deeper != 0 => self.array(deeper, depth)?,
            // Usually nothing else is looked for in the list.
            _ if splits => {}
            _ => self.text.skip()?,
        }
        if splits {
            self.text.back_to(begin);
            self.split()?;
        }
        if ending != 0 {
            place(self.found, ending, Some(self.text.since(begin)));
        }
        Ok(())
    }

    fn object(&mut self, live: u32, depth: usize) -> Result<(), ReadError> {
        let mut more = self.text.enter(b'}');
        while more {
            let (name, plain) = self.text.name()?;
            self.value(self.fitting_name(live, depth, name, plain), depth + 1)?;
            more = self.text.another()?;
        }
        Ok(())
    }

    fn array(&mut self, live: u32, depth: usize) -> Result<(), ReadError> {
        let mut more = self.text.enter(b']');
        let mut index = 0_usize;
        while more {
            let hit = fitting(self.pointers, live, depth, |token| token.parse() == Ok(index));
            self.value(hit, depth + 1)?;
            more = self.text.another()?;
            index += 1;
        }
        Ok(())
    }

    /// The list, if it is one.
    fn split(&mut self) -> Result<(), ReadError> {
        let Some(list) = &mut self.list else { return self.text.skip() };
        list.items = None;
        list.begun = 0;
        list.found.clear();
        if self.text.byte() != Some(b'[') {
            return self.text.skip();
        }
        let mut items = Vec::new();
        let mut more = self.text.enter(b']');
        while more {
            if items.len() == list.max {
                return Err(ReadError::TooMany(list.max));
            }
            list.begun += 1;
            let places = list.found.len();
            list.found.resize(places + list.inside.len(), None);
            let found = list.found.get_mut(places..).unwrap_or_default();
            let begin = self.text.at();
            self.text.begin();
            Walk { text: &mut *self.text, pointers: list.inside, found, list: None }
                .value(all(list.inside), 0)?;
            items.push(Item { json: self.text.since(begin), storable: self.text.storable() });
            more = self.text.another()?;
        }
        list.items = Some(items);
        Ok(())
    }

    fn fitting_name(&self, live: u32, depth: usize, quoted: &str, plain: bool) -> u32 {
        if plain {
            let name = quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or_default();
            return fitting(self.pointers, live, depth, |token| token == name);
        }
        // A name that is no text (half of a surrogate pair) fits nothing.
        let name: Option<String> = serde_json::from_str(quoted).ok();
        fitting(self.pointers, live, depth, |token| name.as_deref() == Some(token))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scanned<'j>(json: &'j str, pointers: &[&str]) -> (Vec<Option<&'j str>>, Result<(), Unstorable>) {
        let pointers: Vec<_> = pointers.iter().map(|text| Pointer::parse(text).unwrap()).collect();
        let mut found = vec![Some("before"); pointers.len()];
        let storable = scan(json, &pointers, &mut found).unwrap();
        (found, storable)
    }

    #[test]
    fn what_pointers_lead_to_is_verbatim() {
        let json = r#" { "a" : [ 1.50 , {"b":"\"}" , "é":null} , [ ] ] ,"c\u0064":true, "" : -1E+2 } "#;
        let pointers = ["/a/0", "/a/1/b", "/a/1/é", "/a/2", "/a", "/cd", "/", "/a/3", "/a/0/x", "/b"];
        let found = [
            Some("1.50"),
            Some(r#""\"}""#),
            Some("null"),
            Some("[ ]"),
            Some(r#"[ 1.50 , {"b":"\"}" , "é":null} , [ ] ]"#),
            Some("true"),
            Some("-1E+2"),
            None,
            None,
            None,
        ];
        assert_eq!(scanned(json, &pointers), (found.to_vec(), Ok(())));
        assert_eq!(scanned(json, &[""]).0, [Some(json.trim())]);
    }

    #[test]
    fn of_a_name_that_comes_twice_the_last_counts() {
        let json = r#"{"a":{"b":1,"b":2},"c":{"d":3},"c":4,"e":5,"e":{"f":6}}"#;
        assert_eq!(scanned(json, &["/a/b", "/c/d", "/c", "/e/f"]).0, [Some("2"), None, Some("4"), Some("6")]);
    }

    #[test]
    fn what_cannot_be_stored_hides_nothing() {
        let deep = format!("{}{}", "[".repeat(101), "]".repeat(101));
        for (bad, why) in [
            (r#""\u0000""#, Unstorable::Nul),
            (r#""\ud800""#, Unstorable::LoneSurrogate("d800".to_owned())),
            (r#"{"\udc00":[]}"#, Unstorable::LoneSurrogate("dc00".to_owned())),
            ("1e999999", Unstorable::Number("1e999999".to_owned())),
            (&deep, Unstorable::Nesting),
        ] {
            let json = format!(r#"{{"bad":{bad},"\ud800":0,"id":"x"}}"#);
            assert_eq!(scanned(&json, &["/id", "/bad"]), (vec![Some(r#""x""#), Some(bad)], Err(why)));
        }
    }
}
