//! Networks of containers, in namespaces of their own.

pub(crate) mod crowd;
pub(crate) mod refused;
pub(crate) mod world;
