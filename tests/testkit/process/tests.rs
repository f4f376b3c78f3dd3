use super::*;
use runtime::health;
use runtime::telemetry::Metrics;
use std::os::unix::process::ExitStatusExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio_util::sync::CancellationToken;

fn shell(script: &str) -> Program {
    Program::at("/bin/sh").arg("-c").arg(script)
}

#[tokio::test]
async fn lines_are_found_kept_and_missed() {
    let mut process =
        shell("echo first >&2; echo second >&2; echo $BACKHAUL__HTTP__LISTEN >&2").start().unwrap();
    assert_eq!(process.line("sec").await.unwrap(), "second");
    assert_eq!(process.line("127.0").await.unwrap(), "127.0.0.1:0");
    let error = process.line("third").await.unwrap_err().to_string();
    assert!(error.contains("ended without logging \"third\"") && error.contains("second"), "{error}");
    assert!(process.exit().await.unwrap().success());
    assert!(process.terminate().is_err());
    assert_eq!(std::fs::read_to_string(process.log()).unwrap(), "first\nsecond\n127.0.0.1:0\n");
    std::fs::remove_file(process.log()).unwrap();
}

#[tokio::test]
async fn signals_arrive() {
    let mut drains =
        shell("sleep 100 & trap \"echo drained >&2; kill $!; exit 3\" TERM; echo up >&2; wait").start();
    let drains = drains.as_mut().unwrap();
    drains.line("up").await.unwrap();
    drains.freeze().unwrap();
    drains.terminate().unwrap();
    drains.thaw().unwrap();
    drains.line("drained").await.unwrap();
    assert_eq!(drains.exit().await.unwrap().code(), Some(3));

    let mut killed = Program::at("/bin/sleep").arg("100").start().unwrap();
    assert_eq!(killed.kill().await.unwrap().signal(), Some(9));
}

#[tokio::test]
async fn readiness_is_asked_at_the_address_that_the_log_names() {
    let asked = Arc::new(AtomicBool::new(false));
    let second_time = Arc::clone(&asked);
    let check =
        move || second_time.swap(true, Ordering::Relaxed).then_some(()).ok_or("first look".to_owned());
    let router = health::Health::new(Metrics::detached()).check("second_look", check).router();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let line = format!(r#"{{"message":"listening on http://{}","n":1}}"#, listener.local_addr().unwrap());
    tokio::spawn(health::serve(listener, router, CancellationToken::new()));

    let process = shell("echo \"$LINE\" >&2; exec sleep 100").env("LINE", &line).start().unwrap();
    process.ready().await.unwrap();
    assert!(asked.load(Ordering::Relaxed));
    assert_eq!(process.get("/healthz").await.unwrap().0, 200);
}

#[tokio::test]
async fn output_is_captured_and_missing_programs_are_named() {
    let output = shell("echo out; echo err >&2; exit 4").output().await.unwrap();
    assert_eq!((output.stdout, output.status.code()), (b"out\n".to_vec(), Some(4)));
    let error = Program::built("no-such-program").err().unwrap().to_string();
    assert!(error.contains("cargo build --workspace --bins"), "{error}");
}
