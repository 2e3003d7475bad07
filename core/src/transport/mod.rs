//! Image transports: manifests and configurations, before any layer is fetched.
