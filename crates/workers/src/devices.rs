//! GPUs: a worker that asks for some has them to itself, as long as it is there.
//!
//! It finds its own alone by `CUDA_VISIBLE_DEVICES`. That is an agreement, and no wall: a process that sets it anew sees all.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

/// The GPUs that workers of this host may be given.
#[derive(Debug)]
pub struct Devices {
    /// As CUDA names them: numbers, or what begins with `GPU-`.
    names: Vec<String>,
    /// Places in `names` that nobody has.
    free: Mutex<BTreeSet<usize>>,
}

/// What one worker has, until this is dropped.
#[derive(Debug)]
pub(crate) struct Share {
    of: Arc<Devices>,
    places: Vec<usize>,
}

impl Devices {
    /// Those of these names; nobody has any yet.
    pub fn new(names: Vec<String>) -> Arc<Self> {
        let free = Mutex::new((0..names.len()).collect());
        Arc::new(Self { names, free })
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.names.len()
    }

    /// Takes so many for a worker; `None` where fewer are free.
    pub(crate) fn take(self: &Arc<Self>, count: usize) -> Option<Share> {
        let places = allot(&mut self.free.lock().unwrap_or_else(PoisonError::into_inner), count)?;
        Some(Share { of: self.clone(), places })
    }
}

impl Share {
    /// The variables by which a process finds its own.
    pub(crate) fn environment(&self) -> [(&'static str, String); 2] {
        let names: Vec<&str> = self.places.iter().map(|place| self.of.names[*place].as_str()).collect();
        // Else each CUDA numbers them by how fast they are.
        [("CUDA_VISIBLE_DEVICES", names.join(",")), ("CUDA_DEVICE_ORDER", "PCI_BUS_ID".to_owned())]
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.of.free.lock().unwrap_or_else(PoisonError::into_inner).extend(&self.places);
    }
}

/// Takes the first ones that are free: all of them, or none.
fn allot(free: &mut BTreeSet<usize>, count: usize) -> Option<Vec<usize>> {
    let places: Vec<usize> = free.iter().copied().take(count).collect();
    if places.len() < count {
        return None;
    }
    free.retain(|place| !places.contains(place));
    Some(places)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_gets_devices_of_its_own_or_none_at_all() {
        let mut free = BTreeSet::from([0, 1, 3, 4]);
        assert_eq!(allot(&mut free, 0), Some(vec![]));
        assert_eq!(allot(&mut free, 2), Some(vec![0, 1]));
        assert_eq!(allot(&mut free, 3), None);
        assert_eq!(free, BTreeSet::from([3, 4]), "who gets none takes none");
        assert_eq!(allot(&mut free, 2), Some(vec![3, 4]));
        assert_eq!(allot(&mut free, 1), None);
    }

    #[test]
    fn what_a_worker_had_is_free_when_it_is_gone() {
        let devices = Devices::new(["0", "GPU-1a", "2"].map(str::to_owned).into());
        let visible = |share: &Share| share.environment()[0].1.clone();
        let (one, two) = (devices.take(1).expect("all are free"), devices.take(2).expect("two are"));
        assert_eq!((visible(&one), visible(&two)), ("0".to_owned(), "GPU-1a,2".to_owned()));
        assert!(devices.take(1).is_none());
        drop(one);
        assert_eq!(visible(&devices.take(1).expect("one is free again")), "0");
        drop(two);
        assert_eq!(visible(&devices.take(3).expect("all are free again")), "0,GPU-1a,2");
    }
}
