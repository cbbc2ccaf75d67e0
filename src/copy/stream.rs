//! A tar archive on standard output, as POSIX has them: what does not fit a header goes into an extended one before it.

use std::io::Read;

use rustix::io::Errno;

use super::Sink;
use crate::error::{Error, Result};
use crate::image::{Entry, EntryKind as Kind, shown};
use crate::linux::file;

const BLOCK: usize = 512;

pub(crate) struct Stream {
    buffer: Vec<u8>,
}

impl Stream {
    pub(crate) fn new() -> Self {
        Self { buffer: vec![0; 128 * BLOCK] }
    }

    /// Two blocks of zeros end it.
    pub(crate) fn finish(self) -> Result<()> {
        write(&[0; 2 * BLOCK])
    }
}

fn write(bytes: &[u8]) -> Result<()> {
    file::write_all(rustix::stdio::stdout(), bytes).map_err(|errno| Error::os("write to standard output", errno))
}

impl Sink for Stream {
    fn put(&mut self, entry: &Entry, contents: &mut dyn Read) -> Result<()> {
        write(&headers(entry))?;
        let mut left = entry.size;
        while left > 0 {
            let most = (self.buffer.len() as u64).min(left) as usize;
            let read = read(contents, &mut self.buffer[..most]).map_err(|errno| Error::os("read a file", errno))?;
            if read == 0 {
                eprintln!("nsctl: warning: {} was cut meanwhile: zeros take the place", shown(&entry.name));
                self.buffer.fill(0);
                while left > 0 {
                    let more = (self.buffer.len() as u64).min(left);
                    write(&self.buffer[..more as usize])?;
                    left -= more;
                }
                break;
            }
            write(&self.buffer[..read])?;
            left -= read as u64;
        }
        write(&[0; BLOCK][..(entry.size.next_multiple_of(BLOCK as u64) - entry.size) as usize])
    }

    fn takes_nodes(&self) -> bool {
        true
    }
}

/// As much as one read gives.
pub(super) fn read(contents: &mut dyn Read, buffer: &mut [u8]) -> std::result::Result<usize, Errno> {
    loop {
        match contents.read(buffer) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            other => return other.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO)),
        }
    }
}

/// The header of an entry, after the extended one that it may need.
pub(super) fn headers(entry: &Entry) -> Vec<u8> {
    let mut name = entry.name.clone();
    if name.is_empty() {
        name.push(b'.');
    }
    let flag = match entry.kind {
        Kind::File => b'0',
        Kind::HardLink => b'1',
        Kind::Symlink => b'2',
        Kind::Character => b'3',
        Kind::Block => b'4',
        Kind::Directory => b'5',
        Kind::Fifo => b'6',
    };
    if entry.kind == Kind::Directory {
        name.push(b'/');
    }
    let mut records = Vec::new();
    for (key, text) in [(&b"path"[..], &name), (b"linkpath", &entry.link)] {
        if text.len() > 100 {
            records.extend(record(key, text));
        }
    }
    // As many octal digits as the fields have.
    let numbers = [("size", entry.size, 33), ("uid", entry.uid.into(), 21), ("gid", entry.gid.into(), 21)];
    for (key, number, bits) in numbers {
        if number >> bits > 0 {
            records.extend(record(key.as_bytes(), number.to_string().as_bytes()));
        }
    }
    if !(0..1 << 33).contains(&entry.mtime.0) {
        records.extend(record(b"mtime", entry.mtime.0.to_string().as_bytes()));
    }
    for (key, value) in &entry.xattrs {
        records.extend(record(&[b"SCHILY.xattr.", key.as_slice()].concat(), value));
    }
    let mut blocks = Vec::new();
    if !records.is_empty() {
        let size = records.len() as u64;
        let own = Entry { size, mode: 0o644, link: Vec::new(), ..plain(entry) };
        blocks.extend(header(b"PaxHeaders", &own, b'x'));
        blocks.extend(&records);
        blocks.resize(blocks.len().next_multiple_of(BLOCK), 0);
    }
    blocks.extend(header(&name, entry, flag));
    blocks
}

/// An entry with the same numbers as far as a header has room for them.
fn plain(entry: &Entry) -> Entry {
    Entry { name: Vec::new(), link: Vec::new(), xattrs: Vec::new(), device: (0, 0), ..*entry }
}

/// "LENGTH KEY=VALUE\n", where LENGTH counts itself.
fn record(key: &[u8], value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    [length.to_string().as_bytes(), b" ", key, b"=", value, b"\n"].concat()
}

/// What is too large for its field is cut: then an extended header says it.
fn header(name: &[u8], entry: &Entry, flag: u8) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    let mut text = |at: usize, most: usize, text: &[u8]| {
        let length = text.len().min(most);
        block[at..at + length].copy_from_slice(&text[..length]);
    };
    text(0, 100, name);
    text(156, 1, &[flag]);
    text(157, 100, &entry.link);
    text(257, 8, b"ustar\x0000");
    let mut number = |at: usize, digits: usize, number: u64| {
        let mut rest = number;
        for place in block[at..at + digits].iter_mut().rev() {
            *place = b'0' + (rest & 7) as u8;
            rest >>= 3;
        }
    };
    let time = u64::try_from(entry.mtime.0).unwrap_or(0);
    let (major, minor) = entry.device;
    let fields = [(100, 7, entry.mode.into()), (108, 7, entry.uid.into()), (116, 7, entry.gid.into())];
    for (at, digits, value) in fields {
        number(at, digits, value);
    }
    for (at, digits, value) in
        [(124, 11, entry.size), (136, 11, time), (329, 7, major.into()), (337, 7, minor.into())]
    {
        number(at, digits, value);
    }
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    block
}
