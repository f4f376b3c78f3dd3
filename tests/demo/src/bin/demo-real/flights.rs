//! Every flight out of New York City in 2013, as Datasette serves it.

use anyhow::{Context, Result, ensure};
use protocol::slice::Span;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use stage::Expected;

const PATH: &str = "/flights/flights.json";
/// How many there are.
pub(crate) const FLIGHTS: u64 = 336_776;

/// How the consumer is told to read them: by dates, in slices of two weeks.
pub(crate) fn settings() -> Value {
    json!({
        "path": PATH,
        "query": [{ "name": "_shape", "value": "objects" }, { "name": "_labels", "value": "off" }],
        "page_size": { "parameter": "_size", "size": 1000 },
        "records": { "pointer": "/rows", "id": "/id", "time": "/time_hour" },
        "next": { "style": "next_url", "pointer": "/next_url" },
        "total": "/filtered_table_rows_count",
        "dates": {
            "parameters": [
                { "name": "time_hour__gte", "value": "{from:rfc3339}" },
                { "name": "time_hour__lt", "value": "{to:rfc3339}" },
            ],
            "start": null,
        },
        "slicing": { "days": 14 },
    })
}

/// The year, in local time; the flights' times are in UTC.
pub(crate) fn span() -> Result<Span> {
    Ok(Span { from: Some("2013-01-01T00:00:00Z".parse()?), to: "2014-01-02T00:00:00Z".parse()? })
}

#[derive(Deserialize)]
struct Page<'a> {
    #[serde(borrow)]
    rows: Vec<&'a RawValue>,
    next_url: Option<String>,
}

#[derive(Deserialize)]
struct Row {
    id: u64,
}

/// Reads the whole table in the order of its key, without dates and slices, and without the consumer's code.
pub(crate) async fn expected(datasette: &str) -> Result<Expected> {
    let client = reqwest::Client::new();
    let mut expected = Expected::new();
    let mut next = Some(format!("{datasette}{PATH}?_shape=objects&_labels=off&_size=2000&_nocount=1"));
    while let Some(url) = next {
        let answer = client.get(&url).send().await?.error_for_status()?.bytes().await?;
        let page: Page<'_> = serde_json::from_slice(&answer).with_context(|| format!("{url} is no page"))?;
        for row in page.rows {
            let Row { id } = serde_json::from_str(row.get())?;
            expected.insert(id.to_string(), blake3::hash(row.get().as_bytes()).into());
        }
        next = page.next_url;
    }
    let found = u64::try_from(expected.len())?;
    ensure!(found == FLIGHTS, "Datasette has {found} flights instead of {FLIGHTS}");
    Ok(expected)
}
