//! The fields that the classes of endpoints take, as the SDK declares them; most are labels here.

use crate::endpoint::{Kind, ResourceClass};

/// Those of every class, in the order in which the SDK lists them.
const COMMON: [&str; 37] = [
    "name",
    "id",
    "env",
    "imageName",
    "templateId",
    "template",
    "gpus",
    "gpuIds",
    "gpuCount",
    "instanceIds",
    "cudaVersions",
    "allowedCudaVersions",
    "minCudaVersion",
    "workersMin",
    "workersMax",
    "workersPFBTarget",
    "idleTimeout",
    "executionTimeoutMs",
    "scalerType",
    "scalerValue",
    "type",
    "flashboot",
    "flashBootType",
    "datacenter",
    "locations",
    "networkVolume",
    "networkVolumes",
    "networkVolumeId",
    "python_version",
    "flashEnvironmentId",
    "activeBuildid",
    "aiKey",
    "computeType",
    "createdAt",
    "hubRelease",
    "repo",
    "userId",
];

impl ResourceClass {
    /// The fields that it takes.
    pub fn fields(self) -> impl Iterator<Item = &'static str> + Clone {
        let own: &[&str] = match self.kind() {
            Kind::LoadBalanced => &["cancel_on_disconnect", "max_concurrency"],
            Kind::QueueBased => &["max_concurrency"],
        };
        COMMON.into_iter().chain(own.iter().copied())
    }

    /// What it has that is no field: methods, and what is known of a deployment.
    pub fn attributes(self) -> impl Iterator<Item = &'static str> {
        let own: &[&str] = match self.kind() {
            Kind::LoadBalanced => &[],
            Kind::QueueBased => &["run", "runsync"],
        };
        ["deploy", "endpoint_url", "is_deployed", "undeploy"].into_iter().chain(own.iter().copied())
    }
}
