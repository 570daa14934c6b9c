//! Where `flash run` listens.

use std::net::{IpAddr, SocketAddr};

use tokio::net::TcpListener;

use crate::report::{Failure, Fault, Trouble};

/// The first port to try, and how many after it.
const PORT: u16 = 8888;
const PORTS: u16 = 100;

/// A listener on this port; without one, on the first that is free.
pub async fn listen(host: IpAddr, port: Option<u16>) -> Result<TcpListener, Failure> {
    let (first, count) = port.map_or((PORT, PORTS), |port| (port, 1));
    let mut last = None;
    for port in (first..=u16::MAX).take(count.into()) {
        match TcpListener::bind((host, port)).await {
            Ok(listener) => return Ok(listener),
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => last = Some(error),
            Err(error) => {
                let trouble = Trouble::new(
                    format!("cannot listen on {}", SocketAddr::new(host, port)),
                    error.to_string(),
                    "choose another address with --host or port with --port",
                );
                return Err(Failure::new(Fault::Request, trouble));
            }
        }
    }
    let why = last.map_or_else(String::new, |error| error.to_string());
    let what = if count == 1 { format!("port {first} is taken") } else { format!("no port from {first} on is free") };
    Err(Failure::new(Fault::Request, Trouble::new(what, why, "choose another with --port, or leave it out to take the next free one")))
}
