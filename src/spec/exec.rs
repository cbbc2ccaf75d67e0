//! `nsctl exec`: one more command in a container, with what the container's own has unless something else is asked for.

use std::ffi::{CString, OsString};

use super::{Principal, User, c_string, process};
use crate::cli;
use crate::error::{Error, Result};
use crate::linux::text::shown;
use crate::seccomp::Filter;
use crate::state::{Privileges, Record};

#[derive(Debug)]
pub(crate) struct Exec {
    pub(crate) user: Option<User>,
    pub(crate) groups: Vec<Principal>,
    pub(crate) workdir: Option<CString>,
    /// All of them.
    pub(crate) env: Vec<(OsString, OsString)>,
    /// HOME is that of the user, who is another one than the container's.
    pub(crate) home_of_user: bool,
    pub(crate) detach: bool,
    pub(crate) terminal: bool,
    pub(crate) interactive: bool,
    pub(crate) privileges: Privileges,
    /// As the container's command has it.
    pub(crate) seccomp: Option<Filter>,
    pub(crate) argv: Vec<CString>,
}

impl Exec {
    pub(crate) fn new(typed: cli::Exec, record: &Record, seccomp: Option<Filter>) -> Result<Self> {
        let changes = process::environment(&typed.env, &typed.env_file, &[])?;
        let mut env: Vec<(OsString, OsString)> = record
            .env
            .iter()
            .filter_map(|variable| variable.split_once('='))
            .map(|(name, value)| (name.into(), value.into()))
            .collect();
        let own_user = typed.user.is_some();
        // A container's HOME that is not among its variables is that of its user, too.
        let none = !env.iter().any(|(name, _)| name == "HOME");
        let home_of_user = (own_user || none) && !changes.iter().any(|(name, _)| name == "HOME");
        if home_of_user {
            env.retain(|(name, _)| name != "HOME");
        }
        for (name, value) in changes {
            // "-e NAME" takes the caller's value, or nothing.
            let Some(value) = value.or_else(|| std::env::var_os(&name)) else { continue };
            env.retain(|(known, _)| *known != name);
            env.push((name, value));
        }
        let workdir = match typed.workdir {
            Some(dir) => Some(c_string("--workdir", dir)?),
            None => Some(record.workdir.as_str())
                .filter(|dir| !dir.is_empty())
                .map(|dir| c_string("workdir", dir.into()))
                .transpose()?,
        };
        if let Some(dir) = workdir.as_ref().filter(|dir| !dir.to_bytes().starts_with(b"/")) {
            return Err(Error::new(format_args!("--workdir {} is not absolute", shown(dir)))
                .hint("in a container it begins with /"));
        }
        Ok(Self {
            user: process::user(typed.user, &record.user)?,
            groups: if own_user { Vec::new() } else { process::groups(&record.groups)? },
            workdir,
            env,
            home_of_user,
            detach: typed.detach,
            terminal: typed.tty,
            interactive: typed.interactive,
            seccomp,
            privileges: record.privileges.clone(),
            argv: typed.argv.into_iter().map(|word| c_string("the command", word)).collect::<Result<_>>()?,
        })
    }
}
