//! TLS to the database, the broker and an upstream, with a certificate of one's own, named by configuration.

use anyhow::{Context, Result};
use configuration::AmqpConfig;
use protocol::job::JobStatus;
use protocol::slice::Span;
use rcgen::generate_simple_self_signed;
use serde_json::json;
use sources::{Endpoint, FetchConfig, Fetcher, PageRequest, open};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use testkit::database::Database;
use testkit::fixture::Fixture;
use testkit::private::PrivatePostgres;
use testkit::sample_upstream::{Options, TenantOptions};
use testkit::servers::Servers;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use url::Url;

/// A certificate for `localhost`, which nobody knows who is not told of it.
struct Certificate {
    pem: String,
    key: String,
    server: Arc<ServerConfig>,
    file: PathBuf,
}

impl Certificate {
    fn generate() -> Result<Self> {
        sealing::install_tls_provider();
        let made = generate_simple_self_signed(["localhost".to_owned()])?;
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).map_err(anyhow::Error::msg)?;
        let chain = vec![made.cert.der().clone()];
        let server = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key)?;
        let file = std::env::temp_dir().join(format!("backhaul-ca-{}.pem", uuid::Uuid::new_v4().simple()));
        std::fs::write(&file, made.cert.pem())?;
        Ok(Self {
            pem: made.cert.pem(),
            key: made.signing_key.serialize_pem(),
            server: Arc::new(server),
            file,
        })
    }
}

impl Drop for Certificate {
    fn drop(&mut self) {
        drop(std::fs::remove_file(&self.file));
    }
}

/// Speaks TLS on behalf of a server that does not.
struct Terminator {
    port: u16,
    task: AbortHandle,
}

impl Terminator {
    async fn before(target: SocketAddr, certificate: &Certificate) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let (port, acceptor) =
            (listener.local_addr()?.port(), TlsAcceptor::from(Arc::clone(&certificate.server)));
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    let mut client = acceptor.accept(client).await?;
                    let mut server = TcpStream::connect(target).await?;
                    tokio::io::copy_bidirectional(&mut client, &mut server).await
                });
            }
        });
        Ok(Self { port, task: task.abort_handle() })
    }
}

impl Drop for Terminator {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn address(url: &Url, default: u16) -> Result<SocketAddr> {
    let port = url.port().unwrap_or(default);
    let host = url.host_str().context("it has a host")?;
    std::net::ToSocketAddrs::to_socket_addrs(&(host, port))?.next().context("it has an address")
}

fn trusting(url: &Url, certificate: &Certificate) -> Result<Url> {
    let mut url = url.clone();
    url.set_host(Some("localhost"))?;
    let file = certificate.file.display().to_string();
    url.set_query(None);
    url.query_pairs_mut().append_pair("sslmode", "verify-full").append_pair("sslrootcert", &file);
    Ok(url)
}

#[tokio::test]
async fn a_consumer_speaks_tls_to_all_of_its_servers() -> Result<()> {
    let (certificate, stranger) = (Certificate::generate()?, Certificate::generate()?);
    let postgres = PrivatePostgres::start_with_tls(&certificate.pem, &certificate.key).await?;
    let database = trusting(&postgres.url()?, &certificate)?;
    let servers = Servers { database: database.clone(), ..Servers::from_environment()? };
    let fixture = Fixture::start_on(&servers, Options::new([TenantOptions::new("acme", 25)])).await?;
    fixture.until_sql("select ssl from pg_stat_ssl where pid = pg_backend_pid()").await?;

    let amqp: Url = servers.amqp.parse()?;
    let broker = Terminator::before(address(&amqp, 5672)?, &certificate).await?;
    let plain: Url = fixture.upstream.base_url().parse()?;
    let upstream = Terminator::before(address(&plain, 80)?, &certificate).await?;
    let amqps = amqp.as_str().replacen("amqp://", "amqps://", 1);
    let mut amqps: Url = amqps.parse()?;
    amqps.set_host(Some("localhost"))?;
    amqps.set_port(Some(broker.port)).map_err(|()| anyhow::anyhow!("no port"))?;
    let mut secure: Url = plain.as_str().replacen("http://", "https://", 1).parse()?;
    secure.set_host(Some("localhost"))?;
    secure.set_port(Some(upstream.port)).map_err(|()| anyhow::anyhow!("no port"))?;

    // Who is not told of the certificate trusts nobody.
    let distrusted = Database::store_at(&trusting(&postgres.url()?, &stranger)?)?;
    assert!(distrusted.ping().await.is_err());
    let config = AmqpConfig { url: amqps.to_string(), ..AmqpConfig::default() };
    assert!(broker::connect(&config, "distrusted").await.is_err());
    let other = AmqpConfig { ca_file: Some(stranger.file.clone()), ..config.clone() };
    assert!(broker::connect(&other, "told of another").await.is_err());
    let none = AmqpConfig { ca_file: Some(certificate.file.with_extension("none")), ..config };
    let refused = broker::connect(&none, "told of nothing").await.expect_err("there is no such file");
    assert!(refused.to_string().contains("amqp.ca_file"), "{refused}");
    let endpoint = Endpoint {
        kind: "ultravox".to_owned(),
        base_url: secure.clone(),
        credentials: json!({ "api_key": "x" }),
        settings: json!({}),
    };
    let span = Span { from: None, to: chrono::Utc::now() };
    let http = Fetcher::new(FetchConfig { allow_private_addresses: true, ..FetchConfig::default() }, 1)?;
    let request = PageRequest::first(&span, Duration::from_secs(10));
    let refused =
        open(&endpoint)?.fetch(request, &http).await.expect_err("nobody vouches for it").to_string();
    assert!(refused.to_lowercase().contains("certificate"), "{refused}");

    // One page: the sample upstream names the next by the scheme that it speaks itself.
    let base_url = secure.as_str().trim_end_matches('/');
    let account = fixture.account_at("acme", base_url, json!({ "page_size": 100 })).await?;
    let consumer = fixture
        .consumer_program()?
        .env("BACKHAUL__AMQP__URL", amqps.as_str())
        .env("BACKHAUL__AMQP__CA_FILE", certificate.file.display().to_string())
        .env("BACKHAUL__FETCH__CA_FILE", certificate.file.display().to_string())
        .start()?;
    consumer.ready().await?;
    let job = fixture.publish_start(account.connection).await?;
    fixture.until_over(job, JobStatus::Completed).await?;
    fixture.exact(account, "acme").await?;
    drop(consumer);
    fixture.finish([]).await
}
