use super::*;
use proptest::prelude::*;
use serde_json::value::RawValue;
use serde_json::{Value, json};

fn fields(fields: Value) -> Result<Fields, String> {
    let fields: Vec<Field> = serde_json::from_value(fields).map_err(|error| error.to_string())?;
    Fields::new(fields)
}

fn one(pointer: &str, kind: &str, required: bool) -> Fields {
    fields(json!([{ "name": "it", "pointer": pointer, "type": kind, "required": required }])).unwrap()
}

/// The value of a one-field row, and the error beside it.
fn shown(record: &str, pointer: &str, kind: &str) -> (Value, Option<String>) {
    let fields = one(pointer, kind, false);
    let record: &RawValue = serde_json::from_str(record).unwrap();
    let row = fields.row(record);
    let error = row.errors.first().map(|error| error.message.clone());
    (serde_json::from_str::<Value>(&serde_json::to_string(&row).unwrap()).unwrap()["it"].clone(), error)
}

#[test]
fn pointers_lead_where_the_standard_says() {
    let record = r#"{"foo":["bar","baz"],"":0,"a/b":1,"c%d":2,"m~n":8," ":7,"k\"l":6,"twice":1,"twice":2,
        "\u00e9":3,"o":{"p":[[],{"q":true}]}}"#;
    for (pointer, expected) in [
        ("/foo", json!(["bar", "baz"])),
        ("/foo/0", json!("bar")),
        ("/foo/1", json!("baz")),
        ("/", json!(0)),
        ("/a~1b", json!(1)),
        ("/c%d", json!(2)),
        ("/m~0n", json!(8)),
        ("/ ", json!(7)),
        ("/k\"l", json!(6)),
        ("/twice", json!(2)),
        ("/é", json!(3)),
        ("/o/p/1/q", json!(true)),
        ("/foo/2", Value::Null),
        ("/foo/00", Value::Null),
        ("/foo/+1", Value::Null),
        ("/foo/-", Value::Null),
        ("/foo/0/x", Value::Null),
        ("/nowhere/at/all", Value::Null),
    ] {
        assert_eq!(shown(record, pointer, "json"), (expected, None), "{pointer}");
    }
    assert_eq!(shown("[1]", "", "json").0, json!([1]));
    let long = format!("/{}", "x".repeat(512));
    for wrong in ["foo", "/a~", "/a~2", "/\0", &"/a".repeat(17), &long] {
        assert!(Pointer::try_from((*wrong).to_owned()).is_err(), "{wrong}");
    }
}

#[test]
fn every_type_accepts_what_it_says() {
    for (kind, value, expected) in [
        ("string", r#""a\u00e9\n""#, json!("aé\n")),
        ("string", r#""""#, json!("")),
        ("integer", "-3", json!(-3)),
        ("integer", "3.0", json!(3)),
        ("integer", "3e2", json!(300)),
        ("integer", "9223372036854775807", json!(9_223_372_036_854_775_807_i64)),
        ("integer", "-0.0", json!(0)),
        ("number", "-1.5e3", json!(-1500.0)),
        ("number", "7", json!(7)),
        ("boolean", "false", json!(false)),
        ("timestamp", r#""2026-01-31T12:00:00+02:00""#, json!("2026-01-31T10:00:00Z")),
        ("timestamp", r#""2026-01-31t12:00:00.5z""#, json!("2026-01-31T12:00:00.500000Z")),
        ("json", "[1,{}]", json!([1, {}])),
    ] {
        assert_eq!(shown(&format!("{{\"x\":{value}}}"), "/x", kind), (expected, None), "{kind} {value}");
    }
}

#[test]
fn every_type_refuses_everything_else() {
    for (kind, value) in [
        ("string", "1"),
        ("string", "true"),
        ("string", "{}"),
        ("integer", "1.5"),
        ("integer", r#""3""#),
        ("integer", "9223372036854775808"),
        ("integer", "1e30"),
        ("integer", "true"),
        ("number", r#""1""#),
        ("number", "1e400"),
        ("number", "[1]"),
        ("boolean", "0"),
        ("boolean", r#""true""#),
        ("timestamp", r#""2026-01-31""#),
        ("timestamp", r#""2026-01-31T12:00:00""#),
        ("timestamp", r#""yesterday""#),
        ("timestamp", "1770000000"),
    ] {
        let (shown, error) = shown(&format!("{{\"x\":{value}}}"), "/x", kind);
        assert_eq!(shown, Value::Null, "{kind} {value}");
        let error = error.unwrap();
        assert!(error.starts_with(&format!("{value} is not ")), "{kind} {value}: {error}");
    }
    let (_, error) = shown(&format!("{{\"x\":\"{}\"}}", "ö".repeat(1000)), "/x", "integer");
    assert!(error.unwrap().chars().count() < 100, "values are not repeated at length");
}

#[test]
fn null_is_no_value_and_an_error_only_where_one_is_required() {
    for record in [r#"{"x":null}"#, "{}", "7", "[]"] {
        let record: &RawValue = serde_json::from_str(record).unwrap();
        for kind in ["string", "integer", "number", "boolean", "timestamp", "json"] {
            assert!(one("/x", kind, false).row(record).errors.is_empty());
            let required = one("/x", kind, true);
            let row = required.row(record);
            let error = row.errors.first().unwrap();
            assert_eq!(error.field.as_deref(), Some("it"));
            assert_eq!(error.message, "the record has no value at \"/x\"");
            assert_eq!(serde_json::to_value(&row).unwrap(), json!({ "it": null }));
        }
    }
}

#[test]
fn a_row_has_every_field_in_the_order_of_the_schema() {
    let schema = fields(json!([
        { "name": "z", "pointer": "/a", "type": "string" },
        { "name": "a", "pointer": "/z/0", "type": "integer", "required": true },
        { "name": "all", "pointer": "", "type": "json" },
    ]))
    .unwrap();
    let text = r#"{"a":"x","z":["1"]}"#;
    let record: &RawValue = serde_json::from_str(text).unwrap();
    let row = schema.row(record);
    assert_eq!(serde_json::to_string(&row).unwrap(), format!(r#"{{"z":"x","a":null,"all":{text}}}"#));
    assert_eq!(row.errors.len(), 1);
    assert_eq!(schema.filled(text), 2);
    assert_eq!(schema.filled("no json"), 0);
    assert_eq!(serde_json::to_string(&schema.empty_row()).unwrap(), r#"{"z":null,"a":null,"all":null}"#);
}

#[test]
fn a_schema_that_cannot_be_is_refused_in_words() {
    let field = |name: &str| json!({ "name": name, "pointer": "/a", "type": "string" });
    for (wrong, words) in [
        (json!([]), "between 1 and 100"),
        (Value::Array((0..101).map(|n| field(&n.to_string())).collect()), "there are 101"),
        (json!([field("a"), field("a")]), "fields[1].name: \"a\" is a duplicate"),
        (json!([field("")]), "fields[0].name"),
        (json!([field(&"n".repeat(101))]), "fields[0].name"),
        (json!([{ "name": "a", "pointer": "a", "type": "string" }]), "not a JSON pointer"),
        (json!([{ "name": "a", "pointer": "/a", "type": "date" }]), "unknown variant `date`"),
        (json!([{ "name": "a", "type": "string" }]), "missing field `pointer`"),
    ] {
        let error = fields(wrong).unwrap_err();
        assert!(error.contains(words), "{error}");
    }
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
        Just(json!("2026-01-31T12:00:00.123456789+05:30")),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map("[abc~/]{0,2}", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// Every pointer into a value, with what it leads to.
fn pointers(value: &Value, at: &str, found: &mut Vec<(String, Value)>) {
    found.push((at.to_owned(), value.clone()));
    match value {
        Value::Object(map) => {
            for (name, inner) in map {
                let token = name.replace('~', "~0").replace('/', "~1");
                pointers(inner, &format!("{at}/{token}"), found);
            }
        }
        Value::Array(items) => {
            for (index, inner) in items.iter().enumerate() {
                pointers(inner, &format!("{at}/{index}"), found);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

proptest! {
    #[test]
    fn pointers_find_what_serde_json_finds(record in any_json()) {
        let text = record.to_string();
        let mut all = Vec::new();
        pointers(&record, "", &mut all);
        for (pointer, expected) in all {
            prop_assert_eq!(record.pointer(&pointer), Some(&expected));
            prop_assert_eq!(shown(&text, &pointer, "json"), (expected, None));
        }
    }

    #[test]
    fn a_value_is_shown_as_what_it_is_or_not_at_all(record in any_json(), pretty: bool) {
        let text = if pretty { serde_json::to_string_pretty(&record) } else { serde_json::to_string(&record) }.unwrap();
        for (kind, fits) in [
            ("string", record.is_string()), ("integer", record.is_number()), ("number", record.is_number()),
            ("boolean", record.is_boolean()), ("timestamp", record.is_string()), ("json", true),
        ] {
            let (value, error) = shown(&text, "", kind);
            prop_assert!(error.is_none() || value.is_null());
            prop_assert!(fits || value.is_null());
            // What is neither shown nor null is an error, and the count of the filled agrees with the row.
            prop_assert_eq!(error.is_some(), value.is_null() && !record.is_null());
            prop_assert_eq!(one("", kind, false).filled(&text), i64::from(!value.is_null()));
            if kind == "integer" && record.is_i64() {
                prop_assert_eq!(&value, &record);
            }
            if kind == "timestamp" && !value.is_null() {
                // What is shown is a time again, and itself.
                let again = shown(&value.to_string(), "", "timestamp");
                prop_assert_eq!(again, (value, None));
            }
        }
    }
}

#[test]
fn a_row_is_no_larger_than_its_record_or_a_mebibyte() {
    let record = format!(r#"{{"text": "{}"}}"#, "x".repeat(400_000));
    let record: &RawValue = serde_json::from_str(&record).unwrap();
    let all: Vec<Value> =
        (0..100).map(|n| json!({ "name": format!("f{n}"), "pointer": "", "type": "json" })).collect();
    let fields = fields(json!(all)).unwrap();
    let row = fields.row(record);
    assert!(serde_json::to_string(&row).unwrap().len() < 1 << 20);
    assert_eq!(row.errors.len(), 98, "two fit");
    assert_eq!(row.errors[0].field.as_deref(), Some("f2"));
    // A record that is larger is shown once all the same.
    let record = format!("\"{}\"", "x".repeat(3 << 20));
    let row = one("", "string", true);
    assert!(row.row(serde_json::from_str(&record).unwrap()).errors.is_empty());
}
