//! A worker that answers every request with a constant: what a request costs then is the host's part, with as little of a worker's as
//! there can be. Started by `flash run --runtime`.

use std::process::ExitCode;

use bytes::Bytes;

/// What the measured function answers to `{"x":5,"y":3}`.
const ANSWER: &[u8] = br#"{"result":8}"#;

fn main() -> ExitCode {
    flash_testkit::run(|worker| worker.serve(|_| Bytes::from_static(ANSWER)))
}
