//! One connection: which HTTP it speaks, its requests, its end.

use std::convert::Infallible;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::{HttpService, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite};

use crate::answer::{self, Payload};
use crate::entry::Entry;
use crate::gateway::{Gateway, Settings};
use crate::head;
use crate::places::{Answer, Order, Phase, Place, Taken};
use crate::socket::Socket;
use crate::streams::{Answering, Streams};
use crate::unreadable;

/// A head that is longer than its limit is read this much further, so that the connection can go on after the answer.
const PAST_THE_LIMIT: usize = 64 << 10;

/// Where an HTTP/2 connection begins.
const PREFACE: &[u8] = b"PRI * HTTP/2.0";

/// Where a connection of TLS begins: a handshake, in a record of version 3.
const TLS: &[u8] = &[0x16, 3];

/// Requests in flight on an HTTP/2 connection. There is no more to gain from one: a worker has far fewer slots.
const STREAMS: u32 = 1000;
/// Serves one connection, HTTP/1.1 or h2c. Its end, whatever it was, concerns nobody else.
pub(crate) async fn serve<IO>(mut io: IO, entry: Entry, gateway: Arc<Gateway>, place: Arc<Place>)
where
    IO: AsyncRead + AsyncWrite + AsFd + Send + Unpin + 'static,
{
    let told = tokio::select! {
        biased;
        first = first_bytes(&mut io, &place) => match first {
            Ok((true, first)) => return http2(Socket::http2(io, place.clone(), first), entry, gateway, place).await,
            Ok((false, first)) if first.starts_with(TLS) => {
                let text = "this looks like TLS, and this port speaks HTTP without it: http:// in place of https://";
                let answer = answer::closing(StatusCode::BAD_REQUEST, text, &gateway.next_id().1);
                return Socket::http1(io, place, first).end(&answer).await;
            }
            Ok((false, first)) => return http1(Socket::http1(io, place.clone(), first), entry, gateway, place).await,
            Err(_) => return,
        },
        order = place.order() => order,
    };
    if let Some(answer) = last_words(told, &place, &gateway) {
        Socket::http1(io, place, Bytes::new()).end(&answer).await;
    }
}

/// Reads until it is known whether the caller speaks HTTP/2.
async fn first_bytes(io: &mut (impl AsyncRead + Unpin), place: &Place) -> std::io::Result<(bool, Bytes)> {
    let mut first = [0; 1024];
    let mut count = 0;
    loop {
        let read = io.read(&mut first[count..]).await?;
        count += read;
        let known = count.min(PREFACE.len());
        let differs = first[..known] != PREFACE[..known];
        if differs || known == PREFACE.len() || read == 0 {
            return Ok((!differs && known == PREFACE.len(), Bytes::copy_from_slice(&first[..count])));
        }
        place.enter(Phase::Head);
    }
}

async fn http1<IO>(socket: Socket<IO>, entry: Entry, gateway: Arc<Gateway>, place: Arc<Place>)
where
    IO: AsyncRead + AsyncWrite + AsFd + Unpin,
{
    let mut builder = http1::Builder::new();
    // Limits on time are the place's: hyper's timer is an allocation a request.
    builder.header_read_timeout(None).max_buf_size(gateway.settings.head_bytes + PAST_THE_LIMIT);
    let service = service(entry, gateway.clone(), place.clone(), Answering::http1);
    let mut connection = builder.serve_connection(TokioIo::new(socket), service);
    let end = loop {
        tokio::select! {
            biased; // a request that has come by now is served
            done = &mut connection => match done {
                Ok(()) => return,
                Err(error) => break Err(error),
            },
            order = place.order() => match order {
                Order::Drop => return,
                Order::Finish if !place.is_waiting() || place.phase() == Phase::Head => std::pin::Pin::new(&mut connection).graceful_shutdown(),
                Order::Expire | Order::MakeWay if !place.is_waiting() => {}
                Order::Finish | Order::Expire | Order::MakeWay => break Ok(order),
            },
        }
    };
    let parts = connection.into_parts();
    let socket = parts.io.into_inner();
    let answer = match end {
        Ok(order) => last_words(order, &place, &gateway),
        Err(error) => why_refused(&socket, &parts.read_buf, &error, &gateway.settings)
            .map(|(status, text)| answer::closing(status, &text, &gateway.next_id().1)),
    };
    socket.end(&answer.unwrap_or_default()).await;
}

/// What a caller is told whose head was not taken; nothing where it has left, or its answer cannot be written.
fn why_refused<IO>(socket: &Socket<IO>, head: &[u8], error: &hyper::Error, settings: &Settings) -> Option<(StatusCode, String)>
where
    IO: AsyncRead + AsyncWrite + AsFd + Unpin,
{
    if let Some(doubt) = socket.doubt() {
        return Some((doubt.status(), doubt.to_string()));
    }
    // Without a status of its own it is the preface of HTTP/2, in the midst of HTTP/1.1.
    let status = socket.refused().or(error.is_parse().then_some(StatusCode::BAD_REQUEST))?;
    let text = match status {
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE if socket.most_fields() > head::FIELDS => head::too_many(socket.most_fields()),
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => answer::head_too_long(settings),
        _ => format!("the request cannot be read: {}", unreadable::fault(head).unwrap_or_else(|| error.to_string())),
    };
    Some((status, text))
}

/// What a caller is told whose connection ends before its request was there; nothing where it had not begun one.
fn last_words(order: Order, place: &Place, gateway: &Gateway) -> Option<Vec<u8>> {
    let (status, text) = match (order, place.phase()) {
        (Order::Expire, Phase::Head) => (StatusCode::REQUEST_TIMEOUT, "the request's head did not come in time"),
        (Order::MakeWay, Phase::Head) => (StatusCode::SERVICE_UNAVAILABLE, "too many connections are open"),
        _ => return None,
    };
    Some(answer::closing(status, text, &gateway.next_id().1))
}

async fn http2<IO>(socket: Socket<IO>, entry: Entry, gateway: Arc<Gateway>, place: Arc<Place>)
where
    IO: AsyncRead + AsyncWrite + AsFd + Send + Unpin + 'static,
{
    let settings = &gateway.settings;
    let mut builder = http2::Builder::new(Streams { patience: settings.write_timeout });
    builder.timer(TokioTimer::new()).keep_alive_interval(Duration::from_secs(20)).keep_alive_timeout(settings.head_timeout);
    builder.max_concurrent_streams(STREAMS).max_header_list_size(header_list(settings));
    let service = service(entry, gateway.clone(), place.clone(), Answering::http2);
    let mut connection = builder.serve_connection(TokioIo::new(socket), service);
    let mut ending = false;
    loop {
        tokio::select! {
            biased;
            _ = &mut connection => return,
            order = place.order() => match order {
                Order::Drop => return,
                Order::Expire | Order::MakeWay if !place.is_waiting() => {}
                // Told twice: the caller does not play its part in an orderly end.
                Order::Finish | Order::Expire | Order::MakeWay if ending && place.is_waiting() => return,
                Order::Finish | Order::Expire | Order::MakeWay => {
                    std::pin::Pin::new(&mut connection).graceful_shutdown();
                    ending = true;
                }
            },
        }
    }
}

fn header_list(settings: &Settings) -> u32 {
    u32::try_from(settings.head_bytes + PAST_THE_LIMIT).unwrap_or(u32::MAX)
}

/// Requests of one connection, whose place knows of them.
fn service(
    entry: Entry,
    gateway: Arc<Gateway>,
    place: Arc<Place>,
    answering: fn(Payload, Taken) -> Answering,
) -> impl HttpService<Incoming, ResBody = Answering, Error = Infallible, Future: Send + 'static> + Unpin {
    service_fn(move |request: Request<Incoming>| {
        let (entry, gateway, mut taken) = (entry.clone(), gateway.clone(), Taken::new(&place));
        async move {
            let response: Response<Payload> = gateway.handle(request, &entry).await;
            taken.answered(if matches!(response.body(), Payload::Whole(_)) { Answer::Whole } else { Answer::Streamed });
            Ok(response.map(|payload| answering(payload, taken)))
        }
    })
}
