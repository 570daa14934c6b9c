//! flash-manifest
