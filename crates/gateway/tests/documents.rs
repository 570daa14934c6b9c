//! What is answered for an endpoint whose routes nobody could describe yet.

use std::fs;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use flash_gateway::{Access, Endpoint, Gateway, Settings};
use flash_workers::{Base, Interpreter, Limits, Pool, Status, Workers};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// The answer to a GET of the document of an endpoint whose interpreter runs `package` for a worker's package, once `settled` says so.
async fn answer(package: &str, settled: fn(&Status) -> bool) -> std::io::Result<String> {
    let directory = tempfile::tempdir()?;
    fs::write(directory.path().join("__init__.py"), package)?;
    let interpreter = Interpreter { python: "python3".into(), package: Some(directory.path().into()), routes: true };
    let base = Arc::new(Base::new(interpreter, Arc::new(|_| ())));
    let settings = flash_workers::Settings {
        limits: Limits { slots: 1, ahead: 0, waiting: 1, grace: Duration::ZERO },
        workers: Workers::fixed(1),
        timeout: Duration::from_secs(30),
        start_timeout: Duration::from_secs(30),
        replace_stuck: true,
        unheard: 0,
    };
    let pool = Pool::start("users", base, serde_json::json!({ "functions": [] }), settings);
    pool.status().wait_for(settled).await.expect("the pool is here");
    let gateway = Gateway::new(Settings::default(), 1);
    gateway.add(Endpoint::new(pool.clone(), [(http::Method::GET, "/".parse().expect("this is a good path"))], Access::Routes));

    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    let (stop, stopped) = watch::channel(false);
    let server = tokio::spawn(flash_gateway::serve(listener, Arc::new(gateway), stopped, Duration::ZERO));
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(b"GET /lb/users/openapi.json HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    stop.send_replace(true);
    server.await.expect("it does not panic");
    pool.close(Duration::ZERO).await;
    Ok(answer)
}

fn check(answer: &str, detail: &str) {
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(answer.contains("\r\nretry-after: 1\r\n"), "{answer}");
    assert!(answer.ends_with(&format!(r#"{{"detail":"{detail}"}}"#)), "{answer}");
}

#[tokio::test]
async fn an_endpoint_that_starts_says_so() {
    let starting = answer("import signal; signal.pause()", |status| matches!(status, Status::Starting)).await;
    check(&starting.unwrap(), "users has not been ready yet, so its routes are not known");
}

#[tokio::test]
async fn an_endpoint_that_cannot_start_says_so() {
    let failed = answer("raise SystemExit(3)", |status| matches!(status, Status::Failed(_))).await;
    check(&failed.unwrap(), "users cannot run: its interpreter does not start as it should; see its log");
}
