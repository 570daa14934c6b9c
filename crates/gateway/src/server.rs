//! Connections: accepted, served, ended.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use crate::gateway::Gateway;
use crate::linger::Lingering;

/// A head that is longer than its limit is read this much further, so that it gets an answer that explains: beyond, it is hyper's own.
const PAST_THE_LIMIT: usize = 64 << 10;

/// Where an HTTP/2 connection begins.
const PREFACE: &[u8] = b"PRI * HTTP/2.0";

/// Serves until `stop` says true, then lets connections finish what they have begun, for at most `grace`.
pub async fn serve(listener: TcpListener, gateway: Arc<Gateway>, mut stop: watch::Receiver<bool>, grace: Duration) {
    let mut connections = JoinSet::new();
    let places = Arc::new(Semaphore::new(gateway.settings.connections));
    loop {
        let place = tokio::select! {
            place = places.clone().acquire_owned() => place.expect("the semaphore is never closed"),
            () = stopped(&mut stop) => break,
        };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stopped(&mut stop) => break,
            Some(_) = connections.join_next() => continue,
        };
        match accepted {
            Ok((stream, _)) => {
                let (gateway, stop) = (gateway.clone(), stop.clone());
                connections.spawn(async move {
                    connection(stream, gateway, stop).await;
                    drop(place);
                });
            }
            Err(error) => {
                // Out of descriptors, most likely: ask again once some may be free.
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
    drop(listener);
    let finished = tokio::time::timeout(grace, async { while connections.join_next().await.is_some() {} });
    if finished.await.is_err() {
        connections.shutdown().await;
    }
}

async fn stopped(stop: &mut watch::Receiver<bool>) {
    // An error would mean that nobody can stop it any more, which is stopping it.
    let _ = stop.wait_for(|stop| *stop).await;
}

/// One connection, HTTP/1.1 or h2c. Its end, whatever it was, concerns nobody else.
async fn connection(stream: TcpStream, gateway: Arc<Gateway>, mut stop: watch::Receiver<bool>) {
    let (Ok(()), Ok(local)) = (stream.set_nodelay(true), stream.local_addr()) else { return };
    let settings = &gateway.settings;
    let first = tokio::select! {
        first = tokio::time::timeout(settings.head_timeout, speaks_http2(&stream)) => first,
        () = stopped(&mut stop) => return,
    };
    let Ok(Ok(http2)) = first else { return };
    let service = service_fn({
        let gateway = gateway.clone();
        move |request| {
            let gateway = gateway.clone();
            async move { Ok::<_, Infallible>(gateway.handle(request, local.ip()).await) }
        }
    });
    let io = TokioIo::new(Lingering::new(stream));
    // Both kinds of connection have these methods, and no trait has them.
    macro_rules! drive {
        ($connection:expr) => {{
            let mut connection = std::pin::pin!($connection);
            tokio::select! {
                _ = connection.as_mut() => {}
                () = stopped(&mut stop) => {
                    connection.as_mut().graceful_shutdown();
                    let _ = connection.await;
                }
            }
        }};
    }
    if http2 {
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder.timer(TokioTimer::new()).max_header_list_size((settings.head_bytes + PAST_THE_LIMIT) as u32).max_concurrent_streams(1000);
        builder.keep_alive_interval(Duration::from_secs(20)).keep_alive_timeout(settings.head_timeout);
        drive!(builder.serve_connection(io, service));
    } else {
        let mut builder = http1::Builder::new();
        builder.timer(TokioTimer::new()).header_read_timeout(settings.head_timeout).max_buf_size(settings.head_bytes + PAST_THE_LIMIT);
        drive!(builder.serve_connection(io, service));
    }
}

/// Looks at the first bytes without taking them.
async fn speaks_http2(stream: &TcpStream) -> std::io::Result<bool> {
    let mut first = [0; PREFACE.len()];
    loop {
        let count = stream.peek(&mut first).await?;
        if count == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        if count == first.len() || first[..count] != PREFACE[..count] {
            return Ok(first[..count] == *PREFACE);
        }
        tokio::time::sleep(Duration::from_millis(1)).await; // the preface came in pieces
    }
}
