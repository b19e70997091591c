//! A backup: named parts in one stream, each piece with a checksum, the whole with another.
//!
//! The file begins with `musterd backup 1` and a line feed. Then come the parts: 1, the length of the name
//! (u8), the name, and pieces up to one of length 0. A piece is length (u32), checksum (u32), bytes. At the
//! end come 0, the number of parts (u32) and the checksum (u32) of everything before it. Little endian.

use std::io::{self, Read, Write};

const MAGIC: &[u8] = b"musterd backup 1\n";
const PART: u8 = 1;
const END: u8 = 0;
/// A longer piece is none of ours.
const PIECE_MAX: u32 = 64 << 20;

/// Writes a backup.
pub(super) struct ArchiveWriter<W> {
    out: W,
    sum: crc32fast::Hasher,
    parts: u32,
}

impl<W: Write> ArchiveWriter<W> {
    pub(super) fn new(out: W) -> io::Result<Self> {
        let mut archive = Self {
            out,
            sum: crc32fast::Hasher::new(),
            parts: 0,
        };
        archive.write(MAGIC)?;
        Ok(archive)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.sum.update(bytes);
        self.out.write_all(bytes)
    }

    /// Begins a part; its pieces follow.
    pub(super) fn begin(&mut self, name: &str) -> io::Result<()> {
        let len = u8::try_from(name.len()).map_err(io::Error::other)?;
        self.parts += 1;
        self.write(&[PART, len])?;
        self.write(name.as_bytes())
    }

    pub(super) fn piece(&mut self, bytes: &[u8]) -> io::Result<()> {
        for bytes in bytes.chunks(1 << 20) {
            let len = u32::try_from(bytes.len()).map_err(io::Error::other)?;
            self.write(&len.to_le_bytes())?;
            self.write(&crc32fast::hash(bytes).to_le_bytes())?;
            self.write(bytes)?;
        }
        Ok(())
    }

    /// Ends a part.
    pub(super) fn end(&mut self) -> io::Result<()> {
        self.write(&0_u32.to_le_bytes())
    }

    /// Ends the backup.
    pub(super) fn finish(mut self) -> io::Result<()> {
        self.write(&[END])?;
        self.write(&self.parts.to_le_bytes())?;
        let sum = self.sum.clone().finalize();
        self.out.write_all(&sum.to_le_bytes())?;
        self.out.flush()
    }
}

/// Reads a backup.
pub(super) struct ArchiveReader<R> {
    from: R,
    sum: crc32fast::Hasher,
    parts: u32,
    at: u64,
}

impl<R: Read> ArchiveReader<R> {
    /// Reads the head.
    pub(super) fn new(from: R) -> io::Result<Self> {
        let mut archive = Self {
            from,
            sum: crc32fast::Hasher::new(),
            parts: 0,
            at: 0,
        };
        let mut magic = [0; MAGIC.len()];
        archive.read(&mut magic)?;
        match magic == MAGIC {
            true => Ok(archive),
            false => Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "it is no backup that this version of musterd reads",
            )),
        }
    }

    /// The name of the next part; none at the end, whose checksum is right then.
    pub(super) fn part(&mut self) -> io::Result<Option<String>> {
        let mut kind = [0];
        self.read(&mut kind)?;
        match kind[0] {
            PART => {
                let mut len = [0];
                self.read(&mut len)?;
                let mut name = vec![0; len[0].into()];
                self.read(&mut name)?;
                self.parts += 1;
                let name = String::from_utf8(name).map_err(|_| self.damaged())?;
                Ok(Some(name))
            }
            END => self.check_end().map(|()| None),
            _ => Err(self.damaged()),
        }
    }

    fn check_end(&mut self) -> io::Result<()> {
        let parts = self.number()?;
        let sum = self.sum.clone().finalize();
        match parts == self.parts && self.number()? == sum {
            true => Ok(()),
            false => Err(self.damaged()),
        }
    }

    /// The next piece of the part; none at its end.
    pub(super) fn piece(&mut self) -> io::Result<Option<Vec<u8>>> {
        let len = self.number()?;
        if len == 0 {
            return Ok(None);
        }
        if len > PIECE_MAX {
            return Err(self.damaged());
        }
        let sum = self.number()?;
        let mut bytes = Vec::new();
        let taken = (&mut self.from).take(len.into()).read_to_end(&mut bytes)?;
        self.at += taken as u64;
        self.sum.update(&bytes);
        match taken == len as usize && crc32fast::hash(&bytes) == sum {
            true => Ok(Some(bytes)),
            false => Err(self.damaged()),
        }
    }

    fn number(&mut self) -> io::Result<u32> {
        let mut bytes = [0; 4];
        self.read(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn read(&mut self, into: &mut [u8]) -> io::Result<()> {
        self.from
            .read_exact(into)
            .map_err(|error| match error.kind() {
                io::ErrorKind::UnexpectedEof => self.damaged(),
                _ => error,
            })?;
        self.at += into.len() as u64;
        self.sum.update(into);
        Ok(())
    }

    fn damaged(&self) -> io::Error {
        let text = format!("the backup is damaged or cut off near byte {}", self.at);
        io::Error::new(io::ErrorKind::InvalidData, text)
    }
}
