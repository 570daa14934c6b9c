"""The worker: the process that runs a project's functions, and the zygote that forks it."""
