//! Servers that page badly.

use axum::http::StatusCode;
use axum::http::header::LINK;
use protocol::walk::Walk;
use protocol::warning::WarningKind;
use serde_json::{Value, json};
use sources::paged_json::PagedJson;
use sources::{Endpoint, FetchedPage, Source as _};
use url::Url;

use super::{documented, open, page, span};
use crate::upstream::{Upstream, fetcher, permanent};
use crate::walker::{Checkpoint, keys};

fn row(id: &str) -> Value {
    json!({"id": id, "created_at": "2026-01-02T03:04:05Z"})
}

/// The documented settings with some members of `next` replaced.
fn with(style: &str, changes: &Value) -> Value {
    let mut settings = documented(style);
    let next = settings["next"].as_object_mut().unwrap();
    for (name, value) in changes.as_object().unwrap() {
        next.insert(name.clone(), value.clone());
    }
    settings
}

/// What a page with this body leads to.
async fn answered(settings: Value, cursor: Option<&str>, body: Value) -> Result<FetchedPage, String> {
    let upstream = Upstream::text(body.to_string()).await;
    match page(&*open(&upstream.url, settings), cursor).await {
        Ok(page) => Ok(page),
        refused => Err(permanent(refused)),
    }
}

async fn next(settings: Value, cursor: Option<&str>, body: Value) -> Option<String> {
    answered(settings, cursor, body).await.unwrap().next
}

#[tokio::test]
async fn a_flag_ends_the_list_or_goes_on_and_is_believed_only_if_it_is_one() {
    for (style, cursor, leads_to) in
        [("last_id", "r00", "r07"), ("page_number", "3", "4"), ("offset", "30", "31"), ("cursor", "a", "b")]
    {
        let mut settings = with(style, &json!({"more": "/more"}));
        settings["records"]["pointer"] = json!("/rows");
        settings["next"].as_object_mut().unwrap().remove("pages");
        if style == "cursor" {
            settings["next"]["pointer"] = json!("/cursor");
        }
        let body = |more: Value| json!({"rows": [row("r07")], "cursor": "b", "more": more});
        let ask = async |body: Value| next(settings.clone(), Some(cursor), body).await;
        assert_eq!(ask(body(json!(false))).await, None, "{style}");
        assert_eq!(ask(body(json!(true))).await.as_deref(), Some(leads_to), "{style}");
        // It says nothing: the list ends as it does without a flag.
        assert_eq!(ask(body(json!(null))).await.as_deref(), Some(leads_to), "{style}");
        let refused = answered(settings.clone(), Some(cursor), body(json!("yes"))).await.unwrap_err();
        assert!(refused.contains("must be true or false"), "{refused}");

        let nothing = answered(settings.clone(), Some(cursor), json!({"rows": [], "more": true})).await;
        match style {
            // It may be a gap: what comes behind it is tried.
            "page_number" | "offset" => {
                let gap = nothing.unwrap();
                assert_eq!(gap.next.as_deref(), Some(if style == "offset" { "130" } else { "4" }));
                assert_eq!(gap.warnings[0].kind, WarningKind::EmptyPage, "{gap:?}");
                assert!(gap.walk.doubt.is_some(), "{gap:?}");
            }
            _ => {
                let refused = nothing.unwrap_err();
                assert!(refused.contains("says that there is more, and has no"), "{style}: {refused}");
            }
        }
        assert_eq!(ask(json!({"rows": [], "more": false})).await, None, "{style}");
    }
}

#[tokio::test]
async fn a_short_page_is_not_the_end_and_an_empty_one_is() {
    let mut numbered = documented("page_number");
    numbered["next"].as_object_mut().unwrap().remove("pages");
    let body = |rows: Value| json!({"orders": rows, "items": rows, "data": rows});
    for (settings, cursor, after) in [
        (numbered, Some("7"), "8"),
        (documented("offset"), Some("70"), "71"),
        (documented("last_id"), Some("r00"), "r07"),
    ] {
        let short = next(settings.clone(), cursor, body(json!([row("r07")]))).await;
        assert_eq!(short.as_deref(), Some(after));
        assert_eq!(next(settings, cursor, body(json!([]))).await, None);
    }
}

#[tokio::test]
async fn the_number_of_pages_ends_the_list_unless_it_cannot_be() {
    let ask = async |first: u64, cursor: Option<&str>, rows: Value, pages: Value| {
        let settings = with("page_number", &json!({"first": first}));
        next(settings, cursor, json!({"orders": rows, "total_pages": pages})).await
    };
    let rows = || json!([row("a")]);
    assert_eq!(ask(1, None, rows(), json!(3)).await.as_deref(), Some("2"));
    assert_eq!(ask(1, Some("3"), rows(), json!(3)).await, None);
    assert_eq!(ask(0, Some("2"), rows(), json!(3)).await, None);
    // Filtered after it was cut: an empty page in the middle.
    assert_eq!(ask(1, Some("2"), json!([]), json!(3)).await.as_deref(), Some("3"));
    // The list shrank.
    assert_eq!(ask(1, Some("3"), json!([]), json!(2)).await, None);
    assert_eq!(ask(1, None, json!([]), json!(0)).await, None);
    // Nonsense: an empty page ends the list then.
    assert_eq!(ask(1, Some("3"), rows(), json!("3")).await, None);
    for nonsense in [json!(0), json!(2), json!(-1), json!("many"), json!(null)] {
        assert_eq!(ask(1, Some("3"), rows(), nonsense.clone()).await.as_deref(), Some("4"), "{nonsense}");
        assert_eq!(ask(1, Some("3"), json!([]), nonsense.clone()).await, None, "{nonsense}");
    }
}

#[tokio::test]
async fn a_total_ends_the_list_only_where_it_is_trusted_and_reached() {
    let settings = with("offset", &json!({"until_total": true}));
    let at = Checkpoint {
        cursor: Some("8".to_owned()),
        walk: Walk { fresh: 8, largest_page: 8, ..Walk::NEW },
        page: 1,
    };
    let ask = async |from: &Checkpoint, status: u16, body: Value| {
        let status = StatusCode::from_u16(status).unwrap();
        let upstream = Upstream::start(move |_| (status, body.to_string())).await;
        from.fetch(&*open(&upstream.url, settings.clone()), &span(), &fetcher()).await
    };
    let items = |ids: &[&str], total: Value| json!({"items": ids.iter().map(|id| row(id)).collect::<Vec<_>>(), "total": total});
    for (total, beyond) in [(json!(10), true), (json!(11), false), (json!(null), false)] {
        let page = ask(&at, 200, items(&["a", "b"], total.clone())).await.unwrap();
        assert_eq!((page.next.as_deref(), page.walk.beyond_total), (Some("10"), beyond), "{total}");
    }
    // One page beyond shows whether there is more.
    let beyond = at.after(&ask(&at, 200, items(&["a", "b"], json!(10))).await.unwrap()).unwrap();
    for (status, ids) in [(200, &["b"][..]), (200, &["a", "b"]), (400, &[]), (404, &[]), (416, &[])] {
        let end = ask(&beyond, status, items(ids, json!(10))).await.unwrap();
        assert_eq!((end.next, end.walk.doubt), (None, None), "{status} {ids:?}");
    }
    // It was to begin with the last record, so that one is gone.
    let lost = ask(&beyond, 200, items(&[], json!(10))).await.unwrap();
    assert_eq!((lost.next, lost.warnings[0].kind), (None, WarningKind::OverlapLost));
    for status in [401, 403] {
        permanent(ask(&beyond, status, json!({})).await);
    }
    let more = ask(&beyond, 200, items(&["b", "c"], json!(10))).await.unwrap();
    assert_eq!((keys(&more), more.next.as_deref()), (vec!["c".to_owned()], Some("11")));
    assert_eq!(more.warnings[0].kind, WarningKind::BeyondTotal, "{more:?}");
}

#[tokio::test]
async fn a_page_that_leads_to_itself_is_a_loop() {
    let looped =
        answered(documented("last_id"), Some("r07"), json!({"data": [row("r07")], "has_more": true}));
    assert!(looped.await.unwrap_err().starts_with("cursor loop"));
    // Unless it is the only record, and nothing says that there is more.
    assert_eq!(next(documented("last_id"), Some("r07"), json!({"data": [row("r07")]})).await, None);
    let looped = answered(documented("last_id"), Some("r07"), json!({"data": [row("r08"), row("r07")]}));
    assert!(looped.await.unwrap_err().starts_with("cursor loop"));
    let meta = json!({"data": [], "meta": {"next_cursor": "a", "has_more": true}});
    assert!(answered(documented("cursor"), Some("a"), meta).await.unwrap_err().starts_with("cursor loop"));
    let issues = |_: &_| ([(LINK, "</issues?page=2>; rel=next")], json!([row("a")]).to_string());
    let upstream = Upstream::start(issues).await;
    let source = open(&upstream.url, documented("link_header"));
    assert_eq!(page(&*source, None).await.unwrap().next.as_deref(), Some("/issues?page=2"));
    assert!(permanent(page(&*source, Some("/issues?page=2")).await).starts_with("cursor loop"));
}

#[tokio::test]
async fn a_link_leads_to_the_connections_own_host_only_and_must_be_readable() {
    for elsewhere in ["<http://example.org/?page=2>", "<//example.org/>", "<https://localhost/>"] {
        let upstream = Upstream::start(move |_| ([(LINK, format!("{elsewhere}; rel=\"next\""))], "[]")).await;
        let refused = permanent(page(&*open(&upstream.url, documented("link_header")), None).await);
        assert!(refused.contains("on another host"), "{refused}");
    }
    // To take what cannot be read for the end of the list would lose the rest of it.
    let upstream = Upstream::start(|_| ([(LINK, "page=2; rel=next")], "[]")).await;
    let refused = permanent(page(&*open(&upstream.url, documented("link_header")), None).await);
    assert!(refused.starts_with("the header Link cannot be read"), "{refused}");
    // Several headers, one of them about something else.
    let upstream = Upstream::start(|_| {
        let links = axum::response::AppendHeaders([
            (LINK, "</schema>; rel=describedby"),
            (LINK, "<?page=9>; rel=next; anchor=\"/other\", <?page=2>; rel=\"next\""),
        ]);
        (links, "[]")
    })
    .await;
    let read = page(&*open(&upstream.url, documented("link_header")), None).await.unwrap();
    assert_eq!(read.next.as_deref(), Some("/repos/acme/shop/issues?page=2"));
}

#[tokio::test]
async fn a_last_record_without_an_id_is_an_error_and_its_id_may_be_elsewhere() {
    let body = json!({"data": [row("a"), {"created_at": "2026-01-02T03:04:05Z"}], "has_more": true});
    let refused = answered(documented("last_id"), None, body).await.unwrap_err();
    assert!(refused.contains("no id at \"/id\""), "{refused}");

    let mut settings = with("last_id", &json!({"id": "/seq"}));
    settings["records"]["id"] = json!(["/id", "/part"]);
    let body = json!({"data": [{"id": "a", "part": 1, "seq": 41}, {"id": "a", "part": 2, "seq": 42}], "has_more": true});
    let read = answered(settings, None, body).await.unwrap();
    assert_eq!((read.next.as_deref(), keys(&read)), (Some("42"), vec!["a|1".to_owned(), "a|2".to_owned()]));
}

#[tokio::test]
async fn a_checkpoint_of_another_style_is_an_error() {
    for style in ["page_number", "offset"] {
        for other in ["/api/orders?page=2", "-1", "", "1.5", "99999999999999999999999"] {
            let refused = answered(documented(style), Some(other), json!({})).await.unwrap_err();
            assert!(refused.contains("the setting `next` was changed"), "{refused}");
        }
    }
}

#[tokio::test]
async fn a_page_can_be_skipped_where_pages_are_counted() {
    let after = |settings: Value, cursor: Option<&str>| {
        let base_url = Url::parse("http://x.org").unwrap();
        let credentials = json!({"api_key": "s3cret"});
        let endpoint = Endpoint { kind: "paged_json".to_owned(), base_url, credentials, settings };
        PagedJson::open(&endpoint).unwrap().after(cursor, &Walk::NEW)
    };
    assert_eq!(after(documented("page_number"), None).as_deref(), Some("2"));
    assert_eq!(after(documented("page_number"), Some("7")).as_deref(), Some("8"));
    assert_eq!(after(documented("offset"), None).as_deref(), Some("100"));
    assert_eq!(after(documented("offset"), Some("250")).as_deref(), Some("350"));
    let mut unsized_pages = documented("offset");
    unsized_pages.as_object_mut().unwrap().remove("page_size");
    assert_eq!(after(unsized_pages, Some("250")), None);
    for style in ["next_url", "link_header", "cursor", "last_id"] {
        assert_eq!(after(documented(style), Some("x")), None, "{style}");
    }
}

#[test]
fn settings_that_cannot_work_together_are_refused() {
    let refused = |settings: Value| {
        let base_url = Url::parse("http://x.org").unwrap();
        let credentials = json!({"api_key": "s3cret"});
        let endpoint = Endpoint { kind: "paged_json".to_owned(), base_url, credentials, settings };
        PagedJson::open(&endpoint).unwrap_err().to_string()
    };
    let mut composite = documented("last_id");
    composite["records"]["id"] = json!(["/a", "/b"]);
    let mut untotalled = with("offset", &json!({"until_total": true}));
    untotalled.as_object_mut().unwrap().remove("total");
    for (settings, words) in [
        (composite, "next.id: is needed"),
        (untotalled, "next.until_total: needs total"),
        (
            with("page_number", &json!({"pages": "total_pages"})),
            "next.pages: \"total_pages\" is not a JSON pointer",
        ),
        (with("last_id", &json!({"more": "has_more"})), "next.more: "),
        (with("last_id", &json!({"id": "id"})), "next.id: "),
        (with("offset", &json!({"style": "offsets"})), "unknown variant `offsets`"),
        (with("offset", &json!({"pages": "/n"})), "unknown field `pages`"),
        (with("link_header", &json!({"pointer": "/n"})), "unknown field `pointer`"),
    ] {
        let said = refused(settings);
        assert!(said.contains(words), "{said}");
    }
}
