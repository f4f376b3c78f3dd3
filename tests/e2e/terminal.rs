//! What comes from outside (names, answers of upstreams, messages of strangers) can neither control the terminal of whoever
//! looks at it, nor forge a line; and names that could are refused.

use anyhow::{Context, Result, ensure};
use broker::{Destination, Envelope};
use lapin::BasicProperties;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::{AMQPValue, FieldArray, FieldTable};
use protocol::contract::header;
use protocol::job::JobStatus;
use protocol::plain::controls_display;
use protocol::topology::Topology;
use serde_json::{Value, json};
use testkit::api::Api;
use testkit::command_line::{Ran, backhaul};
use testkit::fixture::{Account, Fixture};
use testkit::sample_upstream::Answer;

/// Clears the screen, hides text, and forges rows; C0, C1, DEL, ends of lines, marks of direction.
const NASTY: &str =
    "a\u{1b}[2J\u{9b}8m\nforged  completed\r\nforged\u{85}\u{2028}\t\u{7f}\u{202e}\u{2066}\u{200f}\u{61c}b";
/// What the terminal gets to see of it.
const SHOWN: &str = "a\\u{1b}[2J\\u{9b}8m\\nforged  completed\\r\\nforged\\u{85}\\u{2028}\\t\\u{7f}\\u{202e}\\u{2066}\\u{200f}\\u{61c}b";
const REFUSED: &str = "none of them may control how it is shown";

fn is_plain(text: &str) -> bool {
    let forged = text.lines().any(|line| line.starts_with("forged"));
    !forged && text.chars().all(|char| char == '\n' || !controls_display(char))
}

/// Whether it stands somewhere in a document.
fn has(value: &Value, text: &str) -> bool {
    match value {
        Value::String(found) => found.contains(text),
        Value::Array(items) => items.iter().any(|item| has(item, text)),
        Value::Object(fields) => fields.iter().any(|(name, value)| name.contains(text) || has(value, text)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// A connection whose job has failed with such an answer; then everything that has a name gets this one.
async fn world(fixture: &Fixture) -> Result<(Account, String)> {
    let account = fixture.account("acme", json!({})).await?;
    let consumer = fixture.consumer().await?;
    fixture.upstream.script(
        |_| true,
        Answer::Respond { status: 403, headers: Vec::new(), body: NASTY.as_bytes().to_vec() },
    );
    let job = fixture.publish_start(account.connection).await?;
    fixture.until_over(job, JobStatus::Failed).await?;
    consumer.stop().await?;
    fixture.store.tenants().create_api_key(account.tenant, "laptop", &[7; 32], "bh_x").await?;
    fixture.store.tenants().put_user("somebody", Some(account.tenant), None).await?;
    for change in [
        "alter table tenants drop constraint tenants_name_plain",
        "alter table connections drop constraint connections_name_plain",
        "alter table api_keys drop constraint api_keys_name_plain",
        "alter table users drop constraint users_subject_plain",
        &format!("update tenants set name = '{NASTY}'"),
        &format!("update connections set name = '{NASTY}'"),
        &format!("update api_keys set name = '{NASTY}'"),
        &format!("update users set subject = '{NASTY}'"),
        &format!("update settings_versions set put_by = '{NASTY}'"),
        &format!(
            "update jobs set name = '{NASTY}', error = jsonb_set(error, '{{cause}}', to_jsonb('{NASTY}'::text))"
        ),
        &format!(
            "insert into workers (id, host, pid, namespace, keys, seen_at)
             values (gen_random_uuid(), '{NASTY}', 1, '{}', '{{}}', now() - interval '10 minutes')",
            fixture.namespace
        ),
    ] {
        fixture.database.execute(change).await?;
    }
    let letter = Envelope::new(Destination::DeadLetter, "sync.start", NASTY)
        .with_message_id(NASTY)
        .with_correlation_id(NASTY)
        .with_header(header::REASON, NASTY)
        .with_header(header::EXCHANGE, NASTY)
        .with_header(header::ROUTING_KEY, NASTY);
    fixture.publisher.publish(letter).await?;
    Ok((account, job.to_string()))
}

#[tokio::test]
async fn nothing_from_outside_controls_the_terminal() -> Result<()> {
    let fixture = Fixture::with_calls(3).await?;
    let (account, job) = world(&fixture).await?;
    let (tenant, connection) = (account.tenant.to_string(), account.connection.to_string());
    fixture.upstream.set_raw("acme", 2, &json!({ "callId": NASTY, "created": NASTY }).to_string());
    let run = async |arguments: &[&str]| backhaul(&fixture.environment(), arguments).await;
    let of = ["--tenant", tenant.as_str()];
    let test = [["admin", "connection", "test", connection.as_str()].as_slice(), &of].concat();
    for (arguments, code) in [
        (["list"].as_slice(), 0),
        (&["status", &job], 0),
        (&["explain", &job], 0),
        (&["watch", &job], 1),
        (&["admin", "tenant", "list"], 0),
        (&["admin", "connection", "list"], 0),
        (&[["admin", "connection", "versions", &connection].as_slice(), &of].concat(), 0),
        (&[["admin", "key", "list"].as_slice(), &of].concat(), 0),
        (&["admin", "user", "list"], 0),
        (&test, 0),
        (&["dlq", "list"], 0),
        (&["dlq", "show", NASTY], 0),
        (&["dlq", "show", SHOWN], 0),
        (&["dlq", "retry", NASTY], 1),
        (&["doctor"], 1),
    ] {
        let said = run(arguments).await?;
        let all = format!("{}{}", said.stdout, said.stderr);
        assert!(said.code == Some(code) && is_plain(&all) && all.contains(SHOWN), "{arguments:?}: {all}");
        let json = run(&[arguments, &["--json"]].concat()).await?;
        assert!(is_plain(&json.stdout), "{arguments:?}: {}", json.stdout);
        let told: Value = match arguments[0] {
            "watch" => json.stdout.lines().map(serde_json::from_str::<Value>).collect::<Result<_, _>>()?,
            _ => json.json()?,
        };
        assert!(has(&told, NASTY) || has(&told, "a\u{1b}[2J"), "{arguments:?}: {told}");
    }
    let rows = run(&["admin", "connection", "list"]).await?;
    assert_eq!(rows.stdout.lines().count(), 2, "{}", rows.stdout);

    // An upstream that answers nothing else, and mistakes.
    fixture.upstream.script(
        |_| true,
        Answer::Respond { status: 403, headers: Vec::new(), body: NASTY.as_bytes().to_vec() },
    );
    for arguments in [
        test.as_slice(),
        &["admin", "tenant", "create", NASTY],
        &["admin", "connection", "delete", &format!("no {NASTY}"), "--tenant", &tenant, "--yes"],
        &["admin", "key", "list", "--tenant", &format!("no {NASTY}")],
        &["start", "--connection", NASTY],
        &["dlq", "show", &format!("no {NASTY}")],
        &["config", "--config", NASTY],
    ] {
        let said = run(arguments).await?;
        let all = format!("{}{}", said.stdout, said.stderr);
        // What was typed may stand in a usage line by line.
        let shown: String = all.chars().filter(|char| *char != '\n').collect();
        assert!(said.code != Some(0) && !shown.contains(controls_display), "{arguments:?}: {all}");
    }
    assert_eq!(run(&["dlq", "drop", "--all", "--yes"]).await?.code, Some(0));
    fixture.finish([]).await
}

/// Whatever a stranger may write into a message: every property and header, of every type and of any number.
#[tokio::test]
async fn a_hostile_letter_is_shown_in_full_and_controls_nothing() -> Result<()> {
    const HEADERS: usize = 1000;
    let fixture = Fixture::with_calls(0).await?;
    // It declares the queues.
    let consumer = fixture.consumer().await?;
    let text = || AMQPValue::LongString(NASTY.into());
    let mut nested = FieldTable::default();
    nested.insert(NASTY.into(), text());
    let mut array = FieldArray::default();
    array.push(text());
    array.push(AMQPValue::FieldTable(nested.clone()));
    array.push(AMQPValue::ByteArray(NASTY.as_bytes().to_vec().into()));
    let mut headers = FieldTable::default();
    headers.insert(NASTY.into(), AMQPValue::FieldTable(nested));
    headers.insert("array".into(), AMQPValue::FieldArray(array));
    headers.insert("not text".into(), AMQPValue::LongString(b"\xff\x1b[2J\n\x9b8m".to_vec().into()));
    headers.insert("bytes".into(), AMQPValue::ByteArray(b"\xff\x1b[2J\r\n".to_vec().into()));
    for name in header::ALL {
        headers.insert(name.into(), text());
    }
    for number in 0..HEADERS {
        headers.insert(format!("{number}\u{1b}]0;{number}\u{7}").into(), text());
    }
    let properties = BasicProperties::default()
        .with_content_type(NASTY.into())
        .with_content_encoding(NASTY.into())
        .with_correlation_id(NASTY.into())
        .with_reply_to(NASTY.into())
        .with_message_id(NASTY.into())
        .with_type(NASTY.into())
        .with_app_id(NASTY.into())
        .with_cluster_id(NASTY.into())
        .with_headers(headers);
    let not_text = [b"\xff\xfe\0", NASTY.as_bytes(), b"\x9b2J"].concat();
    let (connection, channel) = fixture.broker().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    let queue = Topology::new(&fixture.namespace).dead_letters();
    for body in [NASTY.as_bytes(), &not_text] {
        let (options, properties) = (BasicPublishOptions::default(), properties.clone());
        let confirm =
            channel.basic_publish("".into(), queue.clone().into(), options, body, properties).await?;
        ensure!(confirm.await?.is_ack(), "the broker refused it");
    }
    connection.close(200, "done".into()).await?;

    let run = async |arguments: &[&str]| backhaul(&fixture.environment(), arguments).await;
    for arguments in
        [["dlq", "list"].as_slice(), &["dlq", "list", "--reason", NASTY], &["dlq", "show", NASTY]]
    {
        let said = run(arguments).await?;
        let all = format!("{}{}", said.stdout, said.stderr);
        assert!(said.code == Some(0) && is_plain(&all) && all.contains(SHOWN), "{arguments:?}: {all}");
        let json = run(&[arguments, &["--json"]].concat()).await?;
        assert!(is_plain(&json.stdout) && is_plain(&json.stderr), "{arguments:?}: {}", json.stdout);
        let told = json.json()?;
        assert_eq!(told.as_array().map(Vec::len), Some(2), "{arguments:?}");
        assert!(has(&told, NASTY), "{arguments:?}: {told}");
        if arguments.contains(&"show") {
            let headers = told[0]["headers"].as_object().context("headers")?;
            assert!(headers.len() > HEADERS, "{}", headers.len());
            assert!(told.as_array().into_iter().flatten().any(|letter| letter["body_encoding"] == "base64"));
            assert!(said.stdout.contains("\\u{1b}]0;999\\u{7}"));
        }
    }
    assert_eq!(run(&["dlq", "drop", "--all", "--yes"]).await?.code, Some(0));
    fixture.finish([consumer]).await
}

/// Names that look like another one.
#[tokio::test]
async fn names_have_nothing_invisible() -> Result<()> {
    let fixture = Fixture::with_calls(0).await?;
    let tenant = fixture.store.tenants().create("acme", 16).await?.id;
    let api = Api::start(&fixture, tenant).await?;
    let client = reqwest::Client::new();
    for invisible in
        "\u{ad}\u{200b}\u{200c}\u{200d}\u{2060}\u{2064}\u{feff}\u{fe0f}\u{e0041}\u{e0100}\u{202e}\u{1b}"
            .chars()
    {
        let name = format!("a{invisible}b");
        for arguments in [
            ["admin", "tenant", "create", &name].as_slice(),
            &["admin", "key", "create", "--tenant", "acme", "--name", &name],
            &["admin", "user", "put", "--subject", &name, "--tenant", "acme"],
        ] {
            let ran = backhaul(&fixture.environment(), arguments).await?;
            assert!(ran.code == Some(2) && ran.stderr.contains("nothing invisible"), "{name:?}: {ran:?}");
        }
        let body = json!({
            "name": name, "source": "ultravox", "base_url": "https://api.example", "credentials": { "api_key": "x" },
        });
        let post = client.post(format!("{}/source-connections", api.origin)).header("x-api-key", &api.key);
        let answer = post.json(&body).send().await?;
        let (status, said) = (answer.status(), answer.text().await?);
        assert!(status == 422 && said.contains("none that is invisible"), "{name:?}: {status} {said}");
    }
    fixture.finish([]).await
}

#[tokio::test]
async fn names_that_could_are_refused() -> Result<()> {
    let fixture = Fixture::with_calls(0).await?;
    let run = async |arguments: &[&str]| backhaul(&fixture.environment(), arguments).await;
    let refused = |ran: &Ran| {
        ensure!(ran.code == Some(2) && ran.stderr.contains(REFUSED), "{ran:?}");
        Ok(())
    };
    assert_eq!(run(&["admin", "tenant", "create", "acme"]).await?.code, Some(0));
    let tenant: uuid::Uuid =
        sqlx::query_scalar("select id from tenants").fetch_one(&fixture.database.pool).await?;
    for mark in
        ["\u{1b}", "\n", "\u{7f}", "\u{9b}", "\u{202e}", "\u{2069}", "\u{200e}", "\u{61c}", "\u{2029}"]
    {
        let name = format!("a{mark}b");
        refused(&run(&["admin", "tenant", "create", &name]).await?)?;
        refused(&run(&["admin", "key", "create", "--tenant", "acme", "--name", &name]).await?)?;
        refused(&run(&["admin", "user", "put", "--subject", &name, "--tenant", "acme"]).await?)?;
        let put = ["admin", "connection", "put", "--tenant", "acme", "--name", &name, "--source", "ultravox"];
        let at = ["--base-url", "https://api.example", "--credentials", r#"{"api_key": "x"}"#];
        refused(&run(&[put.as_slice(), &at].concat()).await?)?;
        // The database refuses them from everybody.
        for insert in [
            "insert into tenants (id, name) select gen_random_uuid(), $2 where $1::uuid is not null",
            "insert into api_keys (id, tenant_id, name, hash, prefix)
             values (gen_random_uuid(), $1, $2, sha256(convert_to($2, 'UTF8')), 'x')",
            "insert into users (id, tenant_id, subject) values (gen_random_uuid(), $1, $2)",
            "insert into connections (id, tenant_id, name, source, base_url)
             values (gen_random_uuid(), $1, $2, 'ultravox', 'https://api.example')",
        ] {
            let bound = |name: &str| sqlx::query(insert).bind(tenant).bind(name.to_owned());
            let error = bound(&name).execute(&fixture.database.pool).await.err().context("it is stored")?;
            let said = error.to_string();
            assert!(said.contains("_plain"), "{name:?}: {said}");
            bound(&format!("Ünï 日本 {:x}", u32::from(mark.chars().next().context("a mark")?)))
                .execute(&fixture.database.pool)
                .await?;
        }
    }
    fixture.finish([]).await
}
