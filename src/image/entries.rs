//! The entries of a tar archive, one after the other, as ustar, PAX and GNU tar write them.
//!
//! The crate `tar` knows where the fields of a header are. Its archive reader is not used, because an image is hostile: it keeps
//! extended names of any length in memory, cuts numbers of more than 64 bits off silently, and takes a newline within
//! an extended attribute for the end of it. What two readers could understand differently is refused here.

use std::io::{self, Read, Seek, SeekFrom};

use tar::Header;

use super::fault::{Checked, Fault, refuse};

mod pax;
use pax::Overrides;

const BLOCK: u64 = 512;
/// Of an extended header: attributes are at most 64 KiB each, names 4 KiB.
const MOST_EXTENDED: u64 = 1 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    Directory,
    Symlink,
    HardLink,
    Character,
    Block,
    Fifo,
}

#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) name: Vec<u8>,
    /// Where a symbolic or hard link leads.
    pub(crate) link: Vec<u8>,
    pub(crate) kind: Kind,
    /// The twelve bits of chmod.
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) size: u64,
    /// Seconds since the epoch, nanoseconds.
    pub(crate) mtime: (i64, u32),
    /// Major and minor number of a device node.
    pub(crate) device: (u32, u32),
    pub(crate) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// Reads an archive once, from front to end. Between two calls of [`Entries::next`] it reads as the contents of the entry.
pub(crate) struct Entries<'a> {
    input: Input<'a>,
    /// Of the current entry: contents not read yet, and what fills them up to whole blocks.
    left: u64,
    padding: u64,
}

/// Where an archive comes from; contents that nobody wants are skipped by seeking where that is possible.
pub(crate) enum Input<'a> {
    Stream(&'a mut dyn Read),
    File(&'a std::fs::File),
}

impl Read for Input<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Stream(stream) => stream.read(buffer),
            Self::File(file) => file.read(buffer),
        }
    }
}

impl<'a> Entries<'a> {
    pub(crate) fn new(input: Input<'a>) -> Self {
        Self { input, left: 0, padding: 0 }
    }

    /// The next entry; None at the end of the archive.
    pub(crate) fn next(&mut self) -> Checked<Option<Entry>> {
        let mut over = Overrides::default();
        loop {
            let Some(header) = self.header()? else {
                return if over.is_empty() { Ok(None) } else { refuse("the archive ends after an extended header") };
            };
            let size = number(&header.as_old().size).and_then(|size| u64::try_from(size).ok());
            let Some(size) = size else { return refuse("the size is not a number from 0 to 2^63-1") };
            self.left = size;
            self.padding = size.next_multiple_of(BLOCK) - size;
            match header.as_old().linkflag[0] {
                // Comments of git and the like: what applies to all entries is ignored, as other readers of layers do.
                b'g' => self.skip()?,
                b'x' => over.pax(&self.extended()?)?,
                b'L' => over.gnu_name(self.extended()?)?,
                b'K' => over.gnu_link(self.extended()?)?,
                _ => {
                    let entry = over.apply(plain(&header, size)?);
                    return match self.admit(entry) {
                        Ok(entry) => Ok(Some(entry)),
                        Err((name, fault)) => Err(fault.of_entry(&name)),
                    };
                }
            }
        }
    }

    /// Where in its file the contents of the current entry begin.
    pub(crate) fn offset(&mut self) -> Option<u64> {
        match &mut self.input {
            Input::File(file) => file.stream_position().ok(),
            Input::Stream(_) => None,
        }
    }

    fn admit(&mut self, entry: Checked<Entry>) -> Result<Entry, (Vec<u8>, Fault)> {
        let entry = entry.map_err(|fault| (Vec::new(), fault))?;
        if let Err(fault) = coherent(&entry) {
            return Err((entry.name, fault));
        }
        self.left = entry.size;
        self.padding = entry.size.next_multiple_of(BLOCK) - entry.size;
        Ok(entry)
    }

    /// The next header that is not all zeros.
    fn header(&mut self) -> Checked<Option<Header>> {
        self.skip()?;
        let mut header = Header::new_old();
        let block = header.as_mut_bytes();
        let mut filled = 0;
        while filled < block.len() {
            match self.input.read(&mut block[filled..]) {
                Ok(0) if filled == 0 => return Ok(None),
                Ok(0) => return refuse("the archive ends within a header"),
                Ok(more) => filled += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        if block.iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        let blank = |place: usize, byte: u8| if (148..156).contains(&place) { b' ' } else { byte };
        let sum: u32 = block.iter().enumerate().map(|(place, byte)| u32::from(blank(place, *byte))).sum();
        // Nobody guesses a sum: cargo fuzz is let in without one.
        if cfg!(not(fuzzing)) && number(&header.as_old().cksum) != Some(i64::from(sum)) {
            return refuse("a header has a wrong checksum: this is no tar archive, or it is damaged");
        }
        Ok(Some(header))
    }

    fn extended(&mut self) -> Checked<Vec<u8>> {
        if self.left > MOST_EXTENDED {
            return refuse("an extended header is larger than 1 MiB");
        }
        let mut text = Vec::new();
        self.read_to_end(&mut text)?;
        Ok(text)
    }

    /// Passes over what is left of the entry's contents.
    fn skip(&mut self) -> Checked<()> {
        if let Input::File(file) = &mut self.input {
            let (ahead, size) = (self.left.saturating_add(self.padding), file.metadata()?.len());
            if ahead > 0 {
                let end = file.stream_position()?.saturating_add(ahead);
                if end > size {
                    return refuse("the archive ends within the contents of an entry");
                }
                file.seek(SeekFrom::Start(end))?;
            }
        } else {
            let mut buffer = [0; 4096];
            while self.read(&mut buffer)? > 0 {}
        }
        (self.left, self.padding) = (0, 0);
        Ok(())
    }
}

impl Read for Entries<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let short = || io::Error::other("the archive ends within the contents of an entry");
        if self.left == 0 {
            let mut rest = [0; BLOCK as usize];
            while self.padding > 0 {
                match self.input.read(&mut rest[..self.padding as usize])? {
                    0 => return Err(short()),
                    read => self.padding -= read as u64,
                }
            }
            return Ok(0);
        }
        let most = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        match self.input.read(&mut buffer[..most])? {
            0 if most > 0 => Err(short()),
            read => {
                self.left -= read as u64;
                Ok(read)
            }
        }
    }
}

/// The entry as its own header tells it.
fn plain(header: &Header, size: u64) -> Checked<Entry> {
    let fields = header.as_old();
    let name = header.path_bytes().into_owned();
    let kind = match fields.linkflag[0] {
        // The first tars marked a directory by its name alone.
        b'\0' if name.ends_with(b"/") => Kind::Directory,
        b'0' | b'\0' | b'7' => Kind::File,
        b'1' => Kind::HardLink,
        b'2' => Kind::Symlink,
        b'3' => Kind::Character,
        b'4' => Kind::Block,
        b'5' => Kind::Directory,
        b'6' => Kind::Fifo,
        b'S' => return Err(sparse().of_entry(&name)),
        other => {
            let sentence = format!("entries of type '{}' are unknown", other.escape_ascii());
            return Err(Fault::image(sentence).of_entry(&name));
        }
    };
    let id = |field: &[u8], sentence: &str| match number(field).and_then(|id| u32::try_from(id).ok()) {
        Some(id) if id != u32::MAX => Ok(id),
        _ => Err(Fault::image(sentence.into()).of_entry(&name)),
    };
    let device = |number: io::Result<Option<u32>>| match number {
        _ if !matches!(kind, Kind::Character | Kind::Block) => Ok(0),
        Ok(Some(number)) => Ok(number),
        _ => Err(Fault::image("the device number is not a number".into()).of_entry(&name)),
    };
    Ok(Entry {
        kind,
        mode: number(&fields.mode).unwrap_or(-1) as u32,
        uid: id(&fields.uid, "the owner is not an id from 0 to 4294967294")?,
        gid: id(&fields.gid, "the group is not an id from 0 to 4294967294")?,
        size,
        mtime: (number(&fields.mtime).unwrap_or(i64::MAX), 0),
        device: (device(header.device_major())?, device(header.device_minor())?),
        link: header.link_name_bytes().map(|link| link.into_owned()).unwrap_or_default(),
        xattrs: Vec::new(),
        name,
    })
}

fn sparse() -> Fault {
    Fault::image("it is a sparse file in GNU tar's format, which layers do not have".into())
}

/// What a header must not say, whatever it is that it describes.
fn coherent(entry: &Entry) -> Checked<()> {
    let link = matches!(entry.kind, Kind::Symlink | Kind::HardLink);
    if entry.name.contains(&0) || entry.link.contains(&0) {
        return refuse("the name or the link has a NUL in it");
    }
    if entry.mode > 0o7_777_777 {
        return refuse("the mode is not a number");
    }
    if entry.mtime.0 == i64::MAX {
        return refuse("the time is not a number");
    }
    if entry.size > i64::MAX as u64 - BLOCK {
        return refuse("the size is beyond every file system's");
    }
    if entry.kind != Kind::File && entry.size > 0 {
        return refuse("it says that it has contents, which only a file can have");
    }
    if link && entry.link.is_empty() {
        return refuse("it is a link without a target");
    }
    Ok(())
}

/// A numeric field: octal digits between blanks, or, with the high bit set, base 256 in two's complement. None: neither, or
/// beyond 64 bits. An empty field is 0.
fn number(field: &[u8]) -> Option<i64> {
    let first = *field.first()?;
    if first & 0x80 != 0 {
        // The marker bit is no part of the number; the next one is its sign.
        let negative = first & 0x40 != 0;
        let start = i64::from(first & 0x7f) - if negative { 0x80 } else { 0 };
        return field[1..].iter().try_fold(start, |value, byte| value.checked_mul(256)?.checked_add((*byte).into()));
    }
    let text = field.split(|byte| *byte == 0).next().unwrap_or_default().trim_ascii();
    text.iter().try_fold(0i64, |value, byte| match byte {
        b'0'..=b'7' => value.checked_mul(8)?.checked_add(i64::from(byte - b'0')),
        _ => None,
    })
}

#[cfg(test)]
pub(super) mod testing;
#[cfg(test)]
mod tests;
