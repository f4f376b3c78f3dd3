//! Reads JSON that is known to be well-formed, in one pass and without building a tree: what pointers lead to, and whether
//! Postgres stores it. A record was checked when its page was split, so that nothing here is a question of syntax.

use super::pointer::{Pointer, all, ending, fitting, place};
use super::storable::{MAX_NESTING, Unstorable, number, string};

/// What pointers lead to in a text, verbatim, one place for each; of a name that an object has twice, the last one counts,
/// as it does in Postgres. The places must be as many as the pointers, and are overwritten.
///
/// # Errors
/// What Postgres does not take, the first of it. The places are as they would be without it.
pub(super) fn scan<'de>(
    json: &'de str,
    pointers: &[Pointer],
    found: &mut [Option<&'de str>],
) -> Result<(), Unstorable> {
    found.fill(None);
    let mut scan = Scan { json, at: 0, pointers, found, nesting: 0, wrong: None };
    scan.space();
    scan.value(all(pointers), 0);
    scan.wrong.map_or(Ok(()), Err)
}

struct Scan<'s, 'de> {
    json: &'de str,
    at: usize,
    pointers: &'s [Pointer],
    found: &'s mut [Option<&'de str>],
    nesting: usize,
    wrong: Option<Unstorable>,
}

impl<'de> Scan<'_, 'de> {
    fn byte(&self) -> Option<u8> {
        self.json.as_bytes().get(self.at).copied()
    }

    fn space(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t' | b',' | b':') = self.byte() {
            self.at += 1;
        }
    }

    /// A value that these pointers lead to, or through, with so many tokens.
    fn value(&mut self, live: u32, depth: usize) {
        if live == 0 {
            return self.skip();
        }
        place(self.found, live, None);
        let ending = ending(self.pointers, live, depth);
        let begin = self.at;
        let deeper = live & !ending;
        match self.byte() {
            Some(b'{') if deeper != 0 => self.object(deeper, depth),
            Some(b'[') if deeper != 0 => self.array(deeper, depth),
            _ => self.skip(),
        }
        if ending != 0 {
            place(self.found, ending, self.json.get(begin..self.at));
        }
    }

    fn object(&mut self, live: u32, depth: usize) {
        self.token();
        self.space();
        while self.byte() == Some(b'"') {
            let begin = self.at;
            let plain = self.text();
            let hit =
                self.fitting_name(live, depth, self.json.get(begin..self.at).unwrap_or_default(), plain);
            self.space();
            self.value(hit, depth + 1);
            self.space();
        }
        self.token();
    }

    fn array(&mut self, live: u32, depth: usize) {
        self.token();
        self.space();
        let mut index = 0_usize;
        while !matches!(self.byte(), None | Some(b']')) {
            let hit = fitting(self.pointers, live, depth, |token| token.parse() == Ok(index));
            self.value(hit, depth + 1);
            self.space();
            index += 1;
        }
        self.token();
    }

    /// A value in which nothing is looked for.
    fn skip(&mut self) {
        let outside = self.nesting;
        loop {
            self.token();
            if self.nesting <= outside || self.at >= self.json.len() {
                return;
            }
        }
    }

    /// A text; whether it is as it is written.
    fn text(&mut self) -> bool {
        string(self.json, &mut self.at, &mut self.wrong)
    }

    /// One bracket, text, or number; of anything else a byte, or all of a word.
    fn token(&mut self) {
        match self.byte() {
            Some(b'"') => {
                self.text();
            }
            Some(b'-' | b'0'..=b'9') => number(self.json, &mut self.at, &mut self.wrong),
            Some(b'{' | b'[') => {
                self.at += 1;
                self.nesting += 1;
                if self.nesting > MAX_NESTING {
                    self.wrong.get_or_insert(Unstorable::Nesting);
                }
            }
            Some(b'}' | b']') => {
                self.at += 1;
                self.nesting = self.nesting.saturating_sub(1);
            }
            Some(b'a'..=b'z') => {
                while let Some(b'a'..=b'z') = self.byte() {
                    self.at += 1;
                }
            }
            Some(_) => self.at += 1,
            None => {}
        }
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
        let storable = scan(json, &pointers, &mut found);
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
