//! Recordings: batches as they were sent, in a file.
//!
//! `RAVNREC1`, then one zstd stream of batches, each after its length as u32, little endian.
//! Command lines and paths stand in them, so a recording is its owner's alone (mode 0600).

use std::fs::{File, OpenOptions};
use std::io::{BufReader, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use ravn_shared::wire::MAX_DECODE_BYTES;

/// First bytes of every recording.
const MAGIC: &[u8; 8] = b"RAVNREC1";
/// Compression: 3 is zstd's own default.
const LEVEL: i32 = 3;
/// Largest window that a reader allocates: 8 MiB, more than level 3 asks for.
const MOST_WINDOW_LOG: u32 = 23;

/// Why a recording cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum RecordingError {
    /// The operating system's word.
    #[error("{path}: {source}; check the path, its permissions and the free space")]
    Io {
        /// The file.
        path: PathBuf,
        /// The operating system's word.
        source: std::io::Error,
    },
    /// Something else.
    #[error("{0} is no recording: it does not begin with RAVNREC1")]
    Magic(PathBuf),
    /// A length that no batch has.
    #[error("{path}: a batch of {length} bytes; the recording is damaged from there on")]
    Length {
        /// The file.
        path: PathBuf,
        /// The length that stands there.
        length: u32,
    },
    /// It ends inside a batch.
    #[error("{0} is cut off; what came before is used")]
    Cut(PathBuf),
}

/// Writes a recording.
pub struct Writer {
    path: PathBuf,
    out: zstd::Encoder<'static, File>,
}

impl Writer {
    /// Makes a new file with mode 0600; one that exists is not overwritten.
    ///
    /// # Errors
    /// [`RecordingError::Io`].
    pub fn create(path: &Path) -> Result<Self, RecordingError> {
        let failed = |source| RecordingError::Io {
            path: path.to_path_buf(),
            source,
        };
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)
            .map_err(failed)?;
        file.write_all(MAGIC).map_err(failed)?;
        Ok(Self {
            path: path.to_path_buf(),
            out: zstd::Encoder::new(file, LEVEL).map_err(failed)?,
        })
    }

    /// Adds a batch. Larger ones than any decoder reads are left out; true when it was added.
    ///
    /// # Errors
    /// [`RecordingError::Io`].
    pub fn push(&mut self, batch: &[u8]) -> Result<bool, RecordingError> {
        let Some(length) = u32::try_from(batch.len())
            .ok()
            .filter(|_| batch.len() <= MAX_DECODE_BYTES)
        else {
            return Ok(false);
        };
        self.out
            .write_all(&length.to_le_bytes())
            .and_then(|()| self.out.write_all(batch))
            .map_err(|source| self.failed(source))?;
        Ok(true)
    }

    /// Writes what is held back, so that a reader now sees every batch.
    ///
    /// # Errors
    /// [`RecordingError::Io`].
    pub fn flush(&mut self) -> Result<(), RecordingError> {
        self.out.flush().map_err(|source| self.failed(source))
    }

    /// Ends the file.
    ///
    /// # Errors
    /// [`RecordingError::Io`].
    pub fn finish(self) -> Result<(), RecordingError> {
        let path = self.path;
        let synced = self.out.finish().and_then(|file| file.sync_all());
        synced.map_err(|source| RecordingError::Io { path, source })
    }

    fn failed(&self, source: std::io::Error) -> RecordingError {
        RecordingError::Io {
            path: self.path.clone(),
            source,
        }
    }
}

/// Reads a recording batch by batch. An error is the last item.
pub struct Reader {
    path: PathBuf,
    input: zstd::Decoder<'static, BufReader<File>>,
    over: bool,
}

impl Reader {
    /// Opens a recording.
    ///
    /// # Errors
    /// A file that cannot be read, or is no recording.
    pub fn open(path: &Path) -> Result<Self, RecordingError> {
        let failed = |source| RecordingError::Io {
            path: path.to_path_buf(),
            source,
        };
        let mut file = File::open(path).map_err(failed)?;
        let mut magic = [0; MAGIC.len()];
        if file.read_exact(&mut magic).is_err() || &magic != MAGIC {
            return Err(RecordingError::Magic(path.to_path_buf()));
        }
        let mut input = zstd::Decoder::new(file).map_err(failed)?;
        input.window_log_max(MOST_WINDOW_LOG).map_err(failed)?;
        Ok(Self {
            path: path.to_path_buf(),
            input,
            over: false,
        })
    }

    fn batch(&mut self) -> Result<Option<Vec<u8>>, RecordingError> {
        let cut = |path: &PathBuf| RecordingError::Cut(path.clone());
        let mut length = [0; 4];
        // The end is between two batches, and zstd tells a whole stream from a torn one.
        let mut have = 0;
        while have < length.len() {
            match self.input.read(&mut length[have..]) {
                Ok(0) if have == 0 => return Ok(None),
                Ok(0) | Err(_) => return Err(cut(&self.path)),
                Ok(more) => have += more,
            }
        }
        let length = u32::from_le_bytes(length);
        if length as usize > MAX_DECODE_BYTES {
            return Err(RecordingError::Length {
                path: self.path.clone(),
                length,
            });
        }
        let mut bytes = vec![0; length as usize];
        self.input
            .read_exact(&mut bytes)
            .map_err(|_| cut(&self.path))?;
        Ok(Some(bytes))
    }
}

impl Iterator for Reader {
    type Item = Result<Vec<u8>, RecordingError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.over {
            return None;
        }
        let batch = self.batch().transpose();
        self.over = !matches!(batch, Some(Ok(_)));
        batch
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use crate::scratch::Scratch;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn batches_come_back_and_the_file_is_private() {
        let scratch = Scratch::new();
        let path = scratch.file("a.ravnrec");
        let batches: Vec<Vec<u8>> = (0..50).map(|size| vec![size as u8; size * 100]).collect();
        let mut writer = Writer::create(&path).unwrap();
        for batch in &batches {
            assert!(writer.push(batch).unwrap());
        }
        assert!(!writer.push(&vec![0; MAX_DECODE_BYTES + 1]).unwrap());
        writer.finish().unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let read: Result<Vec<_>, _> = Reader::open(&path).unwrap().collect();
        assert_eq!(read.unwrap(), batches);
        assert!(Writer::create(&path).is_err(), "overwritten");
    }

    #[test]
    fn a_cut_recording_gives_what_it_has_and_says_so() {
        let scratch = Scratch::new();
        let path = scratch.file("a.ravnrec");
        let mut writer = Writer::create(&path).unwrap();
        for number in 0..100u64 {
            let noise: Vec<u8> = (0..200)
                .map(|at| super::super::rng::mix(number * 200 + at) as u8)
                .collect();
            writer.push(&noise).unwrap();
            writer.flush().unwrap();
        }
        writer.finish().unwrap();
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
        let read: Vec<_> = Reader::open(&path).unwrap().collect();
        assert!(read.len() > 20);
        assert!(matches!(read.last(), Some(Err(RecordingError::Cut(_)))));
        std::fs::write(&path, b"RAVNREC0").unwrap();
        assert!(matches!(Reader::open(&path), Err(RecordingError::Magic(_))));
    }

    #[test]
    fn a_length_beyond_any_batch_is_refused_before_it_is_allocated() {
        let scratch = Scratch::new();
        let path = scratch.file("a.ravnrec");
        let mut out = MAGIC.to_vec();
        out.extend(zstd::encode_all(&u32::MAX.to_le_bytes()[..], 1).unwrap());
        std::fs::write(&path, out).unwrap();
        let read: Vec<_> = Reader::open(&path).unwrap().collect();
        assert!(matches!(read[..], [Err(RecordingError::Length { .. })]));
    }
}
