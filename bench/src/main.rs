//! `bare-hyper PORT`: answers every request with a constant. What `flash` is measured against by `cargo xtask bench`.
//!
//! The same hyper, the same runtime and the same settings of a connection as `flash run` has; no routes, no limits, no
//! worker. It does not read the request's body: hyper does that on its own.

use std::convert::Infallible;
use std::io;
use std::net::Ipv4Addr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::Response;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};

/// What the measured function answers to `{"x":5,"y":3}`.
const ANSWER: &[u8] = br#"{"result":8}"#;

fn main() -> io::Result<()> {
    let port = std::env::args().nth(1).and_then(|port| port.parse().ok());
    let port = port.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "usage: bare-hyper PORT"))?;
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(serve(port))
}

async fn serve(port: u16) -> io::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(connection(stream));
    }
}

async fn connection(stream: TcpStream) {
    // A connection that breaks is the load generator's to report.
    let _ = stream.set_nodelay(true);
    let service = service_fn(async |_| {
        let mut response = Response::new(Full::new(Bytes::from_static(ANSWER)));
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        Ok::<_, Infallible>(response)
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(Duration::from_secs(10)).max_buf_size(64 * 1024).pipeline_flush(true);
    let _ = builder.serve_connection(TokioIo::new(stream), service).await;
}
