//! The end of a program that serves: what is under way is finished, then all workers end.

use std::pin::pin;
use std::time::Duration;

use tokio::sync::watch::Sender;

use crate::lines::to_errors;
use crate::signals::Signals;

/// An end that takes longer than this is explained.
const UNREMARKED: Duration = Duration::from_millis(300);

/// Has the server accept nothing more, waits until what is `under_way` has ended, and closes what is behind it. `said` tells whoever waits
/// for long what is waited for. A further signal cuts all that short.
pub async fn drain(
    stop: &Sender<bool>,
    under_way: impl Future<Output = ()>,
    said: &str,
    close: impl Future<Output = ()>,
    signals: &mut Signals,
) {
    stop.send_replace(true);
    let drained = async {
        let mut under_way = pin!(under_way);
        if tokio::time::timeout(UNREMARKED, &mut under_way).await.is_err() {
            to_errors(&format!("{said}; a second Ctrl-C ends all at once.\n"));
            under_way.await;
        }
        close.await;
    };
    tokio::select! {
        () = drained => {}
        // A second Ctrl-C: what still runs ends with this process.
        () = signals.next() => {}
    }
}
