//! What the load generators share: a connection that sends one request at a time, and what is told of a turn.

use std::fmt::{self, Display};
use std::io;
use std::net::Ipv4Addr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// A connection to a server on this machine.
pub struct Connection {
    stream: TcpStream,
    answer: Vec<u8>,
}

impl Connection {
    /// Opens one.
    ///
    /// # Errors
    /// Where nobody listens.
    pub async fn open(port: u16) -> io::Result<Self> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, answer: Vec::with_capacity(1024) })
    }

    /// Sends a request of [`request`]; gives the body of its answer.
    ///
    /// # Errors
    /// Anything but a 200 that says how long it is, and a connection that breaks.
    pub async fn ask(&mut self, request: &[u8]) -> io::Result<&str> {
        self.stream.write_all(request).await?;
        self.answer.clear();
        loop {
            if let Some(begin) = body(&self.answer)? {
                return std::str::from_utf8(&self.answer[begin..]).map_err(|_| odd(&self.answer));
            }
            if self.stream.read_buf(&mut self.answer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
}

/// A request as it is sent.
pub fn request(method: &str, path: &str, json: &str) -> Vec<u8> {
    let kind = if json.is_empty() { "" } else { "content-type: application/json\r\n" };
    let length = json.len();
    format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\n{kind}content-length: {length}\r\n\r\n{json}").into_bytes()
}

/// Where the body begins, once all of it is there.
fn body(answer: &[u8]) -> io::Result<Option<usize>> {
    let Some(end) = answer.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(None) };
    let head = std::str::from_utf8(&answer[..end]).map_err(|_| odd(answer))?;
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        if name.eq_ignore_ascii_case("content-length") { value.trim().parse::<usize>().ok() } else { None }
    });
    match length {
        Some(length) if head.starts_with("HTTP/1.1 200") => Ok((answer.len() >= end + 4 + length).then_some(end + 4)),
        _ => Err(odd(answer)),
    }
}

fn odd(answer: &[u8]) -> io::Error {
    io::Error::other(format!("an odd answer: {}", String::from_utf8_lossy(answer)))
}

/// How long requests took: shown as the fields of a JSON object.
pub struct Times {
    sorted: Vec<Duration>,
}

impl Times {
    /// Of these, in any order.
    pub fn of(times: impl IntoIterator<Item = Duration>) -> Self {
        let mut sorted: Vec<_> = times.into_iter().collect();
        sorted.sort_unstable();
        Self { sorted }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.sorted.len()
    }

    /// This part of them took no longer, in microseconds; of none, no time at all.
    pub fn at(&self, part: f64) -> u128 {
        let place = (self.sorted.len() as f64 * part) as usize;
        self.sorted.get(place).or(self.sorted.last()).map_or(0, Duration::as_micros)
    }
}

impl Display for Times {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [p50, p99, p999] = [0.5, 0.99, 0.999].map(|part| self.at(part));
        write!(to, r#""p50_us":{p50},"p99_us":{p99},"p999_us":{p999}"#)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_given_once_all_of_it_is_there() {
        let whole = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";
        assert_eq!(body(whole).ok(), Some(Some(whole.len() - 2)));
        assert_eq!(body(&whole[..whole.len() - 1]).ok(), Some(None));
        assert_eq!(body(&whole[..20]).ok(), Some(None));
    }

    #[test]
    fn a_refusal_and_an_answer_without_a_length_are_errors() {
        for answer in ["HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n"] {
            assert!(body(answer.as_bytes()).is_err(), "{answer}");
        }
    }

    #[test]
    fn times_are_told_by_their_place_among_all() {
        let times = Times::of((1..=1000).rev().map(Duration::from_micros));
        assert_eq!(times.to_string(), r#""p50_us":501,"p99_us":991,"p999_us":1000"#);
        assert_eq!((times.at(1.0), Times::of([]).at(0.5)), (1000, 0));
    }
}
