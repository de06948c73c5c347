//! The header that every sample begins with.

use ravn_shared::event::{Place, Task};

use crate::cursor::Cursor;

/// Bytes of `struct ravn_hdr`.
pub const HEADER_BYTES: usize = 96;

/// Where `len` is: behind six words of 64 bits, six of 32 and two of 16.
const LEN_AT: usize = 6 * 8 + 6 * 4 + 2 * 2;

/// `struct ravn_hdr`.
pub struct Header<'a> {
    pub kind: u16,
    pub cpu: u16,
    pub n: u64,
    pub time_ns: u64,
    pub task: Task<'a>,
    pub place: Place,
}

/// Length of the sample that `bytes` begins with, as its header has it.
pub fn sample_bytes(bytes: &[u8]) -> Option<usize> {
    let mut cursor = Cursor::new(bytes);
    cursor.take(LEN_AT)?;
    Some(cursor.u32()? as usize)
}

impl<'a> Header<'a> {
    /// Reads it off a sample that is at least as long as it says.
    pub fn read(c: &mut Cursor<'a>, sample: &[u8]) -> Option<Self> {
        let (n, time_ns, start_ns, parent_start_ns) = (c.u64()?, c.u64()?, c.u64()?, c.u64()?);
        let (cgroup_id, first_n, word) = (c.u64()?, c.u64()?, c.u32()?);
        let (tgid, pid, parent_tgid, uid, gid) = (c.u32()?, c.u32()?, c.u32()?, c.u32()?, c.u32()?);
        let (kind, cpu, len) = (c.u16()?, c.u16()?, c.u32()?);
        let comm = c.take(16)?;
        let comm = comm.split(|byte| *byte == 0).next().unwrap_or_default();
        if (len as usize) > sample.len() || (len as usize) < HEADER_BYTES {
            return None;
        }
        Some(Self {
            kind,
            cpu,
            n,
            time_ns,
            task: Task {
                tgid,
                pid,
                start_ns,
                parent_tgid,
                parent_start_ns,
                uid,
                gid,
                cgroup_id,
                comm,
            },
            place: Place { first_n, word },
        })
    }
}
