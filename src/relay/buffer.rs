//! Bytes on their way. Filled when it is empty, and then emptied.

use rustix::io::Errno;

pub(crate) struct Buffer<const N: usize> {
    bytes: [u8; N],
    from: usize,
    to: usize,
}

impl<const N: usize> Buffer<N> {
    pub(crate) fn new() -> Self {
        Self { bytes: [0; N], from: 0, to: 0 }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.from == self.to
    }

    pub(crate) fn left(&self) -> &[u8] {
        &self.bytes[self.from..self.to]
    }

    pub(crate) fn consume(&mut self, count: usize) {
        self.from = (self.from + count).min(self.to);
        if self.is_empty() {
            self.clear();
        }
    }

    pub(crate) fn clear(&mut self) {
        (self.from, self.to) = (0, 0);
    }

    /// Without room for it, it is left out.
    pub(crate) fn push(&mut self, byte: u8) {
        if self.to < N {
            self.bytes[self.to] = byte;
            self.to += 1;
        }
    }

    /// Has `read` fill it, if it is empty; `skip` bytes of what it got are none of ours.
    pub(crate) fn fill(
        &mut self,
        skip: usize,
        read: impl FnOnce(&mut [u8]) -> Result<usize, Errno>,
    ) -> Result<usize, Errno> {
        let count = read(&mut self.bytes)?;
        (self.from, self.to) = (skip.min(count), count);
        Ok(count)
    }

    /// The first byte of all, also one that was skipped.
    pub(crate) fn first(&self) -> u8 {
        self.bytes[0]
    }
}
