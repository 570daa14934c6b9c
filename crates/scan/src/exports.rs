//! What the SDK's module exports: what `from runpod_flash import *` brings.

/// In order.
pub(crate) const EXPORTS: [&str; 45] = [
    "CPU_DATACENTERS",
    "CalledWhileImporting",
    "CannotCarry",
    "ConfigurationError",
    "CpuInstanceType",
    "CpuLiveLoadBalancer",
    "CpuLiveServerless",
    "CpuLoadBalancerSlsResource",
    "CpuServerlessEndpoint",
    "CudaVersion",
    "DEFAULT_WORKERS_MAX",
    "DEFAULT_WORKERS_MIN",
    "DataCenter",
    "DependencyMissing",
    "DeploymentFailed",
    "EndpointError",
    "EndpointNotDeployed",
    "EndpointUnreachable",
    "ExecutionTimeout",
    "FieldError",
    "FlashError",
    "FlashWarning",
    "FunctionNotFound",
    "GpuGroup",
    "GpuType",
    "Job",
    "JobCancelled",
    "JobFailed",
    "KeyValuePair",
    "LiveLoadBalancer",
    "LiveServerless",
    "LoadBalancerSlsResource",
    "LoadBalancerSlsStub",
    "ModuleNotLoaded",
    "NetworkVolume",
    "OptionError",
    "PodTemplate",
    "RemoteError",
    "ServerlessEndpoint",
    "ServerlessScalerType",
    "ServerlessType",
    "SessionError",
    "WorkerLost",
    "progress",
    "remote",
];

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn they_are_those_of_the_python_package() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../python/runpod_flash/__init__.py");
        let text = std::fs::read_to_string(file).expect("it is in the repository");
        let (_, list) = text.split_once("__all__ = [").expect("it has one");
        let (list, _) = list.split_once(']').expect("it ends");
        let mut names: Vec<&str> = list.split('"').skip(1).step_by(2).collect();
        names.sort_unstable();
        assert_eq!(names, EXPORTS);
    }
}
