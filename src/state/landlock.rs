//! What landlock leaves to a container's processes.

use miniserde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize, Debug, Clone, Default, PartialEq)]
pub(crate) struct Landlock {
    /// Absolute paths as the container has them: what can be read and executed there, and what can be changed as well. None of
    /// either: files are not confined.
    pub(crate) read: Vec<String>,
    pub(crate) write: Vec<String>,
    /// Nobody asked for these paths by name: one need not be there, and the command's own file is among them.
    pub(crate) usual: bool,
    /// As `--landlock-port` has them; none: ports are not confined.
    pub(crate) ports: Vec<String>,
    /// LANDLOCK_SCOPE_*: neighbours whom no namespace keeps out of reach.
    pub(crate) scoped: u64,
}
