//! `backhaul config`: what is configured, where, and what could be.

use crate::context::Context;
use crate::failure::Failure;
use crate::output::{Text, json_text};
use common::config::{AuthConfig, ConfigError, Loaded, REFERENCE, Settings, flattened};
use producer::config::ApiConfig;
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
    use common::config::{SECTIONS, load_from};
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
        assert_eq!(unique, default_keys(), "common/src/config/reference.rs differs from the sections");
        let sections: BTreeSet<&str> = unique.iter().filter_map(|key| key.split('.').next()).collect();
        assert_eq!(sections, SECTIONS.iter().copied().collect());
    }

    #[test]
    fn the_readme_names_keys_that_exist() {
        let readme = include_str!("../../../../README.md");
        let (_, rest) = readme.split_once("## Configuration").unwrap();
        let (section, _) = rest.split_once("\n## ").unwrap();
        let keys = default_keys();
        let mut named = 0;
        for row in section.lines().filter_map(|line| line.strip_prefix("| `")) {
            let (cell, _) = row.split_once('|').unwrap();
            for name in cell.split('`').filter(|name| name.contains('.')) {
                // `pages.retry.{initial,max}_ms` stands for two keys.
                let names = match name.split_once('{').zip(name.split_once('}')) {
                    Some(((before, choices), (_, after))) => {
                        let choices = choices.split('}').next().unwrap().split(',');
                        choices.map(|choice| format!("{before}{choice}{after}")).collect()
                    }
                    None => vec![name.to_owned()],
                };
                for name in names {
                    assert!(keys.contains(&name), "the README names `{name}`, which no section has");
                    named += 1;
                }
            }
        }
        assert!(named > 20, "only {named} keys were found in the README");
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
