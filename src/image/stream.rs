//! What lies between a blob and the entries in it: the hash of the compressed bytes, the decompressor, the hash and the count
//! of the unpacked ones.

use std::cell::Cell;
use std::io::{self, BufRead, BufReader, Read};

use miniz_oxide::inflate::stream::{InflateState, inflate};
use miniz_oxide::{DataFormat, MZError, MZFlush, MZStatus};
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};
use sha2::{Digest as _, Sha256};

use super::digest::Digest;

/// How much is read at once.
pub(super) const BUFFER: usize = 64 << 10;

/// Hashes and counts what is read through it.
pub(super) struct Hashed<'a> {
    inner: &'a mut dyn Read,
    hash: Sha256,
    count: u64,
}

impl<'a> Hashed<'a> {
    pub(super) fn new(inner: &'a mut dyn Read) -> Self {
        Self { inner, hash: Sha256::new(), count: 0 }
    }

    pub(super) fn finish(self) -> (Digest, u64) {
        (Digest::of_hash(self.hash.finalize().into()), self.count)
    }
}

impl Read for Hashed<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.hash.update(&buffer[..read]);
        self.count += read as u64;
        Ok(read)
    }
}

/// What an image may still unpack to, in bytes.
pub(super) struct Budget {
    left: Cell<u64>,
    max: u64,
}

impl Budget {
    pub(super) fn new(max: u64) -> Self {
        Self { left: Cell::new(max), max }
    }

    pub(super) fn charge(&self, bytes: u64) -> io::Result<()> {
        match self.left.get().checked_sub(bytes) {
            Some(left) => {
                self.left.set(left);
                Ok(())
            }
            None => Err(io::Error::other(format!(
                "the image unpacks to more than {} bytes (--max-unpacked SIZE allows more)",
                self.max
            ))),
        }
    }
}

/// Charges what is read through it.
pub(super) struct Charged<'a> {
    pub(super) inner: &'a mut dyn Read,
    pub(super) budget: &'a Budget,
}

impl Read for Charged<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.budget.charge(read as u64)?;
        Ok(read)
    }
}

type Source<'a> = BufReader<&'a mut dyn Read>;

/// A blob as it was before compression; the first bytes tell which.
pub(crate) enum Decoded<'a> {
    Plain(Source<'a>),
    Gzip(Gzip<'a>),
    Zstd(Zstd<'a>),
}

pub(super) const GZIP: &[u8] = &[0x1f, 0x8b];
pub(super) const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];

impl<'a> Decoded<'a> {
    pub(crate) fn new(blob: &'a mut dyn Read) -> io::Result<Self> {
        let mut source = BufReader::with_capacity(BUFFER, blob);
        let start = source.fill_buf()?;
        if start.starts_with(GZIP) {
            Ok(Self::Gzip(Gzip { source, state: InflateState::new_boxed(DataFormat::Raw), within: false }))
        } else if start.starts_with(ZSTD) || is_skippable(start) {
            Ok(Self::Zstd(Zstd { source, decoder: Box::new(FrameDecoder::new()), within: false }))
        } else {
            Ok(Self::Plain(source))
        }
    }

    pub(super) fn is_plain(&self) -> bool {
        matches!(self, Self::Plain(_))
    }
}

impl Read for Decoded<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(source) => source.read(buffer),
            Self::Gzip(gzip) => gzip.read(buffer),
            Self::Zstd(zstd) => zstd.read(buffer),
        }
    }
}

/// RFC 1952: members, each with a header and a checksum behind it. The checksum is not looked at: what comes out has a SHA-256.
pub(crate) struct Gzip<'a> {
    source: Source<'a>,
    state: Box<InflateState>,
    within: bool,
}

impl Gzip<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if !self.within && !self.begin()? {
                return Ok(0);
            }
            let input = self.source.fill_buf()?;
            let end = input.is_empty();
            let step = inflate(&mut self.state, input, buffer, MZFlush::None);
            self.source.consume(step.bytes_consumed);
            match step.status {
                Ok(MZStatus::StreamEnd) => {
                    self.source.read_exact(&mut [0; 8]).map_err(|_| cut("gzip"))?;
                    self.within = false;
                }
                Ok(_) | Err(MZError::Buf) if step.bytes_written > 0 || !end => {}
                Ok(_) | Err(MZError::Buf) => return Err(cut("gzip")),
                Err(_) => return Err(io::Error::other("the gzip data is damaged")),
            }
            if step.bytes_written > 0 || buffer.is_empty() {
                return Ok(step.bytes_written);
            }
        }
    }

    /// Reads a member's header. False: there is no further member.
    fn begin(&mut self) -> io::Result<bool> {
        if self.source.fill_buf()?.is_empty() {
            return Ok(false);
        }
        let mut header = [0; 10];
        self.exact(&mut header)?;
        let flags = header[3];
        if !header.starts_with(GZIP) || header[2] != 8 || flags & 0xe0 != 0 {
            return Err(io::Error::other("after gzip data comes something else, or an unknown kind of it"));
        }
        if flags & 4 != 0 {
            let mut length = [0; 2];
            self.exact(&mut length)?;
            self.exact(&mut vec![0; u16::from_le_bytes(length).into()])?;
        }
        for _ in 0..(flags & 8).count_ones() + (flags & 16).count_ones() {
            let mut byte = [1];
            while byte != [0] {
                self.exact(&mut byte)?;
            }
        }
        if flags & 2 != 0 {
            self.exact(&mut [0; 2])?;
        }
        self.state.reset(DataFormat::Raw);
        self.within = true;
        Ok(true)
    }

    fn exact(&mut self, bytes: &mut [u8]) -> io::Result<()> {
        self.source.read_exact(bytes).map_err(|_| cut("gzip"))
    }
}

/// RFC 8878: frames, and among them some to skip.
pub(crate) struct Zstd<'a> {
    source: Source<'a>,
    decoder: Box<FrameDecoder>,
    within: bool,
}

fn is_skippable(start: &[u8]) -> bool {
    matches!(start, [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..])
}

impl Zstd<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if !self.within && !self.begin()? {
                return Ok(0);
            }
            let damaged = |_| io::Error::other("the zstd data is damaged or ends too early");
            while self.decoder.can_collect() == 0 && !self.decoder.is_finished() {
                self.decoder
                    .decode_blocks(&mut self.source, BlockDecodingStrategy::UptoBlocks(1))
                    .map_err(damaged)?;
            }
            let read = self.decoder.read(buffer)?;
            if read > 0 || buffer.is_empty() {
                return Ok(read);
            }
            self.within = false;
        }
    }

    /// Reads a frame's header. False: there is no further frame.
    fn begin(&mut self) -> io::Result<bool> {
        loop {
            if self.source.fill_buf()?.is_empty() {
                return Ok(false);
            }
            match self.decoder.init(&mut self.source) {
                Ok(()) => {
                    self.within = true;
                    return Ok(true);
                }
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame { length, .. })) => {
                    let skipped = io::copy(&mut self.source.by_ref().take(length.into()), &mut io::sink())?;
                    if skipped < u64::from(length) {
                        return Err(cut("zstd"));
                    }
                }
                Err(FrameDecoderError::WindowSizeTooBig { .. }) => {
                    return Err(io::Error::other("the zstd data needs more than 128 MiB of memory to unpack"));
                }
                Err(_) => return Err(io::Error::other("after zstd data comes something else, or it is damaged")),
            }
        }
    }
}

fn cut(what: &str) -> io::Error {
    io::Error::other(format!("the {what} data ends too early"))
}
