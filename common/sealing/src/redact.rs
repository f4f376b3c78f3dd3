//! Takes known secrets out of text that came from outside.
//!
//! The beginning of an upstream's answer is kept with an error, so that a person can see what it was. An upstream that
//! echoes what it was sent, as debugging pages do, would write the credentials there. So whatever is kept is searched for
//! them: as they are, as JSON, HTML, a URL or a host's name would write them, and in base64 and hexadecimal.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use serde_json::Value;
use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};
use std::fmt;
use zeroize::Zeroizing;

const MARK: &str = "[redacted]";
/// Shorter values are words, not secrets: taking out every `eu` would leave nothing readable.
const SHORTEST: usize = 4;
/// A text that was cut may end in the middle of a secret; this much of its beginning counts as the secret.
const TELLING: usize = 8;
/// At the very end of a text less is enough.
const TELLING_AT_END: usize = 3;
/// Letters and digits in a row that are a secret of their own, within one that has punctuation too.
const WORD: usize = 12;

/// The most texts that the credentials of a connection may have: each is looked for in what its upstream sends.
pub const MOST_TEXTS: usize = 50;

/// Whether a connection may have these credentials.
///
/// # Errors
/// A sentence for whoever gave them.
pub fn check(credentials: &Value) -> Result<(), String> {
    let mut texts = 0;
    each_text(credentials, &mut |_secret| texts += 1);
    if texts > MOST_TEXTS {
        return Err(format!(
            "they have {texts} texts, at most {MOST_TEXTS} are accepted; leave out what the source does not need"
        ));
    }
    Ok(())
}

/// What must not be kept, in every form in which it may come back.
///
/// By their first three bytes, which is the least that gives one away: so each place of a text is compared with few of them,
/// however many there are.
#[derive(Clone, Default)]
pub struct Redactor(HashMap<[u8; TELLING_AT_END], Vec<Zeroizing<Vec<u8>>>>);

impl Redactor {
    /// Looks for every text value of these credentials.
    #[must_use]
    pub fn of(credentials: &Value) -> Self {
        let mut forms = BTreeSet::new();
        each_text(credentials, &mut |secret| add_forms(secret, &mut forms));
        let mut by_beginning: HashMap<_, Vec<_>> = HashMap::new();
        for form in forms {
            if let Some(beginning) = form.first_chunk() {
                by_beginning.entry(*beginning).or_default().push(Zeroizing::new(form));
            }
        }
        Self(by_beginning)
    }

    /// The text without the secrets.
    #[must_use]
    pub fn redact<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let bytes = text.as_bytes();
        let mut kept: Option<Vec<u8>> = None;
        let (mut at, mut copied) = (0, 0);
        while at < bytes.len() {
            let rest = bytes.get(at..).unwrap_or_default();
            match self.beginning(rest).map(|form| telling(form, rest)).max() {
                Some(found) if found > 0 => {
                    let kept = kept.get_or_insert_default();
                    kept.extend_from_slice(bytes.get(copied..at).unwrap_or_default());
                    kept.extend_from_slice(MARK.as_bytes());
                    at += found;
                    copied = at;
                }
                _ => at += 1,
            }
        }
        let Some(mut kept) = kept else { return Cow::Borrowed(text) };
        kept.extend_from_slice(bytes.get(copied..).unwrap_or_default());
        // A secret that is cut inside a character leaves half of it.
        Cow::Owned(String::from_utf8_lossy(&kept).into_owned())
    }

    /// Whether a secret is in the text, whole.
    #[must_use]
    pub fn finds(&self, text: &str) -> bool {
        let bytes = text.as_bytes();
        (0..bytes.len()).any(|at| {
            let rest = bytes.get(at..).unwrap_or_default();
            self.beginning(rest).any(|form| rest.starts_with(form))
        })
    }

    /// The forms that begin like a text.
    fn beginning(&self, text: &[u8]) -> impl Iterator<Item = &Zeroizing<Vec<u8>>> {
        text.first_chunk().and_then(|beginning| self.0.get(beginning)).into_iter().flatten()
    }
}

impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Redactor({} forms)", self.0.values().map(Vec::len).sum::<usize>())
    }
}

/// How many bytes at the beginning of `rest` give `form` away; 0 if none.
fn telling(form: &[u8], rest: &[u8]) -> usize {
    let agreeing = form.iter().zip(rest).take_while(|(one, other)| one == other).count();
    let enough =
        if agreeing == rest.len() { TELLING_AT_END } else { (form.len() / 2).clamp(SHORTEST, TELLING) };
    if agreeing >= enough.min(form.len()) { agreeing } else { 0 }
}

fn each_text(value: &Value, found: &mut impl FnMut(&str)) {
    match value {
        Value::String(text) => found(text),
        Value::Array(items) => items.iter().for_each(|item| each_text(item, found)),
        Value::Object(fields) => fields.values().for_each(|field| each_text(field, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn add_forms(secret: &str, forms: &mut BTreeSet<Vec<u8>>) {
    if secret.len() < SHORTEST {
        return;
    }
    let mut add = |form: String| {
        if form.len() >= SHORTEST {
            forms.insert(form.into_bytes());
        }
    };
    let plain_json = json(secret);
    add(plain_json.replace('/', "\\/"));
    add(ascii(&plain_json));
    add(json(&plain_json));
    add(html(secret));
    let url: String = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
    add(url.replace('+', "%20"));
    add(lower_escapes(&url));
    add(url);
    let hex: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
    add(hex.to_uppercase());
    add(hex);
    // What a writer does that is not foreseen here, it does to punctuation.
    let words = secret.split(|char: char| !char.is_ascii_alphanumeric()).filter(|word| word.len() >= WORD);
    for text in words.chain([secret, plain_json.as_str()]) {
        for engine in [STANDARD_NO_PAD, URL_SAFE_NO_PAD] {
            (0..3).for_each(|shift| add(inside_base64(&engine, text, shift)));
        }
        add(text.to_owned());
        // As part of a host's name. A short one would be a word.
        if text.len() >= TELLING {
            add(text.to_ascii_lowercase());
        }
    }
}

/// What is the same in the base64 of every text that has the secret at a place that is `shift` modulo three: the
/// characters at its edges depend on its neighbours.
fn inside_base64(engine: &impl Engine, secret: &str, shift: usize) -> String {
    let mut shifted = vec![0; shift];
    shifted.extend_from_slice(secret.as_bytes());
    let whole = shifted.len() * 8 / 6;
    let encoded = engine.encode(&*Zeroizing::new(shifted));
    encoded.get((shift * 8).div_ceil(6)..whole).unwrap_or_default().to_owned()
}

fn json(text: &str) -> String {
    let quoted = Value::from(text).to_string();
    quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or_default().to_owned()
}

/// JSON as writers make it that escape whatever is not ASCII.
fn ascii(json: &str) -> String {
    let mut escaped = String::new();
    for unit in json.encode_utf16() {
        match u8::try_from(unit) {
            Ok(byte) if byte.is_ascii() => escaped.push(char::from(byte)),
            _ => escaped.push_str(&format!("\\u{unit:04x}")),
        }
    }
    escaped
}

fn html(text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    text.replace('"', "&quot;").replace('\'', "&#39;")
}

/// `%2f` instead of `%2F`.
fn lower_escapes(url: &str) -> String {
    let mut pieces = url.split('%');
    let mut lower = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let (digits, rest) = piece.split_at_checked(2).unwrap_or((piece, ""));
        lower.push('%');
        lower.push_str(&digits.to_ascii_lowercase());
        lower.push_str(rest);
    }
    lower
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::engine::general_purpose::STANDARD;
    use serde_json::json;

    const SECRET: &str = "sk-\"Q\\/+ü&9f3aKz";

    fn redactor() -> Redactor {
        Redactor::of(
            &json!({"api_key": SECRET, "nested": [{"token": "another-one"}], "zone": "eu", "port": 443}),
        )
    }

    #[test]
    fn credentials_have_so_many_texts_and_not_one_more() {
        let texts = |number: usize| json!({ "keys": vec!["s3cret"; number], "port": 443 });
        assert!(check(&texts(MOST_TEXTS)).is_ok() && check(&json!({})).is_ok());
        let refused = check(&texts(MOST_TEXTS + 1)).unwrap_err();
        assert!(refused.contains("51 texts") && !refused.contains("s3cret"), "{refused}");
    }

    #[test]
    fn every_form_is_taken_out() {
        let url: String = url::form_urlencoded::byte_serialize(SECRET.as_bytes()).collect();
        let forms = [
            SECRET.to_owned(),
            json!(SECRET).to_string(),
            json!(json!({ "h": SECRET }).to_string()).to_string(),
            json!(SECRET).to_string().replace('/', "\\/"),
            ascii(&json!(SECRET).to_string()),
            html(SECRET),
            url.clone(),
            lower_escapes(&url),
            SECRET.bytes().map(|byte| format!("{byte:02x}")).collect(),
            SECRET.to_ascii_lowercase(),
        ];
        for form in forms {
            let text = format!("X-API-Key: {form}; Zone: eu");
            let redacted = redactor().redact(&text).into_owned();
            assert!(redactor().finds(&text) && !redactor().finds(&redacted), "{form}: {redacted}");
            assert!(redacted.starts_with("X-API-Key: ") && redacted.ends_with("; Zone: eu"), "{redacted}");
            assert!(redacted.contains(MARK) && !redacted.contains("9f3a"), "{redacted}");
        }
    }

    #[test]
    fn base64_of_any_neighbourhood_is_taken_out() {
        let written = [SECRET.to_owned(), json(SECRET)];
        for (before, secret) in
            ["", "a", "ab", "user:"].into_iter().flat_map(|it| written.iter().map(move |s| (it, s)))
        {
            for after in ["", "z", "zz", "\"}"] {
                let text = STANDARD.encode(format!("{before}{secret}{after}"));
                let redacted = redactor().redact(&text).into_owned();
                assert!(redactor().finds(&text), "{before:?} {after:?}");
                assert!(redacted.contains(MARK) && redacted.len() < MARK.len() + 14, "{redacted}");
            }
        }
    }

    #[test]
    fn a_secret_that_was_cut_is_taken_out_too() {
        let whole = redactor();
        assert_eq!(whole.redact("key: another-o… and so on"), "key: [redacted]… and so on");
        assert_eq!(whole.redact("key: anot"), "key: [redacted]");
        assert_eq!(whole.redact("another-one another-one"), "[redacted] [redacted]");
        let cut = "ends in the middle of ü".replace('ü', "sk-\"Q\\/+");
        assert_eq!(whole.redact(&cut), "ends in the middle of [redacted]");
    }

    #[test]
    fn a_long_word_of_a_secret_is_taken_out_whatever_became_of_the_rest() {
        let redactor = Redactor::of(&json!("%<9f3aKz81LmQ2>&"));
        assert_eq!(redactor.redact("q=(<9f3aKz81LmQ2;x"), "q=(<[redacted];x");
        assert!(redactor.finds("q=(<9f3aKz81LmQ2;x"));
    }

    #[test]
    fn what_is_no_secret_stays() {
        for text in ["", "the upstream answered 500", "zone eu, port 443", "an other one", "sk-"] {
            assert_eq!(redactor().redact(&format!("{text}.")), format!("{text}."));
        }
        assert_eq!(Redactor::default().redact(SECRET), SECRET);
        assert!(!format!("{:?}", redactor()).contains("9f3a"));
    }
}
