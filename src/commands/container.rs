//! Finding the containers that a verb is about, and talking to nsctl inside of them.

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;

use rustix::fs::{AtFlags, CWD};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use rustix::process::{Resource, Rlimit};

use crate::cli::{self, no_container};
use crate::commands::print;
use crate::error::{self, Error, Result};
use crate::launch::control_address;
use crate::linux::join::Stranger;
use crate::linux::text::shown;
use crate::linux::{file, process, socket};
use crate::monitor;
use crate::state::events::{self, Event, Value};
use crate::state::{self, Entry, Phase, Record, State};

/// How long the files of a container may take that is just being started.
const MAKING_MILLISECONDS: u32 = 10_000;

/// What a verb that failed leaves with, as docker's do.
pub(crate) const REFUSED: u8 = 1;

pub(crate) struct Container {
    pub(crate) place: CString,
    pub(crate) state: Rc<State>,
    pub(crate) entry: Entry,
}

/// For verbs about many containers, of which each takes a descriptor, and which start nothing that would inherit the limit: as many
/// descriptors as this process may have.
pub(crate) fn allow_many() {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    // What is refused is said by the first descriptor that there is none for.
    let _ = rustix::process::setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
}

/// The places for state that are there.
fn places() -> Result<Vec<(CString, State)>> {
    let mut found = Vec::new();
    for place in state::places() {
        match State::open(&place) {
            Ok(state) => found.push((place, state)),
            // What is not there has no container in it.
            Err(errno) if errno != Errno::NOENT && state::is_asked() => {
                return Err(super::run::unusable(&place, errno));
            }
            // Nor is one of ours in what is somebody else's.
            Err(_) => {}
        }
    }
    Ok(found)
}

/// All containers of this user.
pub(crate) fn all() -> Result<Vec<Container>> {
    let mut found = Vec::new();
    for (place, state) in places()? {
        let entries = state
            .all()
            .map_err(|errno| Error::os(format_args!("list the state directory {}", shown(&place)), errno))?;
        let state = Rc::new(state);
        found.extend(entries.into_iter().map(|entry| Container {
            place: place.clone(),
            state: state.clone(),
            entry,
        }));
    }
    Ok(found)
}

/// By its name, its id, or the unique beginning of that.
pub(crate) fn find(word: &str) -> Result<Container> {
    for (place, state) in places()? {
        let id = state.id_of(word).or_else(|| CString::new(word).ok().filter(|_| is_id(word)));
        if let Some(entry) = id.and_then(|id| state.entry(&id)) {
            return Ok(Container { place, state: Rc::new(state), entry });
        }
    }
    let mut fits: Vec<Container> = Vec::new();
    if word.len() < 12 && is_id(word) {
        fits = all()?.into_iter().filter(|container| container.record().id.starts_with(word)).collect();
    }
    match (fits.pop(), fits.is_empty()) {
        (None, _) => Err(no_container(word)),
        (Some(one), true) => Ok(one),
        _ => Err(Error::new(format_args!("{word} is the beginning of several ids"))
            .hint("nsctl ps -a lists them")
            .code(REFUSED)),
    }
}

/// Never a path.
fn is_id(word: &str) -> bool {
    !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The containers that were named, each with its name, or why there is none.
pub(crate) fn named(typed: &cli::Verb) -> Result<Vec<(String, Result<Container>)>> {
    if typed.all {
        let with_id = |container: Container| (container.record().id.clone(), Ok(container));
        return Ok(all()?.into_iter().map(with_id).collect());
    }
    Ok(typed.containers.iter().map(|word| (word.clone(), find(word))).collect())
}

/// Does something with each of the containers that were named. What fails is said, and the others come to their turn.
pub(crate) fn each(typed: &cli::Verb, act: impl Fn(&Container, &str) -> Result<()>) -> Result<u8> {
    Ok(each_of(named(typed)?, act))
}

pub(crate) fn each_of(
    containers: Vec<(String, Result<Container>)>,
    act: impl Fn(&Container, &str) -> Result<()>,
) -> u8 {
    let mut code = 0;
    for (word, found) in containers {
        if let Err(error) = found.and_then(|container| act(&container, &word)) {
            error::report(&error);
            code = REFUSED;
        }
    }
    code
}

/// What docker prints of one that something was done with: as it was named.
pub(crate) fn done(word: &str) -> Result<()> {
    print(&format!("{word}\n"))
}

impl Container {
    pub(crate) fn record(&self) -> &Record {
        &self.entry.record
    }

    pub(crate) fn dir(&self) -> BorrowedFd<'_> {
        self.entry.dir.as_fd()
    }

    /// What its nsctl inside has found out last: how it is, failures one after the other, the last exit code, and when that was.
    /// None: nobody looks.
    pub(crate) fn health(&self) -> Option<(String, [u64; 3])> {
        let text = file::read_text(self.dir(), state::HEALTH).ok()?;
        let mut words = text.split_ascii_whitespace();
        let word = words.next()?.to_string();
        Some((word, std::array::from_fn(|_| words.next().and_then(|word| word.parse().ok()).unwrap_or(0))))
    }

    /// For `nsctl events`.
    pub(crate) fn note(&self, event: &str, attributes: &[(&str, Value<'_>)]) {
        let record = self.record();
        events::append(self.state.fd(), &Event { id: &record.id, name: &record.name, event, attributes });
    }

    /// Its name, or its id.
    pub(crate) fn shown(&self) -> &str {
        let record = self.record();
        if record.name.is_empty() { &record.id } else { &record.name }
    }

    pub(crate) fn phase(&self) -> Phase {
        match &self.entry.status {
            Some(status) if self.entry.alive || status.phase == Phase::Exited => status.phase,
            _ if self.entry.alive => Phase::Running,
            _ => Phase::Exited,
        }
    }

    pub(crate) fn refused(&self, why: &str) -> Error {
        Error::new(format_args!("container {} {why}", self.shown())).code(REFUSED)
    }

    /// Its command runs; otherwise an error says how it is.
    pub(crate) fn must_run(&self) -> Result<()> {
        match self.phase() {
            Phase::Running => Ok(()),
            Phase::Created => Err(self.refused("is not started").hint("nsctl start does that")),
            Phase::Restarting => Err(self.refused("is between two starts")),
            Phase::Exited => Err(self.refused("does not run").hint("nsctl start starts it again")),
        }
    }

    /// The same, and what its PID 1 has as its root is the container's. One in the foreground is recorded while its files are still
    /// being made: until then its root is the host's, and what goes there by way of /proc would be done to that.
    pub(crate) fn must_be_made(&self) -> Result<()> {
        self.must_run()?;
        self.must_have_its_files()
    }

    /// The same of one that lives, but need not run.
    pub(crate) fn must_have_its_files(&self) -> Result<()> {
        for _ in 0..MAKING_MILLISECONDS {
            if self.is_made() {
                return Ok(());
            }
            process::pause(1);
        }
        if self.is_made() { Ok(()) } else { Err(self.refused("is still being started").hint("try again")) }
    }

    fn is_made(&self) -> bool {
        let record = self.record();
        if record.kept && self.phase() != Phase::Created {
            return true;
        }
        if record.init {
            // nsctl as PID 1 overwrites its words when it has started the command, and no sooner.
            let path = CString::new(format!("/proc/{}/cmdline", record.pid)).unwrap_or_default();
            let words = file::read(CWD, &path).unwrap_or_default();
            return words.iter().skip_while(|byte| **byte != 0).all(|byte| *byte == 0);
        }
        // The command takes the place of nsctl.
        let program = |process: &str| {
            let stat = rustix::fs::statat(CWD, format!("/proc/{process}/exe"), AtFlags::empty()).ok()?;
            Some((stat.st_dev, stat.st_ino))
        };
        program(&record.pid.to_string()) != program("self")
    }

    /// Its PID 1.
    pub(crate) fn process(&self) -> Result<Stranger> {
        let record = self.record();
        Stranger::find(record.pid, record.ticks).map_err(|errno| match errno {
            Errno::SRCH => self.refused("has just ended"),
            errno => Error::os(format_args!("find the process of container {}", self.shown()), errno).code(REFUSED),
        })
    }

    /// To nsctl inside. None: it runs in the foreground, and there is nobody to talk to.
    pub(crate) fn connect(&self) -> Result<Option<OwnedFd>> {
        if !self.record().kept {
            return Ok(None);
        }
        let connect = || {
            let kind = SocketType::SEQPACKET;
            let socket = rustix::net::socket_with(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None)?;
            rustix::net::connect(&socket, &control_address(self.dir())?)?;
            Ok(Some(socket))
        };
        connect().map_err(|errno: Errno| match errno {
            Errno::CONNREFUSED | Errno::NOENT => self.refused("has just ended"),
            errno => Error::os(format_args!("talk to container {}", self.shown()), errno).code(REFUSED),
        })
    }

    /// A signal for its command, by way of nsctl inside, which tells the command's end from its own.
    pub(crate) fn signal(&self, signal: i32) -> Result<()> {
        let sent = match self.connect()? {
            Some(socket) => socket::send(socket, &[monitor::SIGNAL, signal as u8], None),
            None => self.process()?.kill(signal),
        };
        sent.map_err(|errno| {
            Error::os(format_args!("send signal {signal} to container {}", self.shown()), errno).code(REFUSED)
        })
    }

    /// The same container as it is now. None: nothing is left of it.
    pub(crate) fn again(&self) -> Option<Self> {
        let id = CString::new(self.record().id.as_str()).ok()?;
        let entry = self.state.entry(&id)?;
        Some(Self { place: self.place.clone(), state: self.state.clone(), entry })
    }
}
