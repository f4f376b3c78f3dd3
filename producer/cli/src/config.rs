//! `backhaul config`: what is configured, where, and what could be.

use crate::context::Context;
use crate::failure::Failure;
use crate::output::{Text, json_text};
use configuration::ApiConfig;
use configuration::{AuthConfig, ConfigError, Loaded, REFERENCE, Settings, flattened};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Every key of every section.
struct Values(BTreeMap<String, Value>);

impl Values {
    fn of(settings: &Settings, api: &ApiConfig, auth: &AuthConfig) -> Result<Self, Failure> {
        let mut sections = serde_json::to_value(settings).map_err(std::io::Error::from)?;
        sections["api"] = serde_json::to_value(api).map_err(std::io::Error::from)?;
        sections["auth"] = serde_json::to_value(auth).map_err(std::io::Error::from)?;
        let mut values = BTreeMap::new();
        for (section, value) in sections.as_object().into_iter().flatten() {
            values.extend(flattened(section, value));
        }
        Ok(Self(values))
    }

    fn get(&self, key: &str) -> &Value {
        self.0.get(key).unwrap_or(&Value::Null)
    }
}

/// Shows the configuration; what contradicts itself is shown too, and then complained about.
pub(crate) fn effective(context: &Context) -> Result<(), Failure> {
    let loaded = context.loaded();
    let settings = Settings::parse(loaded)?;
    let api: ApiConfig = loaded.section("api")?;
    let auth: AuthConfig = loaded.section("auth")?;
    let values = Values::of(&settings, &api, &auth)?;
    if context.output.is_json() {
        context.output.json(&as_json(&values, loaded))?;
    } else {
        context.output.line(as_toml(&values, loaded))?;
    }
    checked(&settings, &api, &auth)?;
    settings.credentials.keyring().map_err(|error| Failure::Refused(error.to_string()))?;
    Ok(())
}

/// Everything that can be said about a configuration without asking a server.
pub(crate) fn checked(settings: &Settings, api: &ApiConfig, auth: &AuthConfig) -> Result<(), ConfigError> {
    let mut problems = match settings.check() {
        Err(ConfigError::Contradiction { problems }) => problems,
        Err(other) => return Err(other),
        Ok(()) => Vec::new(),
    };
    problems.extend(api.check().err());
    problems.extend(auth.check().err());
    if problems.is_empty() { Ok(()) } else { Err(ConfigError::Contradiction { problems }) }
}

/// Every key, its meaning and its default, as a file to begin with.
pub(crate) fn defaults(context: &Context) -> Result<(), Failure> {
    let values = Values::of(&Settings::default(), &ApiConfig::default(), &AuthConfig::default())?;
    let keys: Vec<Value> = REFERENCE
        .iter()
        .map(|entry| json!({ "key": entry.key, "meaning": entry.meaning, "default": values.get(entry.key) }))
        .collect();
    context.output.either(&keys, || {
        sections(|key, meaning| {
            let name = key.split_once('.').map_or(key, |(_, name)| name);
            let value = toml(values.get(key)).map(|value| format!(" {value}")).unwrap_or_default();
            Text::from(format!("# {meaning}")).and(format!("# {name} ={value}"))
        })
    })
}

fn as_toml(values: &Values, loaded: &Loaded) -> Text {
    sections(|key, _meaning| {
        let name = key.split_once('.').map_or(key, |(_, name)| name);
        let origin = loaded.origin(key).unwrap_or_else(|| "default".to_owned());
        match toml(values.get(key)) {
            Some(value) => format!("{name} = {value}  # {origin}").into(),
            None => format!("# {name} is not set").into(),
        }
    })
}

fn as_json(values: &Values, loaded: &Loaded) -> Value {
    let mut sections = Map::new();
    for entry in REFERENCE {
        let (section, name) = entry.key.split_once('.').unwrap_or((entry.key, ""));
        let told = json!({ "value": values.get(entry.key), "origin": loaded.origin(entry.key) });
        sections.entry(section).or_insert_with(|| json!({}))[name] = told;
    }
    Value::Object(sections)
}

/// The reference, section by section, each key written by `lines`.
fn sections(lines: impl Fn(&str, &str) -> Text) -> Text {
    let (mut text, mut last) = (Text::default(), "");
    for entry in REFERENCE {
        let section = entry.key.split('.').next().unwrap_or_default();
        if section != last {
            if !last.is_empty() {
                text.push("");
            }
            last = section;
            text.push(format!("[{section}]"));
        }
        text.append(lines(entry.key, entry.meaning));
    }
    text
}

/// A value as TOML writes it; nothing for what is not set. A JSON text is a TOML text too.
fn toml(value: &Value) -> Option<String> {
    if value.is_null() { None } else { json_text(value).ok() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use configuration::{SECTIONS, load_from};
    use std::collections::{BTreeSet, HashMap};

    fn default_keys() -> BTreeSet<String> {
        let values = Values::of(&Settings::default(), &ApiConfig::default(), &AuthConfig::default()).unwrap();
        values.0.into_keys().collect()
    }

    #[test]
    fn the_reference_has_every_key_once_and_no_other() {
        let documented: Vec<String> = REFERENCE.iter().map(|entry| entry.key.to_owned()).collect();
        let unique: BTreeSet<String> = documented.iter().cloned().collect();
        assert_eq!(unique.len(), documented.len());
        assert_eq!(unique, default_keys(), "common/configuration/src/reference.rs differs from the sections");
        let sections: BTreeSet<&str> = unique.iter().filter_map(|key| key.split('.').next()).collect();
        assert_eq!(sections, SECTIONS.iter().copied().collect());
    }

    const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/configuration.md");
    const GENERATED: &str = "<!-- Generated from common/configuration/src/reference.rs. -->\n";

    /// Every key as a row, a table for each section.
    fn tables() -> String {
        let values = Values::of(&Settings::default(), &ApiConfig::default(), &AuthConfig::default()).unwrap();
        let (mut text, mut last) = (String::new(), "");
        for entry in REFERENCE {
            let (section, _) = entry.key.split_once('.').unwrap();
            if section != last {
                text.push_str(&format!("\n### `{section}`\n\n| key | default | meaning |\n|---|---|---|\n"));
                last = section;
            }
            // It follows from the machine.
            let of_machine = entry.key == "database.max_connections";
            let default = toml(values.get(entry.key))
                .filter(|_| !of_machine)
                .filter(|value| value != "\"\"" && value != "[]");
            let without = if of_machine { "2 per core" } else { "none" };
            let default = default.map_or_else(|| without.to_owned(), |value| format!("`{value}`"));
            text.push_str(&format!(
                "| `{}` | {default} | {} |\n",
                entry.key,
                entry.meaning.replace('|', "\\|")
            ));
        }
        text
    }

    #[test]
    fn the_documentation_has_every_key() {
        let document = std::fs::read_to_string(DOCUMENT).unwrap();
        let (written, generated) = document.split_once(GENERATED).expect("the mark");
        if std::env::var_os("RENDER").is_some() {
            std::fs::write(DOCUMENT, format!("{written}{GENERATED}{}", tables())).unwrap();
        } else {
            let again = "RENDER=1 cargo test -p cli --bin backhaul the_documentation_has_every_key";
            assert_eq!(generated, tables(), "docs/configuration.md is not up to date: {again}");
        }
    }

    /// `pages.retry.{initial,max}_ms` stands for two keys.
    fn spelled_out(name: &str) -> Vec<String> {
        match name.split_once('{').and_then(|(before, rest)| Some((before, rest.split_once('}')?))) {
            Some((before, (choices, after))) => {
                choices.split(',').map(|choice| format!("{before}{choice}{after}")).collect()
            }
            None => vec![name.to_owned()],
        }
    }

    #[test]
    fn the_documentation_names_keys_that_exist() {
        let (keys, mut named) = (default_keys(), 0);
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
        let docs = std::fs::read_dir(format!("{root}/docs")).unwrap().map(|entry| entry.unwrap().path());
        let pages = docs.filter(|path| path.extension().is_some_and(|extension| extension == "md"));
        for page in pages.chain([format!("{root}/README.md").into()]) {
            let text = std::fs::read_to_string(&page).unwrap();
            let names = text.split('`').skip(1).step_by(2).filter(|name| {
                let section = name.split_once('.').map(|(section, _)| section);
                let plain = name.chars().all(|it| it.is_ascii_lowercase() || "0123456789_.{,}".contains(it));
                plain
                    && !name.ends_with(".json")
                    && section.is_some_and(|section| SECTIONS.contains(&section))
            });
            for name in names.flat_map(spelled_out) {
                let group = format!("{name}.");
                let known = keys.contains(&name) || keys.iter().any(|key| key.starts_with(&group));
                assert!(known, "{} names `{name}`, which no section has", page.display());
                named += 1;
            }
        }
        assert!(named > 100, "only {named} keys were found in the documentation");
    }

    #[test]
    fn what_is_shown_can_be_read_again() {
        let environment = HashMap::from([
            ("DATABASE_URL".to_owned(), "postgres://me@127.0.0.1/x".to_owned()),
            ("BACKHAUL__PAGES__SLOTS".to_owned(), "7".to_owned()),
            ("BACKHAUL__LOG__FILTER".to_owned(), "info,\"odd\\=debug".to_owned()),
            ("BACKHAUL__HTTP__LISTEN".to_owned(), "[::]:80".to_owned()),
        ]);
        let loaded = load_from(None, environment).unwrap();
        let settings = Settings::parse(&loaded).unwrap();
        let values = Values::of(&settings, &ApiConfig::default(), &AuthConfig::default()).unwrap();
        let file = std::env::temp_dir().join(format!("backhaul-shown-{}.toml", std::process::id()));
        let shown = as_toml(&values, &loaded).to_string();
        assert!(shown.contains("slots = 7  # the environment variable BACKHAUL__PAGES__SLOTS"), "{shown}");
        assert!(shown.contains("quantum_ms = 250  # default"), "{shown}");
        std::fs::write(&file, &shown).unwrap();
        let again = load_from(Some(&file), HashMap::new());
        std::fs::remove_file(&file).unwrap();
        let again = Settings::parse(&again.unwrap()).unwrap();
        assert_eq!(Values::of(&again, &ApiConfig::default(), &AuthConfig::default()).unwrap().0, values.0);
    }
}
