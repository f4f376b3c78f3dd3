//! Reads the header `Link` (RFC 8288), for the page that comes next.

use std::iter::Peekable;
use std::str::Chars;

/// The target of the first link whose relation is `next`, as it is written: a URL, absolute or relative.
///
/// `fields` are the values of every `Link` header of an answer, in order. Links about something else than the answer
/// (with an `anchor`) do not count, and one that says `results=false` leads to nothing, as Sentry has it.
pub(super) fn next<'v>(fields: impl IntoIterator<Item = &'v str>) -> Result<Option<String>, String> {
    for field in fields {
        let mut reader = Reader { rest: field.chars().peekable() };
        while let Some(link) = reader.link()? {
            if link.is_next && !link.is_elsewhere {
                return Ok(Some(link.target).filter(|_| !link.is_empty));
            }
        }
    }
    Ok(None)
}

#[derive(Debug)]
struct Link {
    target: String,
    is_next: bool,
    is_elsewhere: bool,
    is_empty: bool,
}

struct Reader<'v> {
    rest: Peekable<Chars<'v>>,
}

impl Reader<'_> {
    /// The next link; `None` at the end of the field.
    fn link(&mut self) -> Result<Option<Link>, String> {
        // A list may have empty members.
        while self.rest.next_if(|c| c.is_ascii_whitespace() || *c == ',').is_some() {}
        match self.rest.next() {
            None => return Ok(None),
            Some('<') => {}
            Some(other) => return Err(format!("a link must begin with <, not with {other:?}")),
        }
        let mut target = String::new();
        loop {
            match self.rest.next() {
                Some('>') => break,
                Some(c) => target.push(c),
                None => return Err("a link's < has no >".to_owned()),
            }
        }
        let target = target.trim().to_owned();
        let mut link = Link { target, is_next: false, is_elsewhere: false, is_empty: false };
        let mut has_rel = false;
        loop {
            self.blanks();
            match self.rest.next() {
                None | Some(',') => return Ok(Some(link)),
                Some(';') => {}
                Some(other) => return Err(format!("{other:?} stands where ; or , is expected")),
            }
            let (name, value) = self.parameter()?;
            // Only the first rel of a link counts.
            if name == "rel" && !has_rel {
                has_rel = true;
                link.is_next = value.split_ascii_whitespace().any(|rel| rel.eq_ignore_ascii_case("next"));
            }
            link.is_elsewhere |= name == "anchor";
            link.is_empty |= name == "results" && value.eq_ignore_ascii_case("false");
        }
    }

    /// A parameter's name in lower case, and its value without quotes. Both are empty between two semicolons.
    fn parameter(&mut self) -> Result<(String, String), String> {
        self.blanks();
        let name = self.token();
        self.blanks();
        if self.rest.next_if_eq(&'=').is_none() {
            return Ok((name.to_ascii_lowercase(), String::new()));
        }
        self.blanks();
        if self.rest.next_if_eq(&'"').is_none() {
            return Ok((name.to_ascii_lowercase(), self.token()));
        }
        let mut value = String::new();
        loop {
            match self.rest.next() {
                Some('"') => return Ok((name.to_ascii_lowercase(), value)),
                Some('\\') => value.extend(self.rest.next()),
                Some(c) => value.push(c),
                None => return Err(format!("the quotes of {name:?} are not closed")),
            }
        }
    }

    fn token(&mut self) -> String {
        let mut token = String::new();
        while let Some(c) =
            self.rest.next_if(|c| !c.is_ascii_whitespace() && !matches!(c, ';' | ',' | '=' | '"'))
        {
            token.push(c);
        }
        token
    }

    fn blanks(&mut self) {
        while self.rest.next_if(char::is_ascii_whitespace).is_some() {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(field: &str) -> Option<String> {
        next([field]).unwrap()
    }

    #[test]
    fn next_is_found_among_other_links() {
        let github = r#"<https://api.github.com/r/1/issues?page=1>; rel="prev", <https://api.github.com/r/1/issues?page=3>; rel="next", <https://api.github.com/r/1/issues?page=9>; rel="last""#;
        assert_eq!(read(github).as_deref(), Some("https://api.github.com/r/1/issues?page=3"));
        for field in [
            "</n>; rel=next",
            "</n>;rel=next",
            "</n> ; REL = \"NEXT\"",
            "</n>; rel=\"last next\"",
            "</n>; title=\"a, <b>; rel=prev\"; rel=next",
            "</n>; title=\"a \\\" rel=x\"; rel=next",
            "</n>; rel=next; rel=prev",
            ", ,</x>; rel=prev,,</n>; crossorigin; ;rel=next,",
            "</x,y;rel=next>; rel=prev, < /n >; rel=next",
            "</n>; rel=next, </other>; rel=next",
            "</p>; rel=prev; results=false, </n>; rel=next; results=true",
            "</x>; rel=next; anchor=\"/elsewhere\", </n>; rel=next",
        ] {
            assert_eq!(read(field).as_deref(), Some("/n"), "{field}");
        }
    }

    #[test]
    fn no_next_is_the_end() {
        for field in [
            "",
            " , ",
            "</p>; rel=prev",
            "</p>; rel=\"nextpage\"",
            "</p>; rel=prev; rel=next",
            "</p>; title=next",
            "</p>",
            "</p>; rel",
            "</n>; rel=\"next\"; results=\"false\"; cursor=\"0:100:0\"",
            "</n>; results=false; rel=next",
        ] {
            assert_eq!(read(field), None, "{field}");
        }
        assert_eq!(next([]).unwrap(), None);
        assert_eq!(next(["</p>; rel=prev", "</n>; rel=next"]).unwrap().as_deref(), Some("/n"));
    }

    #[test]
    fn what_is_no_link_is_refused() {
        for field in
            ["/n; rel=next", "</n; rel=next", "</n>; rel=\"next", "</n> rel=next", "</n>; rel=a\"b\""]
        {
            assert!(next([field]).is_err(), "{field}");
        }
    }

    proptest::proptest! {
        #[test]
        fn nothing_panics(field in ".{0,80}") {
            drop(next([field.as_str()]));
        }
    }
}
