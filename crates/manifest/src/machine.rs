//! What a machine has, held against what an endpoint asks for.

use crate::{Diagnostic, SettingKey, Settings};

/// What a machine has to give to workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Machine {
    /// GPUs.
    pub gpus: u32,
    /// Processors that this process may run on.
    pub processors: u32,
    /// Memory in MiB, all of it; `None` where that cannot be told.
    pub memory_mib: Option<u32>,
}

impl Machine {
    /// What it lacks of what an endpoint asks for, each with the key that asks. At rest an endpoint has its least number of workers, but a
    /// deployment starts one to verify it: what one worker asks for must be there, and what the least number of them does.
    pub fn lacks(&self, endpoint: &str, settings: &Settings) -> Vec<(SettingKey, Diagnostic)> {
        let mut problems = Vec::new();
        let at_least = u64::from(settings.workers.least().max(1));
        let each = if at_least > 1 { format!(" for each of its {at_least} workers") } else { String::new() };
        let mut refuse = |key, what: String, why: String, remedy: String| problems.push((key, Diagnostic::error(what, why, remedy)));

        // Each worker that there may be has its own: one that never gets any would only be tried again and again.
        let most = settings.workers.most();
        let gpus = u64::from(settings.gpu) * u64::from(most);
        if gpus > u64::from(self.gpus) {
            let has = match self.gpus {
                0 => "the machine has none".to_owned(),
                1 => "the machine has one".to_owned(),
                several => format!("the machine has {several}"),
            };
            let each = if most > 1 { format!(" for each of up to {most} workers") } else { String::new() };
            let what = format!("endpoint '{endpoint}' asks for {}{each}", counted(settings.gpu, "GPU"));
            let remedy = match self.gpus / settings.gpu {
                0 if self.gpus == 0 => "take `gpu` out of flash.toml, or deploy to a machine that has some".to_owned(),
                0 => format!("gpu = {}, or deploy to a machine that has more", self.gpus),
                fit => format!("workers = {fit}, or fewer GPUs for each, or deploy to a machine that has more"),
            };
            refuse(SettingKey::Gpu, what, format!("{has}, and a worker has its GPUs to itself"), remedy);
        }
        // Processors are shared: an endpoint may have more busy workers than there are, but no worker more of them than that.
        if let Some(cpu) = settings.cpu
            && cpu > self.processors
        {
            let what = format!("endpoint '{endpoint}' asks for {}", counted(cpu, "processor"));
            let why = format!("the machine gives {} to this process", counted(self.processors, "processor"));
            refuse(SettingKey::Cpu, what, why, format!("cpu = {}, or less", self.processors));
        }
        if let (Some(asked), Some(there)) = (settings.memory_mib, self.memory_mib)
            && u64::from(asked) * at_least > u64::from(there)
        {
            let what = format!("endpoint '{endpoint}' asks for {asked} MiB of memory{each}");
            let remedy = format!("ask for at most {} MiB", u64::from(there) / at_least);
            refuse(SettingKey::Memory, what, format!("the machine has {there} MiB in all"), remedy);
        }
        problems
    }
}

fn counted(number: u32, thing: &str) -> String {
    format!("{number} {thing}{}", if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Kind, Overrides, Workers};

    const MACHINE: Machine = Machine { gpus: 2, processors: 4, memory_mib: Some(8192) };

    fn lacks(machine: Machine, overrides: Overrides) -> Vec<String> {
        assert_eq!(overrides.check(), []);
        let settings = Settings {
            kind: Kind::LoadBalanced,
            workers: overrides.workers.map_or_else(Workers::default, |[least, most]| Workers::new(least, most).expect("in order")),
            gpu: overrides.gpu.unwrap_or(0),
            cpu: overrides.cpu,
            memory_mib: overrides.memory_mib,
            timeout: Settings::TIMEOUT,
            idle_timeout: Settings::IDLE_TIMEOUT,
            max_concurrency: 1,
            scaler_value: 1,
            image: None,
            env: std::collections::BTreeMap::new(),
            public: false,
            rollout: crate::Rollout::default(),
        };
        machine.lacks("a", &settings).into_iter().map(|(key, problem)| format!("{key}: {}; {}", problem.what, problem.why)).collect()
    }

    #[test]
    fn what_the_machine_has_is_no_problem() {
        let fits = |overrides: Overrides| assert_eq!(lacks(MACHINE, overrides.clone()), [""; 0], "{overrides:?}");
        fits(Overrides::default());
        fits(Overrides { cpu: Some(4), memory_mib: Some(8192), workers: Some([0, 100]), ..Overrides::default() });
        fits(Overrides { gpu: Some(2), ..Overrides::default() });
        fits(Overrides { gpu: Some(1), workers: Some([2, 2]), ..Overrides::default() });
        fits(Overrides { cpu: Some(4), workers: Some([8, 8]), ..Overrides::default() });
        fits(Overrides { memory_mib: Some(4096), workers: Some([2, 3]), ..Overrides::default() });
    }

    #[test]
    fn what_it_lacks_is_told() {
        let check = |overrides: Overrides, expected: &str| assert_eq!(lacks(MACHINE, overrides), [expected]);
        let none = Overrides::default;
        check(
            Overrides { gpu: Some(3), ..none() },
            "gpu: endpoint 'a' asks for 3 GPUs; the machine has 2, and a worker has its GPUs to itself",
        );
        check(
            Overrides { gpu: Some(1), workers: Some([0, 3]), ..none() },
            "gpu: endpoint 'a' asks for 1 GPU for each of up to 3 workers; the machine has 2, and a worker has its GPUs to itself",
        );
        check(
            Overrides { cpu: Some(5), ..none() },
            "cpu: endpoint 'a' asks for 5 processors; the machine gives 4 processors to this process",
        );
        check(
            Overrides { memory_mib: Some(8193), ..none() },
            "memory: endpoint 'a' asks for 8193 MiB of memory; the machine has 8192 MiB in all",
        );
        check(
            Overrides { memory_mib: Some(4097), workers: Some([2, 2]), ..none() },
            "memory: endpoint 'a' asks for 4097 MiB of memory for each of its 2 workers; the machine has 8192 MiB in all",
        );
        let without = Machine { gpus: 0, ..MACHINE };
        let told = lacks(without, Overrides { gpu: Some(1), ..none() });
        assert_eq!(told, ["gpu: endpoint 'a' asks for 1 GPU; the machine has none, and a worker has its GPUs to itself"]);
        let everything = Overrides { gpu: Some(9), cpu: Some(9), memory_mib: Some(9999), ..none() };
        assert_eq!(lacks(MACHINE, everything).len(), 3);
    }

    #[test]
    fn memory_that_cannot_be_told_is_not_refused() {
        let unknown = Machine { memory_mib: None, ..MACHINE };
        assert_eq!(lacks(unknown, Overrides { memory_mib: Some(99_999), ..Overrides::default() }), [""; 0]);
    }
}
