//! Ids of jobs: UUIDs of version 7, which begin with the time, so that new rows go to an index's end.

use std::sync::{Mutex, PoisonError};

use rustix::rand::{GetRandomFlags, getrandom};

/// How a job was asked for, which its id tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// By `run`.
    Run,
    /// By `runsync`.
    Runsync,
}

/// Draws ids, each greater than those before.
#[derive(Debug, Default)]
pub struct Ids(Mutex<Drawn>);

#[derive(Debug, Default)]
struct Drawn {
    /// The last id's time and what follows it, which counts within a millisecond.
    last: (u64, u64),
    /// Random bytes that are left.
    dice: Vec<u8>,
}

/// Random bytes come so many at a time: a system call a job would be seen.
const DICE: usize = 4096;

impl Ids {
    /// The next id, where it is `now`, in milliseconds since 1970.
    pub fn draw(&self, kind: Kind, now: i64) -> String {
        let (time, count, dice) = self.next(u64::try_from(now).unwrap_or(0));
        // 48 bits of time, the version, 12 bits that count, the variant, 62 random bits.
        let high = time << 16 | 0x7000 | count & 0xFFF;
        let low = dice >> 2 | 0x8000_0000_0000_0000;
        let prefix = match kind {
            Kind::Run => "",
            Kind::Runsync => "sync-",
        };
        let (a, b, c) = (high >> 32, high >> 16 & 0xFFFF, high & 0xFFFF);
        let (d, e) = (low >> 48, low & 0xFFFF_FFFF_FFFF);
        format!("{prefix}{a:08x}-{b:04x}-{c:04x}-{d:04x}-{e:012x}-u1")
    }

    fn next(&self, now: u64) -> (u64, u64, u64) {
        let mut drawn = self.0.lock().unwrap_or_else(PoisonError::into_inner); // it is changed by whole steps
        let (time, count) = drawn.last;
        // A clock that is set back, and more than 4096 in a millisecond, go on from the last one.
        drawn.last = if now > time {
            (now, 0)
        } else if count < 0xFFF {
            (time, count + 1)
        } else {
            (time + 1, 0)
        };
        let dice = drawn.dice();
        (drawn.last.0, drawn.last.1, dice)
    }
}

impl Drawn {
    fn dice(&mut self) -> u64 {
        if self.dice.len() < 8 {
            let mut fresh = vec![0; DICE];
            // Without random numbers ids still differ by their time and count, and by the server's lock on its home.
            let _ = getrandom(&mut fresh, GetRandomFlags::empty());
            self.dice = fresh;
        }
        let rest = self.dice.len() - 8;
        let bytes: [u8; 8] = self.dice[rest..].try_into().expect("they are eight");
        self.dice.truncate(rest);
        u64::from_ne_bytes(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_a_uuid_of_version_7_that_tells_how_it_was_asked_for() {
        let ids = Ids::default();
        let (run, sync) = (ids.draw(Kind::Run, 0x0190_1234_5678), ids.draw(Kind::Runsync, 0x0190_1234_5678));
        assert!(run.starts_with("01901234-5678-7000-") && run.ends_with("-u1") && run.len() == 39, "{run}");
        assert!(sync.starts_with("sync-01901234-5678-7001-") && sync.len() == 44, "{sync}");
        assert!(matches!(run.as_bytes()[19], b'8' | b'9' | b'a' | b'b'), "{run}");
    }

    #[test]
    fn ids_grow_though_the_clock_does_not() {
        let ids = Ids::default();
        let drawn: Vec<String> = (0..10_000).map(|count| ids.draw(Kind::Run, 1_000_000 - count)).collect();
        assert!(drawn.is_sorted_by(|before, after| before[..18] < after[..18]), "time and count alone put them in order");
    }
}
