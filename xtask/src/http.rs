//! One HTTP request at a time, for looking at an answer. Load is made by a tool that is made for it.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// No answer that we look at takes this long.
const PATIENCE: Duration = Duration::from_secs(30);

/// What came back.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The body, as text.
    pub body: String,
}

/// Sends a request, with a JSON body if there is one, and reads the answer.
pub fn ask(address: SocketAddr, method: &str, path: &str, json: Option<&str>) -> io::Result<Answer> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    let body = json.unwrap_or_default();
    let kind = if json.is_some() { "content-type: application/json\r\n" } else { "" };
    let length = body.len();
    // One write: a request in two packets would be measured as two.
    let request =
        format!("{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n{kind}content-length: {length}\r\n\r\n{body}");
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    parse(&String::from_utf8_lossy(&answer)).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "the answer is not HTTP"))
}

fn parse(answer: &str) -> Option<Answer> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
    Some(Answer { status, body: body.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_has_a_status_and_a_body() {
        let parsed = parse("HTTP/1.1 201 Created\r\ncontent-length: 2\r\n\r\n{}");
        assert_eq!(parsed, Some(Answer { status: 201, body: "{}".into() }));
    }

    #[test]
    fn half_an_answer_is_none() {
        for half in ["", "HTTP/1.1 200 OK\r\ncontent-length: 2", "HTTP/1.1 20\r\n\r\n"] {
            assert_eq!(parse(half), None, "{half:?}");
        }
    }
}
