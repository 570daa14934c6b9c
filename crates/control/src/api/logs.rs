//! Logs, as they were and as they go on.

use std::convert::Infallible;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use flash_api::{LogLine, LogStream};
use flash_store::Timestamp;
use http::header;
use http::request::Parts;
use hyper::body::Frame;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;

use super::document::{Kind, Parameter};
use super::{Shared, query};
use crate::clock;
use crate::control::Control;
use crate::logs::Reading;
use crate::refusal::Refusal;

/// Lines that wait for a caller who reads slowly.
const WAITING: usize = 256;

/// What a query for them may have.
pub(super) const QUERY: &[Parameter] = &[
    Parameter { name: "endpoint", about: "Lines of the endpoint of this id.", kind: Kind::Text },
    Parameter { name: "since", about: "Lines from this time on: RFC 3339.", kind: Kind::Time },
    Parameter { name: "request", about: "Lines of this request, as in its `x-request-id`.", kind: Kind::Text },
    Parameter { name: "follow", about: "Whether lines that come later are sent as they come.", kind: Kind::Flag },
];

/// Which lines are asked for.
struct Asked {
    endpoint: Option<String>,
    since: Option<Timestamp>,
    request: Option<String>,
}

pub(super) async fn read(control: Shared, head: Parts) -> Result<Response, Refusal> {
    let query = query(&head.uri, QUERY)?;
    let bad = |what, name: &str, why: String| Refusal::BadName { what, name: name.to_owned(), why };
    let since = query.get("since").map(|text| clock::parse(text).map_err(|why| bad("since", text, why))).transpose()?;
    let follow = match query.get("follow") {
        None | Some("false") => false,
        Some("true") => true,
        Some(text) => return Err(bad("follow", text, "it is `true` or `false`".into())),
    };
    let asked = Asked { endpoint: query.get("endpoint").map(str::to_owned), since, request: query.get("request").map(str::to_owned) };
    let known = asked.endpoint.clone();
    let reading = control
        .work(move |control| {
            if let Some(id) = &known
                && !control.store.endpoints()?.iter().any(|endpoint| endpoint.id == *id)
            {
                return Err(Refusal::Unknown { what: "endpoint", name: id.clone() });
            }
            let cannot = |cause: io::Error| Refusal::System { what: "the logs cannot be read".into(), why: cause.to_string() };
            control.logs.read(known.as_deref()).map_err(cannot)
        })
        .await?;
    let (sender, lines) = mpsc::channel(WAITING);
    let followed = follow.then_some(head);
    tokio::spawn(send(control.0.clone(), reading, asked, followed, sender));
    Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], Body::new(Lines(lines))).into_response())
}

/// Ends when all is sent, its caller has left, or the server ends. `followed`: the request of who follows, whose key may be revoked meanwhile.
async fn send(control: Arc<Control>, reading: Reading, asked: Asked, followed: Option<Parts>, sender: mpsc::Sender<Bytes>) {
    let Reading { files, mut live } = reading;
    let (past, asked) = (sender.clone(), Arc::new(asked));
    let wanted = asked.clone();
    let read = tokio::task::spawn_blocking(move || merge(files, |line| !wanted.has(line) || past.blocking_send(text(line)).is_ok()));
    let Ok(Ok(())) = read.await else { return };
    let Some(followed) = followed else { return };
    loop {
        let line = tokio::select! {
            line = live.recv() => line,
            () = control.stopped() => return,
            () = sender.closed() => return,
        };
        if control.keyring.scope(&followed).is_none() {
            return;
        }
        let line = match line {
            Ok(line) if asked.has(&line) => text(&line),
            Ok(_) => continue,
            Err(RecvError::Lagged(count)) => text(&LogLine {
                time: clock::text(clock::now()),
                endpoint: String::new(),
                stream: LogStream::Server,
                request: None,
                text: format!("{count} lines are not shown: whoever reads them is too slow"),
            }),
            Err(RecvError::Closed) => return,
        };
        tokio::select! {
            sent = sender.send(line) => if sent.is_err() { return },
            () = control.stopped() => return,
        }
    }
}

impl Asked {
    fn has(&self, line: &LogLine) -> bool {
        self.endpoint.as_ref().is_none_or(|endpoint| line.endpoint == *endpoint)
            && self.since.is_none_or(|since| clock::parse(&line.time).is_ok_and(|time| time >= since))
            && self.request.as_ref().is_none_or(|request| line.request.as_ref() == Some(request))
    }
}

/// Gives the lines of all endpoints by their time, until `each` has enough. The files of one follow each other.
fn merge(files: Vec<Vec<io::Take<File>>>, mut each: impl FnMut(&LogLine) -> bool) -> io::Result<()> {
    let chained = |files: Vec<io::Take<File>>| {
        let empty: Box<dyn io::Read> = Box::new(io::empty());
        BufReader::new(files.into_iter().fold(empty, |before, file| Box::new(before.chain(file))))
    };
    let mut sources: Vec<_> = files.into_iter().map(|files| (chained(files).lines(), None::<LogLine>)).collect();
    loop {
        for (lines, next) in &mut sources {
            while next.is_none()
                && let Some(line) = lines.next().transpose()?
            {
                *next = serde_json::from_str(&line).ok(); // the last one of a server that was killed may be half written
            }
        }
        // Times are of one length, so they are in the order of their texts.
        let first = sources.iter_mut().filter(|(_, next)| next.is_some()).min_by(|(_, one), (_, other)| time(one).cmp(time(other)));
        let Some(line) = first.and_then(|(_, next)| next.take()) else { return Ok(()) };
        if !each(&line) {
            return Ok(());
        }
    }
}

fn time(line: &Option<LogLine>) -> &str {
    line.as_ref().map_or("", |line| &line.time)
}

fn text(line: &LogLine) -> Bytes {
    let mut text = serde_json::to_vec(line).expect("it is plain data");
    text.push(b'\n');
    text.into()
}

/// A body of lines as they come.
struct Lines(mpsc::Receiver<Bytes>);

impl hyper::body::Body for Lines {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(context).map(|line| line.map(|line| Ok(Frame::data(line))))
    }
}
