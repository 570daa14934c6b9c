//! `uneven-load PORT PATH RATE SECONDS`: calls a function at a fixed rate, one call in a hundred being a slow one, and tells how long
//! the slow and the other ones took, as a line of JSON.
//!
//! The rate is the same for whoever answers, so a quick server is not asked for more slow calls than another. No call waits for an
//! earlier one's connection: where none is free it gets a new one. `wrk` can do neither.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use flash_bench::{Connection, Times, request};
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
        let times = Times::of(calls.iter().filter(|call| call.slow == slow).map(|call| call.elapsed));
        format!(r#"{{{times},"most_us":{}}}"#, times.at(1.0))
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
    idle: Arc<Mutex<Vec<Connection>>>,
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
        let mut connection = match free {
            Some(connection) => connection,
            None => Connection::open(self.port).await?,
        };
        let request = request("POST", &self.path, &format!(r#"{{"slow":{slow}}}"#));
        let begun = Instant::now();
        connection.ask(&request).await?;
        let elapsed = begun.elapsed();
        self.idle().push(connection);
        Ok(Call { slow, elapsed })
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
