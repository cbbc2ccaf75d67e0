//! A writer of tar archives for tests, which writes also what no archive should have.

use tar::Header;

#[derive(Default)]
pub(crate) struct Tar {
    bytes: Vec<u8>,
    /// Where the last header is.
    last: usize,
}

/// One record of an extended header.
pub(crate) fn pax(key: &[u8], value: &[u8]) -> Vec<u8> {
    let rest = [b" ", key, b"=", value, b"\n"].concat();
    let mut length = rest.len() + 1;
    while length != rest.len() + length.to_string().len() {
        length = rest.len() + length.to_string().len();
    }
    [length.to_string().as_bytes(), &rest].concat()
}

impl Tar {
    pub(crate) fn bytes(&self) -> Vec<u8> {
        [self.bytes.as_slice(), &[0; 1024]].concat()
    }

    /// An entry of any type with any size in its header.
    pub(crate) fn entry(&mut self, name: &[u8], kind: u8, link: &[u8], size: u64, text: &[u8]) -> &mut Self {
        let mut header = Header::new_ustar();
        let ids = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        header.set_mode(if kind == b'5' { 0o755 } else { 0o644 });
        header.set_uid(ids.0.into());
        header.set_gid(ids.1.into());
        header.set_mtime(1);
        header.set_size(size);
        let old = header.as_old_mut();
        old.name[..name.len()].copy_from_slice(name);
        old.linkname[..link.len()].copy_from_slice(link);
        old.linkflag[0] = kind;
        self.last = self.bytes.len();
        self.bytes.extend(header.as_bytes());
        self.bytes.extend(text);
        self.bytes.resize(self.bytes.len().next_multiple_of(512), 0);
        self.change(|_| {})
    }

    /// Changes the last header's bytes, and its checksum to match.
    pub(crate) fn change(&mut self, change: impl FnOnce(&mut [u8])) -> &mut Self {
        let header = &mut self.bytes[self.last..self.last + 512];
        change(header);
        Self::sum(header);
        self
    }

    pub(crate) fn sum(header: &mut [u8]) {
        header[148..156].fill(b' ');
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    }

    pub(crate) fn file(&mut self, name: &str, text: &[u8]) -> &mut Self {
        self.entry(name.as_bytes(), b'0', b"", text.len() as u64, text)
    }

    pub(crate) fn directory(&mut self, name: &str) -> &mut Self {
        self.entry(name.as_bytes(), b'5', b"", 0, b"")
    }

    pub(crate) fn symlink(&mut self, name: &str, target: &str) -> &mut Self {
        self.entry(name.as_bytes(), b'2', target.as_bytes(), 0, b"")
    }

    pub(crate) fn link(&mut self, name: &str, target: &str) -> &mut Self {
        self.entry(name.as_bytes(), b'1', target.as_bytes(), 0, b"")
    }

    pub(crate) fn fifo(&mut self, name: &str) -> &mut Self {
        self.entry(name.as_bytes(), b'6', b"", 0, b"")
    }

    pub(crate) fn device(&mut self, name: &str, kind: u8, number: (u32, u32)) -> &mut Self {
        self.entry(name.as_bytes(), kind, b"", 0, b"").change(|header| {
            header[329..337].copy_from_slice(format!("{:07o}\0", number.0).as_bytes());
            header[337..345].copy_from_slice(format!("{:07o}\0", number.1).as_bytes());
        })
    }

    /// An extended header of these records for the next entry.
    pub(crate) fn pax(&mut self, records: &[Vec<u8>]) -> &mut Self {
        let text = records.concat();
        self.entry(b"x", b'x', b"", text.len() as u64, &text)
    }

    pub(crate) fn gnu_name(&mut self, name: &str) -> &mut Self {
        self.entry(b"././@LongLink", b'L', b"", name.len() as u64, name.as_bytes())
    }

    pub(crate) fn mode(&mut self, mode: u32) -> &mut Self {
        self.change(|header| header[100..108].copy_from_slice(format!("{mode:07o}\0").as_bytes()))
    }

    pub(crate) fn owner(&mut self, uid: u32, gid: u32) -> &mut Self {
        self.change(|header| {
            header[108..116].copy_from_slice(format!("{uid:07o}\0").as_bytes());
            header[116..124].copy_from_slice(format!("{gid:07o}\0").as_bytes());
        })
    }

    /// In base 256, as negative times need it.
    pub(crate) fn mtime(&mut self, seconds: i64) -> &mut Self {
        self.change(|header| {
            header[136..140].copy_from_slice(&if seconds < 0 { [0xff; 4] } else { [0x80, 0, 0, 0] });
            header[140..148].copy_from_slice(&seconds.to_be_bytes());
        })
    }
}
