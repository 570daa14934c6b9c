//! `uneven-load PORT PATH RATE SECONDS`: calls a function at a fixed rate, one call in a hundred being a slow one, and tells how long
//! the slow and the other ones took, as a line of JSON.
//!
//! The rate is the same for whoever answers, so a quick server is not asked for more slow calls than another. No call waits for an
//! earlier one's connection: where none is free it gets a new one. `wrk` can do neither.

use std::io;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// Of so many calls one is slow.
const SLOW_ONE_IN: u32 = 100;

fn main() -> io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let parsed = match &arguments[..] {
        [port, path, rate, seconds] => port.parse().ok().zip(rate.parse().ok()).zip(seconds.parse().ok()).map(|numbers| (numbers, path)),
        _ => None,
    };
    let Some((((port, rate), seconds), path)) = parsed else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "usage: uneven-load PORT PATH RATE SECONDS"));
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let calls = runtime.block_on(make(Client { port, path: path.clone(), idle: Arc::default() }, rate, seconds))?;
    let times = |slow| {
        let mut times: Vec<u128> = calls.iter().filter(|call| call.slow == slow).map(|call| call.elapsed.as_micros()).collect();
        times.sort_unstable();
        let at = |part: f64| times.get((times.len() as f64 * part) as usize).or(times.last()).copied().unwrap_or_default();
        format!(r#"{{"p50_us":{},"p99_us":{},"p999_us":{},"most_us":{}}}"#, at(0.5), at(0.99), at(0.999), at(1.0))
    };
    println!(r#"{{"quick":{},"slow":{}}}"#, times(false), times(true));
    Ok(())
}

/// What came of a call.
struct Call {
    slow: bool,
    elapsed: Duration,
}

/// Where calls go to, and the connections that are free.
#[derive(Clone)]
struct Client {
    port: u16,
    path: String,
    idle: Arc<Mutex<Vec<TcpStream>>>,
}

async fn make(client: Client, rate: u32, seconds: u32) -> io::Result<Vec<Call>> {
    let start = tokio::time::Instant::now();
    let mut calls = JoinSet::new();
    for number in 0..rate * seconds {
        tokio::time::sleep_until(start + Duration::from_secs(1) * number / rate).await;
        let client = client.clone();
        calls.spawn(async move { client.call(number % SLOW_ONE_IN == SLOW_ONE_IN - 1).await });
    }
    let mut done = Vec::new();
    while let Some(call) = calls.join_next().await {
        done.push(call.map_err(io::Error::other)??);
    }
    Ok(done)
}

impl Client {
    async fn call(&self, slow: bool) -> io::Result<Call> {
        let free = self.idle().pop();
        let mut stream = match free {
            Some(stream) => stream,
            None => {
                let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).await?;
                stream.set_nodelay(true)?;
                stream
            }
        };
        let body = format!(r#"{{"slow":{slow}}}"#);
        let Self { path, .. } = self;
        let length = body.len();
        let request =
            format!("POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}");
        let begun = Instant::now();
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::with_capacity(1024);
        while !is_whole(&answer)? {
            if stream.read_buf(&mut answer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        let elapsed = begun.elapsed();
        self.idle().push(stream);
        Ok(Call { slow, elapsed })
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<TcpStream>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether all of a response is there; anything but a 200 that says how long it is, is an error.
fn is_whole(answer: &[u8]) -> io::Result<bool> {
    let odd = || io::Error::other(format!("an odd answer: {}", String::from_utf8_lossy(answer)));
    let Some(end) = answer.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(false) };
    let head = std::str::from_utf8(&answer[..end]).map_err(|_| odd())?.to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse::<usize>().ok());
    match length {
        Some(length) if head.starts_with("http/1.1 200") => Ok(answer.len() >= end + 4 + length),
        _ => Err(odd()),
    }
}
