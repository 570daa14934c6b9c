//! The end of a program that serves: requests under way are answered, then all workers end.

use std::time::Duration;

use tokio::sync::watch::Sender;
use tokio::task::JoinHandle;

use crate::lines::to_errors;
use crate::signals::Signals;

/// An end that takes longer than this is explained.
const UNREMARKED: Duration = Duration::from_millis(300);

/// Has the server accept nothing more, waits until it has answered what is under way, for which it takes at most `limit`, and closes what
/// is behind it. A further signal cuts that short.
pub async fn drain(
    stop: &Sender<bool>,
    mut server: &mut JoinHandle<()>,
    limit: Duration,
    close: impl Future<Output = ()>,
    signals: &mut Signals,
) {
    stop.send_replace(true);
    let drained = async {
        // An error would be a panic, after which nothing is left to drain.
        if tokio::time::timeout(UNREMARKED, &mut server).await.is_err() {
            let seconds = limit.as_secs();
            to_errors(&format!("Requests under way are answered first, for at most {seconds} s; a second Ctrl-C ends all at once.\n"));
            let _ = server.await;
        }
        close.await;
    };
    tokio::select! {
        () = drained => {}
        // A second Ctrl-C: what still runs ends with this process.
        () = signals.next() => {}
    }
}
