//! flash-workers
