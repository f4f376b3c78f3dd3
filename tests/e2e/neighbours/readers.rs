//! Callers who ask for large answers, and do not take them.

use anyhow::{Context, Result};
use protocol::ids::TenantId;
use reqwest::{Client, StatusCode};
use serde_json::json;
use std::net::SocketAddr;
use store::connections::NewConnection;
use testkit::api::{Api, new_key};
use testkit::fixture::Fixture;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

const LIST: &str = "/source-connections?limit=1000&settings=true";
/// What a process holds for one tenant.
const MOST_OF_ONE: usize = 16 << 20;
/// What the list of a tenant's connections has at least.
const LEAST: usize = 600 << 10;

/// Connections with so large settings that their list has more than the kernel holds.
async fn many_connections(fixture: &Fixture, tenant: TenantId) -> Result<()> {
    for number in 0..60 {
        let new = NewConnection {
            tenant,
            name: number.to_string(),
            source: "ultravox".to_owned(),
            base_url: fixture.upstream.base_url(),
            settings: json!({ "page_size": 10, "note": "x".repeat(LEAST / 60) }),
        };
        fixture.put_connection(&new, &json!({ "api_key": "x" })).await?;
    }
    Ok(())
}

/// An answer's head, and the connection on which the rest of it waits to be taken.
async fn ask(api: &Api) -> Result<(String, TcpStream)> {
    let socket = TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(4 << 10)?;
    let address: SocketAddr = api.origin.strip_prefix("http://").context("an origin")?.parse()?;
    let mut stream = socket.connect(address).await?;
    let request = format!("GET {LIST} HTTP/1.1\r\nHost: x\r\nx-api-key: {}\r\n\r\n", api.key);
    stream.write_all(request.as_bytes()).await?;
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).await?;
        head.extend(byte);
    }
    Ok((String::from_utf8(head)?.to_lowercase(), stream))
}

#[tokio::test]
async fn answers_that_nobody_takes_leave_no_room_for_more_of_their_tenant_only() -> Result<()> {
    let fixture = Fixture::with_calls(0).await?;
    let tenant = fixture.store.tenants().create("acme", 16).await?.id;
    let other = fixture.store.tenants().create("other", 16).await?.id;
    many_connections(&fixture, tenant).await?;
    many_connections(&fixture, other).await?;
    let api = Api::start(&fixture, tenant).await?;
    let theirs = new_key(&fixture, other).await?;

    let mut held = Vec::new();
    let refused = loop {
        let (head, stream) = ask(&api).await?;
        held.push(stream);
        if !head.starts_with("http/1.1 200") {
            break head;
        }
        assert!(held.len() <= MOST_OF_ONE / LEAST, "answers were made without an end");
    };
    assert!(held.len() > MOST_OF_ONE / LEAST / 2, "{refused}");
    assert!(refused.starts_with("http/1.1 503") && refused.contains("retry-after: 1"), "{refused}");
    assert!(refused.contains("content-type: application/json"), "{refused}");

    let client = Client::new();
    let get = async |key: &str, path: &str| -> Result<StatusCode> {
        Ok(client.get(format!("{}{path}", api.origin)).header("x-api-key", key).send().await?.status())
    };
    assert_eq!(get(&theirs, LIST).await?, StatusCode::OK, "another tenant has a share of its own");
    assert_eq!(
        get(&api.key, "/source-connections?limit=1").await?,
        StatusCode::OK,
        "small answers have room"
    );
    drop(held);
    // The end of a connection is noticed in a moment.
    while get(&api.key, LIST).await? != StatusCode::OK {}
    fixture.finish([]).await
}
