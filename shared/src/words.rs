//! The words of a sequence chunk, taken apart.
//!
//! Layout, as the BPF side writes it (`bpf/sequence.bpf.h`): 16-bit little-endian words. Top
//! bit clear: a syscall. Top bit set: control, see [`Word`].

/// What the kernel knows of a thread when its slot is defined: 32 bytes in a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Thread {
    /// `start_boottime` of the thread, nanoseconds.
    pub start_ns: u64,
    /// `start_boottime` of its group leader: the process' start, nanoseconds.
    pub process_start_ns: u64,
    /// Thread id, initial pid namespace.
    pub pid: u32,
    /// Process id, initial pid namespace.
    pub tgid: u32,
    /// Times that the scheduler moved it; orders its runs on different CPUs.
    pub migrations: u32,
    /// Execs that it has survived; orders before all else.
    pub exec_id: u32,
}

/// Result class of a syscall.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Outcome {
    /// It succeeded.
    Ok = 0,
    /// EPERM or EACCES.
    Denied = 1,
    /// ENOENT, ESRCH or ENODEV.
    NotFound = 2,
    /// Any other error.
    Error = 3,
}

/// Number that stands for every syscall past the tables.
pub const NR_OTHER: u16 = 2047;

/// The ABI that a syscall came by; the numbers of each are a table of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Abi {
    /// The machine's own.
    Native = 0,
    /// x32.
    X32 = 1,
    /// 32-bit.
    Compat = 2,
}

/// One syscall.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Syscall {
    /// Its number in the table of `abi`; [`NR_OTHER`] if clamped.
    pub nr: u16,
    /// How it ended.
    pub outcome: Outcome,
    /// Which table `nr` is from.
    pub abi: Abi,
}

/// One step through a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// What follows is by the thread of this slot.
    Switch(u8),
    /// Slot's thread; what follows is by it.
    Define(u8, Thread),
    /// Jiffies since the chunk was opened, saturating.
    Time(u16),
    /// A syscall of the current slot's thread.
    Syscall(Syscall),
}

/// Why a chunk cannot be read further.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WordError {
    /// It ends inside an element, or has an odd length.
    #[error("ends in the middle of an element")]
    Truncated,
    /// A control word of no known form.
    #[error("control word {0:#06x}")]
    Unknown(u16),
}

/// Bytes of a thread's definition.
const THREAD_BYTES: usize = 32;

/// Iterates over the words of a chunk with their word index.
#[derive(Clone, Debug)]
pub struct Words<'a> {
    bytes: &'a [u8],
    at: usize,
    failed: bool,
}

impl<'a> Words<'a> {
    /// Starts at the first word of `bytes`.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            at: 0,
            failed: false,
        }
    }

    fn step(&mut self) -> Result<Word, WordError> {
        let word = u16::from_le_bytes(self.take()?);
        if word & 0x8000 == 0 {
            return Ok(Word::Syscall(Syscall::from_word(word)));
        }
        let slot = (word & 0x3f) as u8;
        match word & 0x7fc0 {
            0x00 => Ok(Word::Switch(slot)),
            0x40 => {
                let raw: [u8; THREAD_BYTES] = self.take()?;
                let u32_at = |at: usize| {
                    u32::from_le_bytes([raw[at], raw[at + 1], raw[at + 2], raw[at + 3]])
                };
                let u64_at = |at: usize| u64::from(u32_at(at)) | u64::from(u32_at(at + 4)) << 32;
                Ok(Word::Define(
                    slot,
                    Thread {
                        start_ns: u64_at(0),
                        process_start_ns: u64_at(8),
                        pid: u32_at(16),
                        tgid: u32_at(20),
                        migrations: u32_at(24),
                        exec_id: u32_at(28),
                    },
                ))
            }
            0x80 => Ok(Word::Time(u16::from_le_bytes(self.take()?))),
            _ => Err(WordError::Unknown(word)),
        }
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], WordError> {
        let raw = self
            .bytes
            .get(self.at..self.at + N)
            .ok_or(WordError::Truncated)?;
        self.at += N;
        raw.try_into().map_err(|_| WordError::Truncated)
    }
}

impl Iterator for Words<'_> {
    /// Index of the word in the chunk, and what stands there.
    type Item = Result<(u32, Word), WordError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed || self.at >= self.bytes.len() {
            return None;
        }
        let index = u32::try_from(self.at / 2).unwrap_or(u32::MAX);
        let step = self.step();
        self.failed = step.is_err();
        Some(step.map(|word| (index, word)))
    }
}

impl Syscall {
    /// Takes a syscall's word apart: bits 0-10 number, 11-12 outcome, 13 x32, 14 compat.
    pub const fn from_word(word: u16) -> Self {
        let outcome = match word >> 11 & 3 {
            0 => Outcome::Ok,
            1 => Outcome::Denied,
            2 => Outcome::NotFound,
            _ => Outcome::Error,
        };
        let abi = match word >> 13 & 3 {
            0 => Abi::Native,
            1 => Abi::X32,
            _ => Abi::Compat,
        };
        Self {
            nr: word & 0x7ff,
            outcome,
            abi,
        }
    }
}
