//! Connections: accepted, looked after, ended.

use std::collections::HashMap;
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::{Instant, Interval, MissedTickBehavior};

use crate::connection;
use crate::entry::{Entry, Means};
use crate::gateway::Gateway;
use crate::places::{Limits, Order, Place};

/// Serves until `stop` says true, then lets connections finish what they have begun, for at most `grace`.
pub async fn serve(listener: TcpListener, gateway: Arc<Gateway>, stop: watch::Receiver<bool>, grace: Duration) {
    // Not each connection's own: whoever listens on all addresses serves all names, whichever way a caller comes.
    let Ok(local) = listener.local_addr() else { return };
    accept(listener, Entry::Callers(local.ip()), gateway, stop, grace).await;
}

/// Serves as [`serve`] does, over loopback and without TLS, and demands that everybody is admitted ([`Gateway::with_admission`]).
pub async fn serve_operators(listener: TcpListener, gateway: Arc<Gateway>, stop: watch::Receiver<bool>, grace: Duration) {
    accept(listener, Entry::Operators, gateway, stop, grace).await;
}

/// Serves requests of workers to endpoints, as [`serve`] those of callers: over loopback and without TLS, for who shows what `means` knows, and
/// nothing but the endpoints that they mean.
pub async fn serve_workers(listener: TcpListener, gateway: Arc<Gateway>, means: Means, stop: watch::Receiver<bool>, grace: Duration) {
    accept(listener, Entry::Workers(means), gateway, stop, grace).await;
}

async fn accept(listener: TcpListener, entry: Entry, gateway: Arc<Gateway>, mut stop: watch::Receiver<bool>, grace: Duration) {
    let settings = &gateway.settings;
    let mut connections = Connections::new(&gateway, entry);
    let mut sweep = tokio::time::interval(connections.limits.sweep);
    sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // A connection for which there was no place; whether there was no descriptor for one, and whether that was told.
    let (mut next, mut starved, mut failing) = (None, false, false);
    loop {
        let looks = next.is_some() || starved || !connections.open.is_empty();
        tokio::select! {
            () = stopped(&mut stop) => break,
            Some(ended) = connections.tasks.join_next_with_id() => {
                connections.ended(ended);
                starved = false;
                if let Some(stream) = next.take() {
                    connections.start(stream);
                }
            }
            _ = sweep.tick(), if looks => {
                connections.sweep();
                // Who was told to make way may have got a request instead.
                if next.is_some() {
                    connections.make_way();
                }
                starved = false;
            }
            accepted = listener.accept(), if next.is_none() && !starved => match accepted {
                Ok((stream, _)) => {
                    failing = false;
                    if connections.open.len() < settings.connections {
                        connections.start(stream);
                    } else {
                        next = Some(stream);
                        connections.make_way();
                    }
                }
                Err(error) => {
                    // Out of descriptors, most likely: a connection that ends gives one back.
                    if !std::mem::replace(&mut failing, true) {
                        tracing::warn!(%error, "a connection could not be accepted; the next ones wait");
                    }
                    starved = true;
                    connections.make_way();
                }
            },
        }
    }
    drop((listener, next));
    connections.finish(grace, sweep).await;
}

async fn stopped(stop: &mut watch::Receiver<bool>) {
    // An error would mean that nobody can stop it any more, which is stopping it.
    let _ = stop.wait_for(|stop| *stop).await;
}

/// All connections that are open.
struct Connections {
    gateway: Arc<Gateway>,
    entry: Entry,
    limits: Limits,
    tasks: JoinSet<()>,
    open: HashMap<Id, Arc<Place>>,
    sweeps: Arc<AtomicU32>,
    /// Those that had waited longest for a request when all were last looked at, and since which sweep; the longest last.
    idle: Vec<(u32, Arc<Place>)>,
}

impl Connections {
    fn new(gateway: &Arc<Gateway>, entry: Entry) -> Self {
        let settings = &gateway.settings;
        Self {
            gateway: gateway.clone(),
            entry,
            limits: Limits::new(settings.head_timeout, settings.idle_timeout, settings.write_timeout),
            tasks: JoinSet::new(),
            open: HashMap::new(),
            sweeps: Arc::default(),
            idle: Vec::new(),
        }
    }

    fn start(&mut self, stream: TcpStream) {
        let place = Arc::new(Place::new(&self.sweeps));
        let task = self.tasks.spawn(tcp(stream, self.entry.clone(), self.gateway.clone(), place.clone()));
        self.open.insert(task.id(), place);
    }

    /// Takes note of a task's end. A panic in it was its own connection's end alone.
    fn ended(&mut self, ended: Result<(Id, ()), JoinError>) {
        self.open.remove(&ended.map_or_else(|error| error.id(), |(id, ())| id));
    }

    /// Tells those that are overdue.
    fn sweep(&mut self) {
        self.sweeps.fetch_add(1, Relaxed);
        for place in self.open.values() {
            if let Some(order) = place.overdue(&self.limits) {
                place.tell(order);
            }
        }
    }

    /// Has the connection end that has waited longest for a request. Where each has one, or has just had one, nobody makes way.
    fn make_way(&mut self) {
        if self.idle.is_empty() {
            self.note_idle();
        }
        while let Some((since, place)) = self.idle.pop() {
            // It may have had a request since it was noted, or be gone.
            if place.waits_since() == Some(since) && Arc::strong_count(&place) > 1 {
                return place.tell(Order::MakeWay);
            }
        }
    }

    /// All are looked at, so several are noted.
    fn note_idle(&mut self) {
        let idle = self.open.values().filter_map(|place| Some((place.waits_since()?, place.clone())));
        self.idle = longest_idle(idle.collect(), self.sweeps.load(Relaxed));
    }

    /// Lets all finish what they have begun.
    async fn finish(mut self, grace: Duration, mut sweep: Interval) {
        let end = Instant::now() + grace;
        self.tell_all(Order::Finish);
        loop {
            tokio::select! {
                ended = self.tasks.join_next_with_id() => match ended {
                    Some(ended) => self.ended(ended),
                    None => return,
                },
                _ = sweep.tick() => {
                    self.sweep();
                    self.tell_all(Order::Finish); // those that have answered meanwhile
                }
                () = tokio::time::sleep_until(end) => return self.tasks.shutdown().await,
            }
        }
    }

    fn tell_all(&self, order: Order) {
        for place in self.open.values() {
            place.tell(order);
        }
    }
}

/// Of those that wait since these sweeps the ones that have waited longest, the longest last. Who has just been answered may be about to
/// ask again, and is none of them.
fn longest_idle<T>(mut idle: Vec<(u32, T)>, now: u32) -> Vec<(u32, T)> {
    const NOTED: usize = 64;
    let waited = |since: u32| now.wrapping_sub(since);
    idle.retain(|(since, _)| waited(*since) > 1);
    idle.sort_unstable_by_key(|(since, _)| waited(*since));
    idle.split_off(idle.len().saturating_sub(NOTED))
}

async fn tcp(stream: TcpStream, entry: Entry, gateway: Arc<Gateway>, place: Arc<Place>) {
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let tls = gateway.tls.clone().filter(|_| entry.is_encrypted());
    let Some(tls) = tls else { return connection::serve(stream, entry, gateway, place).await };
    let accepted = tokio::select! {
        accepted = tls.accept(stream) => accepted,
        _ = place.order() => return, // nothing is begun
    };
    // Whoever speaks another protocol is told so by TLS itself.
    if let Ok(stream) = accepted {
        connection::serve(stream, entry, gateway, place).await;
    }
}

/// Serves one connection that somebody else has accepted on `local`. It has as long as it likes.
pub async fn serve_connection<IO>(io: IO, local: IpAddr, gateway: Arc<Gateway>)
where
    IO: AsyncRead + AsyncWrite + AsFd + Send + Unpin + 'static,
{
    connection::serve(io, Entry::Callers(local), gateway, Arc::new(Place::new(&Arc::default()))).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_that_have_waited_longest_go_first() {
        assert_eq!(longest_idle(vec![(7, 'a'), (3, 'b'), (5, 'c')], 10), [(7, 'a'), (5, 'c'), (3, 'b')]);
        assert_eq!(longest_idle(vec![(10, 'a'), (9, 'b'), (8, 'c')], 10), [(8, 'c')]);
        assert_eq!(longest_idle(vec![(u32::MAX, 'a'), (3, 'b')], 5), [(3, 'b'), (u32::MAX, 'a')]);
        let many: Vec<_> = (0..1000).map(|since| (since, ())).collect();
        assert_eq!(longest_idle(many, 1000).last(), Some(&(0, ())));
    }
}
