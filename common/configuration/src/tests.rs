use super::*;
use std::time::Duration;

fn environment(pairs: &[(&str, &str)]) -> HashMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn loaded(pairs: &[(&str, &str)]) -> Loaded {
    load_from(None, environment(pairs)).unwrap()
}

fn complaint<T: DeserializeOwned>(section: &str, pairs: &[(&str, &str)]) -> String {
    loaded(pairs).section::<T>(section).err().unwrap().to_string()
}

fn problems(pairs: &[(&str, &str)]) -> String {
    let mut all = vec![("DATABASE_URL", "postgres://root@127.0.0.1/x")];
    all.extend_from_slice(pairs);
    Settings::read(&loaded(&all)).err().unwrap().to_string()
}

/// A file that lives as long as the test.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str, text: &str) -> Self {
        let path = std::env::temp_dir().join(format!("{}.toml", Self::stem(name)));
        std::fs::write(&path, text).unwrap();
        Self(path)
    }

    fn stem(name: &str) -> String {
        format!("backhaul-config-{}-{name}", std::process::id())
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _removed = std::fs::remove_file(&self.0);
    }
}

#[test]
fn with_nothing_set_the_documented_defaults_hold() {
    let settings = Settings::read(&loaded(&[("DATABASE_URL", "postgres://root@127.0.0.1/x")])).unwrap();
    assert_eq!(settings.pages.slots, 40);
    assert_eq!(settings.pages.quantum, Duration::from_millis(250));
    assert_eq!(settings.leases.duration, Duration::from_secs(20));
    assert_eq!(settings.pages.give_up_after, Duration::from_secs(86_400));
    assert_eq!(settings.http.listen_or(8080), "127.0.0.1:8080".parse().unwrap());
    assert!((1..=8).contains(&settings.database.max_connections));
}

#[test]
fn the_environment_wins_over_the_file_and_the_file_over_the_fallback() {
    let file = Scratch::new("order", "[pages]\nslots = 10\nquantum_ms = 0\n[amqp]\nurl = \"amqp://file\"\n");
    let variables = environment(&[
        ("BACKHAUL_CONFIG", file.0.to_str().unwrap()),
        ("BACKHAUL__PAGES__SLOTS", "20"),
        ("BACKHAUL__PAGES__DEATHS", ""),
        ("AMQP_URL", "amqp://fallback"),
        ("DATABASE_URL", "postgres://fallback/x"),
    ]);
    let loaded = load_from(None, variables).unwrap();
    let pages: PagesConfig = loaded.section("pages").unwrap();
    assert_eq!((pages.slots, pages.quantum, pages.deaths), (20, Duration::ZERO, 5));
    let amqp: AmqpConfig = loaded.section("amqp").unwrap();
    assert_eq!(amqp.url, "amqp://file");
    let database: DatabaseConfig = loaded.section("database").unwrap();
    assert_eq!(database.url.expose(), "postgres://fallback/x");
}

#[test]
fn an_error_names_key_value_origin_and_what_is_accepted() {
    assert_eq!(
        complaint::<PagesConfig>("pages", &[("BACKHAUL__PAGES__SLOTS", "many")]),
        "`pages.slots` is \"many\" in the environment variable BACKHAUL__PAGES__SLOTS: expected an integer"
    );
    assert_eq!(
        complaint::<LogConfig>("log", &[("BACKHAUL__LOG__FORMAT", "xml")]),
        "`log.format` is \"xml\" in the environment variable BACKHAUL__LOG__FORMAT: expected `text` or `json`"
    );
    assert!(
        complaint::<HttpConfig>("http", &[("BACKHAUL__HTTP__LISTEN", "8080")])
            .contains("such as 127.0.0.1:8080")
    );
    assert!(
        complaint::<PagesConfig>("pages", &[("BACKHAUL__PAGES__QUANTUM_MS", "-1")])
            .contains("`pages.quantum_ms`")
    );
}

#[test]
fn an_error_in_the_file_names_the_file() {
    let file = Scratch::new("bad-value", "[pages]\nslots = \"many\"\n");
    let error =
        load_from(Some(&file.0), HashMap::new()).unwrap().section::<PagesConfig>("pages").err().unwrap();
    let place = format!("{}, line 2, column 9", file.0.display());
    assert_eq!(error.to_string(), format!("`pages.slots` is \"many\" in {place}: expected an integer"));

    let broken = Scratch::new("broken", "[pages\n");
    let error = load_from(Some(&broken.0), HashMap::new()).err().unwrap().to_string();
    assert!(error.contains(broken.0.to_str().unwrap()), "{error}");
    assert!(load_from(Some(Path::new("/nowhere.toml")), HashMap::new()).is_err());
}

#[test]
fn misspelt_keys_and_sections_are_errors() {
    let error = complaint::<PagesConfig>("pages", &[("BACKHAUL__PAGES__SLOT", "3")]);
    assert!(
        error.starts_with("`pages.slot` is (hidden) in the environment variable BACKHAUL__PAGES__SLOT"),
        "{error}"
    );
    assert!(error.contains("`slots`"), "{error}");

    let error = complaint::<PagesConfig>("pages", &[("BACKHAUL__PAGES__RETRY__MAXIMUM_MS", "3")]);
    assert!(error.starts_with("`pages.retry.maximum_ms` is (hidden)"), "{error}");

    let error = load_from(None, environment(&[("BACKHAUL__PAEGS__SLOTS", "3")])).err().unwrap().to_string();
    assert!(error.contains("`paegs`") && error.contains("pages, leases"), "{error}");

    let error = complaint::<PagesConfig>("pages", &[("BACKHAUL__PAGES", "3")]);
    assert!(error.starts_with("`pages` is (hidden) in the environment variable BACKHAUL__PAGES:"), "{error}");
}

#[test]
fn half_of_a_retry_policy_may_be_set() {
    let pages: PagesConfig =
        loaded(&[("BACKHAUL__PAGES__RETRY__INITIAL_MS", "20")]).section("pages").unwrap();
    assert_eq!((pages.retry.initial, pages.retry.max), (Duration::from_millis(20), Duration::from_secs(60)));
    let amqp: AmqpConfig = loaded(&[("BACKHAUL__AMQP__RECONNECT__MAX_MS", "900")]).section("amqp").unwrap();
    assert_eq!((amqp.reconnect.initial.as_millis(), amqp.reconnect.max.as_millis()), (200, 900));
}

#[test]
fn keys_of_credentials_are_read_from_everywhere_and_shown_nowhere() {
    let (key, old) = (sealing::Key::generate(), sealing::Key::generate());
    let (key_text, old_text) = (key.expose().to_string(), old.expose().to_string());
    let file = Scratch::new("key", &format!("{old_text}\n"));
    let list = format!("[credentials]\nold_keys = [\"{key_text}\", \"{old_text}\"]\n");
    let list = Scratch::new("old-keys", &list);
    let path = file.0.to_str().unwrap();

    let read = |pairs: &[(&str, &str)]| {
        let config: CredentialsConfig = loaded(pairs).section("credentials").unwrap();
        let said = format!("{config:?}");
        assert!(!said.contains(&key_text) && !said.contains(&old_text), "{said}");
        config.keyring().map(|ring| ring.ids().collect::<Vec<_>>()).map_err(|error| error.to_string())
    };
    let name = "BACKHAUL__CREDENTIALS__KEY";
    assert_eq!(read(&[]).unwrap(), []);
    assert_eq!(
        read(&[(name, &key_text), ("BACKHAUL__CREDENTIALS__OLD_KEY_FILES", path)]).unwrap(),
        [key.id(), old.id()]
    );
    let both = format!("{key_text}, {old_text}");
    let given =
        [("BACKHAUL__CREDENTIALS__KEY_FILE", path), ("BACKHAUL__CREDENTIALS__OLD_KEYS", both.as_str())];
    assert_eq!(read(&given).unwrap(), [old.id(), key.id(), old.id()]);
    assert_eq!(read(&[("BACKHAUL_CONFIG", list.0.to_str().unwrap())]).unwrap(), [key.id(), old.id()]);
    assert!(
        read(&[(name, &key_text), ("BACKHAUL__CREDENTIALS__KEY_FILE", path)])
            .unwrap_err()
            .contains("keep one")
    );
    assert!(
        read(&[("BACKHAUL__CREDENTIALS__KEY_FILE", "/nowhere")])
            .unwrap_err()
            .contains("key_file: /nowhere cannot")
    );
}

#[test]
fn a_wrong_item_of_a_list_is_named_and_not_shown() {
    let file = Scratch::new("items", "[credentials]\nold_keys = [\"s3cret\", [\"s3cret\"]]\n");
    let loaded = load_from(Some(&file.0), HashMap::new()).unwrap();
    let error = loaded.section::<CredentialsConfig>("credentials").err().unwrap().to_string();
    assert!(error.starts_with("`credentials.old_keys[1]`") && !error.contains("s3cret"), "{error}");
}

#[test]
fn an_origin_is_told() {
    let file = Scratch::new("origin", "[pages]\nslots = 10\n");
    let variables = [("DATABASE_URL", "postgres://x/y"), ("BACKHAUL__PAGES__RETRY__MAX_MS", "7")];
    let loaded = load_from(Some(&file.0), environment(&variables)).unwrap();
    assert!(loaded.origin("pages.slots").unwrap().contains(&Scratch::stem("origin")));
    assert_eq!(loaded.origin("database.url").unwrap(), "the environment variable DATABASE_URL");
    let max = loaded.origin("pages.retry.max_ms").unwrap();
    assert_eq!(max, "the environment variable BACKHAUL__PAGES__RETRY__MAX_MS");
    assert_eq!(loaded.origin("pages.retry.initial_ms"), None);
    assert_eq!(loaded.origin("pages.deaths"), None);
}

#[test]
fn a_needed_url_says_how_to_set_it() {
    let error = Settings::read(&loaded(&[])).err().unwrap().to_string();
    assert_eq!(
        error,
        "`database.url` is not set: set BACKHAUL__DATABASE__URL, or DATABASE_URL, or `url` under [database] in the \
         configuration file"
    );
}

#[test]
fn no_message_shows_a_secret() {
    #[derive(Debug, serde::Deserialize)]
    struct Strict {
        #[expect(dead_code, reason = "read only through Debug")]
        url: url::Url,
    }
    let loaded = loaded(&[("BACKHAUL__AMQP__URL", "amqp//user:s3cret@nowhere")]);
    let error = loaded.section::<Strict>("amqp").err().unwrap();
    let database = SecretUrl::new("postgres://u:s3cret@h/x");
    let shown =
        format!("{error} {error:?} {loaded:?} {:?}", DatabaseConfig { url: database, ..Default::default() });
    assert!(shown.contains("amqp.url") && !shown.contains("s3cret"), "{shown}");
}

#[test]
fn contradictions_are_all_told_at_once() {
    let error = problems(&[
        ("BACKHAUL__LEASES__DURATION_MS", "10000"),
        ("BACKHAUL__PAGES__BUDGET_MS", "300001"),
        ("BACKHAUL__PAGES__DEATHS", "2"),
    ]);
    for part in ["leases.duration_ms (10000)", "pages.budget_ms (300001)", "pages.deaths (2)"] {
        assert!(error.contains(part), "{error}");
    }
    assert!(problems(&[("BACKHAUL__DATABASE__LOCK_TIMEOUT_MS", "0")]).contains("must not be 0"));
}

#[test]
fn scaled_times_for_tests_are_accepted() {
    let settings = Settings::read(&loaded(&[
        ("DATABASE_URL", "postgres://root@127.0.0.1/x"),
        ("BACKHAUL__LEASES__DURATION_MS", "600"),
        ("BACKHAUL__LEASES__RENEW_EVERY_MS", "200"),
        ("BACKHAUL__SWEEPER__EVERY_MS", "50"),
        ("BACKHAUL__CANCEL__DEADLINE_MS", "300"),
    ]));
    assert!(settings.is_ok(), "{settings:?}");
}

/// Mistakes around a secret: of syntax, of type, of the key's name.
#[test]
fn a_mistake_in_the_file_is_told_by_place_and_reason_and_never_by_its_line() {
    type Read = fn(&Loaded) -> Result<(), ConfigError>;
    let amqp: Read = |loaded| loaded.section::<AmqpConfig>("amqp").map(drop);
    let auth: Read = |loaded| loaded.section::<AuthConfig>("auth").map(drop);
    let credentials: Read = |loaded| loaded.section::<CredentialsConfig>("credentials").map(drop);
    let database: Read = |loaded| loaded.section::<DatabaseConfig>("database").map(drop);
    let pages: Read = |loaded| loaded.section::<PagesConfig>("pages").map(drop);
    for (text, read, place, reason) in [
        ("[auth]\nhs256_secret = s3cret-s3cret\n", auth, "line 2, column 16", "quoted"),
        ("[auth]\nhs256_secret = \"s3cret\n", auth, "line 2, column", "string"),
        ("[auth]\nhs256_secret = 's3cret\n", auth, "line 2, column", "string"),
        ("[auth]\nhs256_secret = \"s3cret\\q\"\n", auth, "line 2, column", "escape"),
        ("[auth]\nhs256_secret = \"s3cret\" s3cret\n", auth, "line 2, column", "unexpected"),
        ("[auth]\nhs256_secret \"s3cret\"\n", auth, "line 2, column", "="),
        ("[credentials]\nold_keys = [\"s3cret\"\n", credentials, "line", "array"),
        (
            "[auth]\nhs256_secret = \"s3cret\"\nhs256_secret = \"s3cret\"\n",
            auth,
            "line 3, column 1",
            "duplicate",
        ),
        ("\u{e9} = 1\n[auth]\n  hs256_secret = s3cret", auth, "line 1, column 1", ""),
        ("[auth]\nhs256_secret = [\"s3cret\"]\n", auth, "line 2, column 16", "expected"),
        ("[auth]\nhs256_secret = { s3cret = \"s3cret\" }\n", auth, "line 2, column 16", "expected"),
        ("[credentials]\nold_keys = [\"x\", [\"s3cret\"]]\n", credentials, "line 2, column 18", "expected"),
        ("[credentials]\nold_keys = { a = \"s3cret\" }\n", credentials, "line 2, column 12", "a list"),
        ("database = \"postgres://u:s3cret@h/x\"\n", database, "line 1, column 12", "expected"),
        ("[amqp]\nuri = \"amqp://u:s3cret@h\"\n", amqp, "line 2, column 7", "unknown field `uri`"),
        ("[auth]\nhs256_seecret = \"s3cret\"\n", auth, "line 2, column 17", "unknown field"),
        ("[amqp]\npasswort = \"s3cret\"\n", amqp, "line 2, column 12", "unknown field"),
        ("[pages]\nslots = 99999999999999999999\n", pages, "line 2, column 9", "64 bits"),
    ] {
        let file = Scratch::new("mistake", text);
        let loaded = load_from(Some(&file.0), HashMap::new());
        let error =
            loaded.and_then(|loaded| read(&loaded)).err().unwrap_or_else(|| panic!("{text:?} is read"));
        for said in [error.to_string(), format!("{error:?}")] {
            let cut = said.replace("unknown field `s3cret`", "");
            assert!(!cut.contains("s3cret") && !cut.contains('\n'), "{text:?}: {said}");
            assert!(said.contains(&format!("{}, {place}", file.0.display())), "{place}: {said}");
            assert!(said.contains(reason), "{reason}: {said}");
        }
    }
}
