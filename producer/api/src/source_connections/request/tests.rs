//! What is wrong with a request is said in the words that clients of this contract know.

use super::*;
use serde_json::json;

fn params(query: &str, path: &[(&str, &str)]) -> Params {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    let query = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    Params { path: path.iter().map(owned).collect(), query }
}

fn read<P: Part>(params: &Params) -> Result<P, Value> {
    let mut wrong = Vec::new();
    P::read(params, &mut wrong).ok_or_else(|| json!(wrong))
}

#[test]
fn a_limit_is_a_number_from_1_to_1000() {
    let limit = |query: &str| read::<JobsQuery>(&params(query, &[])).map(|query| query.limit);
    assert_eq!(limit(""), Ok(100));
    assert_eq!((limit("limit=1"), limit("limit=1000")), (Ok(1), Ok(1000)));
    let wrong = |kind, msg| Err(json!([{ "loc": ["query", "limit"], "msg": msg, "type": kind }]));
    let (few, many) =
        ("Input should be greater than or equal to 1", "Input should be less than or equal to 1000");
    for given in ["0", "-1", "-99999999999999"] {
        assert_eq!(limit(&format!("limit={given}")), wrong("greater_than_equal", few), "{given}");
    }
    for given in ["1001", "65637", "99999999999999999999"] {
        assert_eq!(limit(&format!("limit={given}")), wrong("less_than_equal", many), "{given}");
    }
    let unread = "Input should be a valid integer, unable to parse string as an integer";
    for given in ["", "ten", "1.5", "1e3"] {
        assert_eq!(limit(&format!("limit={given}")), wrong("int_parsing", unread), "{given}");
    }
}

#[test]
fn a_flag_has_many_words() {
    let full = |query: &str| read::<RunQuery>(&params(query, &[])).map(|query| query.force_full_sync);
    assert_eq!(full("limit=3"), Ok(false));
    for yes in ["true", "1", "True", "on", "yes"] {
        assert_eq!(full(&format!("force_full_sync={yes}")), Ok(true), "{yes}");
    }
    for no in ["false", "0", "FALSE", "off", "no"] {
        assert_eq!(full(&format!("force_full_sync={no}")), Ok(false), "{no}");
    }
    for wrong in ["", "2", "maybe"] {
        let said = full(&format!("force_full_sync={wrong}")).unwrap_err();
        assert_eq!(
            (&said[0]["type"], &said[0]["loc"]),
            (&json!("bool_parsing"), &json!(["query", "force_full_sync"]))
        );
    }
}

#[test]
fn every_fault_of_a_path_and_a_query_is_said_at_once() {
    let said =
        read::<Selection<ConnectionPath, RunQuery>>(&params("force_full_sync=x", &[("connection", "y")]));
    let said = said.map(|_| ()).unwrap_err();
    assert_eq!(said[0]["loc"], json!(["path", "source_connection_id"]));
    assert_eq!(said[0]["type"], "uuid_parsing");
    assert!(said[0]["msg"].as_str().unwrap().starts_with("Input should be a valid UUID, "), "{said}");
    assert_eq!(said[1]["loc"], json!(["query", "force_full_sync"]));
    let said = read::<JobPath>(&params("", &[("connection", "y"), ("job", "z")])).map(|_| ()).unwrap_err();
    assert_eq!(said.as_array().unwrap().len(), 2, "{said}");
}

#[test]
fn a_connection_needs_four_fields() {
    let places = |body: &str| {
        let wrong = NewConnection::of_text(body.as_bytes()).unwrap_err();
        json!(wrong.iter().map(|wrong| (wrong.loc.clone(), wrong.kind)).collect::<Vec<_>>())
    };
    assert_eq!(places(" "), json!([[["body"], "missing"]]));
    assert_eq!(places("[]"), json!([[["body"], "dict_type"]]));
    assert_eq!(places("{\"credentials\": s3cret}"), json!([[["body"], "json_invalid"]]));
    assert_eq!(
        places("{}"),
        json!([
            [["body", "name"], "missing"],
            [["body", "source"], "missing"],
            [["body", "base_url"], "missing"],
            [["body", "credentials"], "missing"],
        ])
    );
    assert_eq!(
        places(r#"{"name": 1, "source": "s", "base_url": null, "credentials": "s3cret", "settings": []}"#),
        json!([
            [["body", "name"], "string_type"],
            [["body", "base_url"], "string_type"],
            [["body", "credentials"], "dict_type"],
            [["body", "settings"], "dict_type"],
        ])
    );
    let whole =
        r#"{"name": "n", "source": "s", "base_url": "u", "credentials": {}, "settings": null, "colour": 1}"#;
    let read = NewConnection::of_text(whole.as_bytes()).unwrap();
    assert_eq!((read.draft.name.as_str(), read.draft.settings.len()), ("n", 0));
    assert_eq!(read.unknown, ["colour"]);
}

#[test]
fn what_is_wrong_never_repeats_a_secret() {
    let body = r#"{"name": "n", "source": "s", "base_url": "u", "credentials": {"api_key": s3cret"#;
    let said = json!(NewConnection::of_text(body.as_bytes()).unwrap_err()).to_string();
    assert!(!said.contains("s3cret"), "{said}");
    let twice = r#"{"name": "n", "source": "s", "base_url": "u", "credentials": {"s3cret": 1, "s3cret": 2}}"#;
    let said = json!(NewConnection::of_text(twice.as_bytes()).unwrap_err()).to_string();
    assert!(said.contains("a member appears twice at line 1") && !said.contains("s3cret"), "{said}");
    let whole = r#"{"name": "n", "source": "s", "base_url": "u", "credentials": {"api_key": "s3cret"}}"#;
    let read = NewConnection::of_text(whole.as_bytes()).unwrap();
    assert!(!format!("{read:?}").contains("s3cret"), "{read:?}");
}
