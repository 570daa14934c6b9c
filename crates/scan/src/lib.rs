//! flash-scan
