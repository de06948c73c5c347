//! Samples of the ring buffers, as `bpf/abi.h` lays them out, decoded.
//!
//! Nothing here touches the kernel: a sample is bytes, and what does not fit its kind is
//! refused.

use std::ops::Range;

use ravn_shared::event::{
    Chmod, DupSocket, Event, Exec, Module, Named, Open, Record, Rename, exec_flags,
};
use ravn_shared::kind::{Kind, Stream};
use ravn_shared::redact::Redactor;

mod header;
mod plain;

use header::Header;
use plain::{bpf, chunk, creds, exit, fork, memfd, mount, ptrace, socket};

use crate::cursor::Cursor;
use crate::path;

/// The stream that a sample's header names, and how many numbers of it the sample took: of a
/// chunk one a syscall, where it says how many. None: the header cannot be read, or its kind is
/// none of this version's.
pub fn numbers_of(sample: &[u8]) -> Option<(Stream, u64)> {
    let mut cursor = Cursor::new(sample);
    let kind = Kind::from_wire(Header::read(&mut cursor, sample)?.kind)?;
    let numbers = match kind {
        Kind::Chunk => cursor.u32().map_or(1, u64::from),
        _ => 1,
    };
    Some((kind.stream(), numbers))
}

/// The longest record's strings: two paths and 4 KiB of arguments.
const ROOM_BYTES: usize = 16 * 1024;

/// Decodes samples; holds the room in which paths are turned round and secrets masked.
#[derive(Debug, Default)]
pub struct Decoder {
    paths: Vec<u8>,
    redactor: Redactor,
}

impl Decoder {
    /// Masks secrets of command lines with `redactor`.
    pub fn new(redactor: Redactor) -> Self {
        Self {
            paths: Vec::with_capacity(ROOM_BYTES),
            redactor,
        }
    }

    /// The record of a sample. None: it is shorter than its kind, or of no known kind.
    pub fn decode<'a>(&'a mut self, sample: &'a [u8]) -> Option<Record<'a>> {
        self.paths.clear();
        let mut cursor = Cursor::new(sample);
        let header = Header::read(&mut cursor, sample)?;
        let event = match Kind::from_wire(header.kind)? {
            Kind::Fork => fork(&mut cursor),
            Kind::Exec => self.exec(&mut cursor),
            Kind::Exit => exit(&mut cursor),
            Kind::Chunk => chunk(&mut cursor, sample.len()),
            Kind::Open => self.open(&mut cursor),
            Kind::Unlink => self
                .named(&mut cursor)
                .map(|named| Event::Unlink(named.file)),
            Kind::Rename => self.rename(&mut cursor),
            Kind::Chmod => self.named(&mut cursor).map(Event::Chmod),
            Kind::Connect => socket(&mut cursor).map(|(socket, _)| Event::Connect(socket)),
            Kind::Accept => socket(&mut cursor).map(|(socket, _)| Event::Accept(socket)),
            Kind::Bind => socket(&mut cursor).map(|(socket, _)| Event::Bind(socket)),
            Kind::Listen => socket(&mut cursor).map(|(socket, _)| Event::Listen(socket)),
            Kind::Creds => creds(&mut cursor),
            Kind::Ptrace => ptrace(&mut cursor),
            Kind::Memfd => memfd(&mut cursor),
            Kind::DupSocket => socket(&mut cursor).map(|(socket, [old_fd, new_fd])| {
                Event::DupSocket(DupSocket {
                    old_fd,
                    new_fd,
                    socket,
                })
            }),
            Kind::Mount => mount(&mut cursor),
            Kind::Module => self.module(&mut cursor),
            Kind::Bpf => bpf(&mut cursor),
        }?;
        Some(Record {
            cpu: header.cpu,
            n: header.n,
            time_ns: header.time_ns,
            task: header.task,
            place: header.place,
            event,
        })
    }

    fn path(&mut self, cursor: &mut Cursor<'_>, len: u32) -> Option<Range<usize>> {
        path::append(cursor, len, &mut self.paths)
    }

    fn exec<'a>(&'a mut self, c: &mut Cursor<'a>) -> Option<Event<'a>> {
        let (ino, cap_effective) = (c.u64()?, c.u64()?);
        let (dev, mut flags, euid, egid) = (c.u32()?, c.u32()?, c.u32()?, c.u32()?);
        let (loginuid, session, tty, argv_bytes) = (c.u32()?, c.u32()?, c.u32()?, c.u32()?);
        let (path_len, cwd_len, filename_len, argv_len) = (c.u32()?, c.u32()?, c.u32()?, c.u32()?);
        let fixed = c.take(4)?;
        let stdio_peer_port = c.u16()?;
        c.u16()?;
        let peer = c.take(16)?;
        let path = self.path(c, path_len)?;
        let cwd = self.path(c, cwd_len)?;
        let (filename, _) = c.string(filename_len)?;
        let (raw, _) = c.string(argv_len)?;
        let (argv, masked) = self.redacted(raw, argv_bytes);
        if path::was_cut(path_len) {
            flags |= exec_flags::PATH_CUT;
        }
        if path::was_cut(cwd_len) {
            flags |= exec_flags::CWD_CUT;
        }
        if masked {
            flags |= exec_flags::REDACTED;
        }
        let argv = if masked { &self.paths[argv] } else { raw };
        let taken = raw.len() - argv.len();
        Some(Event::Exec(Exec {
            path: &self.paths[path],
            argv,
            argv_bytes: argv_bytes.saturating_sub(u32::try_from(taken).unwrap_or(0)),
            cwd: &self.paths[cwd],
            filename,
            ino,
            dev,
            flags,
            euid,
            egid,
            cap_effective,
            loginuid,
            session,
            tty,
            stdio: [fixed[0], fixed[1], fixed[2]],
            stdio_peer: peer.get(..usize::from(fixed[3]))?,
            stdio_peer_port,
        }))
    }

    /// Where in the room the argv is with its secrets masked, and whether it has any.
    fn redacted(&mut self, argv: &[u8], argv_bytes: u32) -> (Range<usize>, bool) {
        let (start, cut) = (self.paths.len(), argv_bytes as usize > argv.len());
        let masked = self.redactor.redact(argv, cut, &mut self.paths);
        (start..self.paths.len(), masked)
    }

    fn open<'a>(&'a mut self, c: &mut Cursor<'a>) -> Option<Event<'a>> {
        let ino = c.u64()?;
        let (dev, flags, mode, created) = (c.u32()?, c.u32()?, c.u32()?, c.u32()?);
        let path_len = c.u32()?;
        c.u32()?;
        let path = self.path(c, path_len)?;
        let cut = path::was_cut(path_len);
        Some(Event::Open(Open {
            path: &self.paths[path],
            flags,
            mode,
            ino,
            dev,
            created: created != 0,
            cut,
        }))
    }

    /// An unlink or chmod: one name.
    fn named<'a>(&'a mut self, c: &mut Cursor<'a>) -> Option<Chmod<'a>> {
        let fixed = NamedFixed::read(c)?;
        let file = if fixed.resolved {
            let path = self.path(c, fixed.path_len)?;
            Named {
                dir: &[],
                path: &self.paths[path],
                resolved: true,
            }
        } else {
            let dir = self.start(c, fixed.dir_len)?;
            let (path, _) = c.string(fixed.path_len)?;
            Named {
                dir: &self.paths[dir],
                path,
                resolved: false,
            }
        };
        Some(Chmod {
            file,
            mode: fixed.mode,
            ino: fixed.ino,
            dev: fixed.dev,
        })
    }

    fn rename<'a>(&'a mut self, c: &mut Cursor<'a>) -> Option<Event<'a>> {
        let fixed = NamedFixed::read(c)?;
        let from_dir = self.start(c, fixed.dir_len)?;
        let (from, _) = c.string(fixed.path_len)?;
        let to_dir = self.start(c, fixed.to_dir_len)?;
        let (to, _) = c.string(fixed.to_path_len)?;
        Some(Event::Rename(Rename {
            from: Named {
                dir: &self.paths[from_dir],
                path: from,
                resolved: false,
            },
            to: Named {
                dir: &self.paths[to_dir],
                path: to,
                resolved: false,
            },
            flags: fixed.flags,
        }))
    }

    fn module<'a>(&'a mut self, c: &mut Cursor<'a>) -> Option<Event<'a>> {
        let (syscall, ret, name_len) = (c.u32()?, c.i32()?, c.u32()?);
        c.u32()?;
        let syscall = u16::try_from(syscall).ok()?;
        // finit_module names a file, by its path; delete_module a module, as given.
        let name = if syscall == 313 && name_len != 0 {
            let path = self.path(c, name_len)?;
            &self.paths[path]
        } else {
            c.string(name_len)?.0
        };
        Some(Event::Module(Module { syscall, name, ret }))
    }

    /// A starting directory; none was walked for an absolute path.
    fn start(&mut self, c: &mut Cursor<'_>, len: u32) -> Option<Range<usize>> {
        if len == 0 {
            Some(0..0)
        } else {
            self.path(c, len)
        }
    }
}

/// `struct ravn_named` without its strings.
struct NamedFixed {
    ino: u64,
    dev: u32,
    mode: u32,
    resolved: bool,
    flags: u32,
    dir_len: u32,
    path_len: u32,
    to_dir_len: u32,
    to_path_len: u32,
}

impl NamedFixed {
    fn read(c: &mut Cursor<'_>) -> Option<Self> {
        Some(Self {
            ino: c.u64()?,
            dev: c.u32()?,
            mode: c.u32()?,
            resolved: c.u32()? != 0,
            flags: c.u32()?,
            dir_len: c.u32()?,
            path_len: c.u32()?,
            to_dir_len: c.u32()?,
            to_path_len: c.u32()?,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use ravn_shared::event::Place;

    use super::header::HEADER_BYTES;
    use super::*;

    /// A sample as the programs write it: header, payload, strings.
    fn sample(kind: Kind, payload: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for word in [7u64, 1000, 500, 400, 42, 90] {
            bytes.extend_from_slice(&word.to_le_bytes());
        }
        for word in [12u32, 11, 13, 1, 1000, 1001] {
            bytes.extend_from_slice(&word.to_le_bytes());
        }
        bytes.extend_from_slice(&(kind as u16).to_le_bytes());
        bytes.extend_from_slice(&3u16.to_le_bytes());
        bytes.extend_from_slice(
            &u32::try_from(HEADER_BYTES + payload.len())
                .unwrap()
                .to_le_bytes(),
        );
        bytes.extend_from_slice(b"worker\0\0\0\0\0\0\0\0\0\0");
        assert_eq!(bytes.len(), HEADER_BYTES);
        bytes.extend_from_slice(payload);
        bytes
    }

    #[test]
    fn header_and_payload_come_back_as_they_were_written() {
        let mut payload = Vec::new();
        payload.extend_from_slice(&99u64.to_le_bytes());
        for word in [5u32, 0o101, 0o100644, 1, 8, 0] {
            payload.extend_from_slice(&word.to_le_bytes());
        }
        payload.extend_from_slice(b"new/tmp/");
        let mut decoder = Decoder::default();
        let bytes = sample(Kind::Open, &payload);
        let record = decoder.decode(&bytes).unwrap();
        assert_eq!((record.cpu, record.n, record.time_ns), (3, 7, 1000));
        assert_eq!(
            (record.task.tgid, record.task.pid, record.task.comm),
            (11, 13, &b"worker"[..])
        );
        assert_eq!(
            record.place,
            Place {
                first_n: 90,
                word: 12
            }
        );
        let open = Open {
            path: b"/tmp/new",
            flags: 0o101,
            mode: 0o100644,
            ino: 99,
            dev: 5,
            created: true,
            cut: false,
        };
        assert_eq!(record.event, Event::Open(open));
    }

    /// An exec of `argv`, of which the process has `more` bytes.
    fn exec(argv: &[u8], more: u32) -> Vec<u8> {
        let len = u32::try_from(argv.len()).unwrap();
        let mut payload = vec![0; 88];
        let mut put =
            |at: usize, word: u32| payload[at..at + 4].copy_from_slice(&word.to_le_bytes());
        put(44, len + more);
        put(56, 6);
        put(60, len);
        payload.extend_from_slice(b"--true");
        payload.extend_from_slice(argv);
        sample(Kind::Exec, &payload)
    }

    #[test]
    fn secrets_among_arguments_do_not_pass_and_are_marked() {
        let mut decoder = Decoder::new(Redactor::default());
        let mut of = |bytes: &[u8]| match decoder.decode(bytes).unwrap().event {
            Event::Exec(exec) => (exec.argv.to_vec(), exec.argv_bytes, exec.flags),
            other => panic!("{other:?}"),
        };
        let masked = of(&exec(b"a\0--token\0hunter2\0b\0", 0));
        assert_eq!(
            masked,
            (b"a\0--token\0***\0b\0".to_vec(), 16, exec_flags::REDACTED)
        );
        let cut = of(&exec(b"curl\0https://me:hunt", 900));
        assert_eq!(
            cut,
            (b"curl\0https://me:***".to_vec(), 919, exec_flags::REDACTED)
        );
        assert_eq!(of(&exec(b"a\0b\0", 0)), (b"a\0b\0".to_vec(), 4, 0));
        let mut off = Decoder::new(Redactor::off());
        let bytes = exec(b"a\0--token\0hunter2\0", 0);
        let record = off.decode(&bytes).unwrap();
        let Event::Exec(exec) = record.event else {
            panic!("{record:?}")
        };
        assert_eq!((exec.argv, exec.flags), (&b"a\0--token\0hunter2\0"[..], 0));
    }

    #[test]
    fn a_sample_that_ends_early_is_no_record() {
        let mut payload = vec![0; 32];
        payload[24] = 200;
        let mut decoder = Decoder::default();
        let bytes = sample(Kind::Open, &payload);
        assert!(decoder.decode(&bytes).is_none());
        for cut in 0..bytes.len() {
            assert!(decoder.decode(&bytes[..cut]).is_none());
        }
    }
}
