//! `[credentials]`: the keys that seal the credentials of connections.

use super::secret::SecretText;
use sealing::{Key, KeyError, Keyring};
use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use std::fmt;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// `[credentials]`: the keys that seal the credentials of connections. Each is 32 bytes in base64, as
/// `backhaul admin generate-key` prints them.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct CredentialsConfig {
    /// The key that seals. Without one only connections without credentials can be stored.
    pub key: SecretText,
    /// The file that holds it, instead of `key`.
    pub key_file: Option<PathBuf>,
    /// Keys that still open what they sealed; in the environment separated by commas.
    #[serde(deserialize_with = "list")]
    pub old_keys: Vec<SecretText>,
    /// Files that hold such keys, one each.
    #[serde(deserialize_with = "list")]
    pub old_key_files: Vec<PathBuf>,
}

impl CredentialsConfig {
    /// The keys, the files read.
    ///
    /// # Errors
    /// Names the key or file that cannot be used; never shows a key.
    pub fn keyring(&self) -> Result<Keyring, KeyError> {
        let current = match (!self.key.is_empty(), &self.key_file) {
            (true, Some(_)) => {
                let problem = "is given beside credentials.key_file: keep one of them";
                return Err(KeyError::new("credentials.key", problem));
            }
            (true, None) => Some(Key::parse("credentials.key", self.key.expose())?),
            (false, Some(file)) => Some(read("credentials.key_file", file)?),
            (false, None) => None,
        };
        let mut old = Vec::new();
        for key in &self.old_keys {
            old.push(Key::parse("credentials.old_keys: one of them", key.expose())?);
        }
        for file in &self.old_key_files {
            old.push(read("credentials.old_key_files", file)?);
        }
        Ok(Keyring::new(current, old))
    }
}

fn read(name: &str, file: &Path) -> Result<Key, KeyError> {
    let name = format!("{name}: {}", file.display());
    let text = std::fs::read_to_string(file)
        .map_err(|error| KeyError::new(&name, format!("cannot be read ({error})")))?;
    Key::parse(&name, &Zeroizing::new(text))
}

/// A list in the file; in the environment, which has none, one text with commas.
fn list<'de, D: Deserializer<'de>, T: From<String> + Deserialize<'de>>(
    deserializer: D,
) -> Result<Vec<T>, D::Error> {
    struct List<T>(std::marker::PhantomData<T>);

    impl<'de, T: From<String> + Deserialize<'de>> Visitor<'de> for List<T> {
        type Value = Vec<T>;

        fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str("a list, or a text with commas")
        }

        fn visit_str<E>(self, text: &str) -> Result<Vec<T>, E> {
            let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
            Ok(parts.map(|part| T::from(part.to_owned())).collect())
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Vec<T>, A::Error> {
            let mut all = Vec::new();
            while let Some(item) = items.next_element()? {
                all.push(item);
            }
            Ok(all)
        }
    }

    deserializer.deserialize_any(List(std::marker::PhantomData))
}
