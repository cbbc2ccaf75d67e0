//! What is wrong with one part of an image, before it is known which part that is: whoever reads a layer puts its name and the
//! entry's in front.

use std::io;

use rustix::io::Errno;

use crate::error::Error;
pub(crate) use crate::json::shown;

/// One word long, like [`Error`], and for the same reason.
#[derive(Debug)]
pub(crate) struct Fault(Box<What>);

#[derive(Debug)]
enum What {
    /// A system call that failed, and what it was for.
    Kernel(&'static str, Errno),
    /// The image itself is wrong or asks for what is not done.
    Image(String),
}

pub(crate) type Checked<T> = Result<T, Fault>;

/// A refusal with a fixed sentence.
#[cold]
pub(super) fn refuse<T>(sentence: &'static str) -> Checked<T> {
    Err(Fault::image(sentence.into()))
}

/// Names the act of a system call, for `map_err`.
pub(super) fn kernel(act: &'static str) -> impl Fn(Errno) -> Fault {
    move |errno| Fault::kernel(act, errno)
}

impl Fault {
    #[cold]
    pub(super) fn kernel(act: &'static str, errno: Errno) -> Self {
        Self(Box::new(What::Kernel(act, errno)))
    }

    #[cold]
    pub(super) fn image(sentence: String) -> Self {
        Self(Box::new(What::Image(sentence)))
    }

    /// Says which entry it is, if the image is to blame.
    pub(super) fn of_entry(self, name: &[u8]) -> Self {
        match *self.0 {
            What::Image(sentence) if !name.is_empty() => Self::image(format!("entry {}: {sentence}", shown(name))),
            what => Self(Box::new(what)),
        }
    }

    /// The whole sentence: `place` is the layer, and the entry in it if there is one.
    pub(crate) fn at(self, place: &str) -> Error {
        match *self.0 {
            What::Image(sentence) => Error::new(format_args!("{place}: {sentence}")),
            What::Kernel(act, errno) => Error::os(format_args!("{place}: {act}"), errno).hint(way_out(errno)),
        }
    }
}

fn way_out(errno: Errno) -> &'static str {
    match errno {
        Errno::NOSPC | Errno::DQUOT => "the store's file system is full; --store DIR takes another",
        Errno::ROFS => "the store's file system is read-only; --store DIR takes another",
        Errno::OPNOTSUPP => "the store's file system does not have this; --store DIR takes another",
        Errno::INVAL => "does the user namespace map this id, and does the store's file system have this?",
        Errno::PERM | Errno::ACCESS => "unpacking needs root, or a store of this user's own",
        _ => "",
    }
}

/// The decompressors and the limits speak through `io::Error`.
impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        match Errno::from_io_error(&error) {
            Some(errno) => Self::kernel("read the image", errno),
            None => Self::image(error.to_string()),
        }
    }
}
