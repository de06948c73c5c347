//! Samples of the ring buffers, as `bpf/abi.h` lays them out, decoded.
//!
//! Nothing here touches the kernel: a sample is bytes, and what does not fit its kind is
//! refused.

use std::ops::Range;

use ravn_shared::event::{DupSocket, Event, Exec, Module, Open, Record, exec_flags};
use ravn_shared::kind::{Kind, Stream};
use ravn_shared::redact::Redactor;

mod act;
mod header;
mod named;
mod plain;

use header::Header;
pub use header::sample_bytes;
use plain::{bpf, cgroup, chunk, close, creds, dns, exit, fork, memfd, mount, raw_socket, socket};

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
            Kind::Exec => self.exec(&mut cursor).map(Event::Exec),
            Kind::Process => self.exec(&mut cursor).map(Event::Process),
            Kind::Cgroup => cgroup(&mut cursor).map(Event::Cgroup),
            Kind::Exit => exit(&mut cursor),
            Kind::Chunk => chunk(&mut cursor, sample.len()),
            Kind::Open => self.open(&mut cursor).map(Event::Open),
            Kind::Read => self.open(&mut cursor).map(Event::Read),
            kind @ (Kind::Unlink
            | Kind::Rename
            | Kind::Chmod
            | Kind::Link
            | Kind::Symlink
            | Kind::Chown
            | Kind::Truncate
            | Kind::SetXattr
            | Kind::Mknod) => self.named(&mut cursor, kind),
            Kind::Connect => socket(&mut cursor).map(|(socket, _)| Event::Connect(socket)),
            Kind::Accept => socket(&mut cursor).map(|(socket, _)| Event::Accept(socket)),
            Kind::Bind => socket(&mut cursor).map(|(socket, _)| Event::Bind(socket)),
            Kind::Listen => socket(&mut cursor).map(|(socket, _)| Event::Listen(socket)),
            Kind::Send => socket(&mut cursor).map(|(socket, _)| Event::Send(socket)),
            Kind::Close => close(&mut cursor),
            Kind::Dns => dns(&mut cursor),
            Kind::RawSocket => raw_socket(&mut cursor),
            Kind::Creds => creds(&mut cursor),
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
            kind @ (Kind::Ptrace
            | Kind::VmWrite
            | Kind::PivotRoot
            | Kind::Unshare
            | Kind::SetNs
            | Kind::ExecMemory
            | Kind::Kill
            | Kind::Keyctl
            | Kind::Kexec
            | Kind::PerfEventOpen
            | Kind::Userfaultfd
            | Kind::IoUring
            | Kind::IoUringOp
            | Kind::Compat) => self.act(&mut cursor, kind),
            // The collector's own word: no program writes it.
            Kind::CgroupFound | Kind::Tampering => None,
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

    fn exec<'a>(&'a mut self, c: &mut Cursor<'a>) -> Option<Exec<'a>> {
        let (ino, cap_effective, cap_gained) = (c.u64()?, c.u64()?, c.u64()?);
        let ctime_sec = c.i64()?;
        let (dev, mut flags, euid, egid) = (c.u32()?, c.u32()?, c.u32()?, c.u32()?);
        let (loginuid, session, tty, argv_bytes) = (c.u32()?, c.u32()?, c.u32()?, c.u32()?);
        let (path_len, cwd_len, filename_len, argv_len) = (c.u32()?, c.u32()?, c.u32()?, c.u32()?);
        let fixed = c.take(4)?;
        let stdio_peer_port = c.u16()?;
        c.u16()?;
        let peer = c.take(16)?;
        let (ctime_nsec, interpreter_len) = (c.u32()?, c.u32()?);
        let (euid_before, user_ns_level) = (c.u32()?, c.u32()?);
        let path = self.path(c, path_len)?;
        let cwd = self.path(c, cwd_len)?;
        let (filename, _) = c.string(filename_len)?;
        let (raw, _) = c.string(argv_len)?;
        let (interpreter, _) = c.string(interpreter_len)?;
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
        Some(Exec {
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
            ctime: (ctime_sec, ctime_nsec),
            interpreter,
            cap_gained,
            euid_before,
            user_ns_level,
        })
    }

    /// Where in the room the argv is with its secrets masked, and whether it has any.
    fn redacted(&mut self, argv: &[u8], argv_bytes: u32) -> (Range<usize>, bool) {
        let (start, cut) = (self.paths.len(), argv_bytes as usize > argv.len());
        let masked = self.redactor.redact(argv, cut, &mut self.paths);
        (start..self.paths.len(), masked)
    }

    fn open<'a>(&'a mut self, c: &mut Cursor<'a>) -> Option<Open<'a>> {
        let ino = c.u64()?;
        let (dev, flags, mode, created) = (c.u32()?, c.u32()?, c.u32()?, c.u32()?);
        let path_len = c.u32()?;
        c.u32()?;
        let path = self.path(c, path_len)?;
        let cut = path::was_cut(path_len);
        Some(Open {
            path: &self.paths[path],
            flags,
            mode,
            ino,
            dev,
            created: created != 0,
            cut,
        })
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

    fn words(numbers: &[u64]) -> Vec<u8> {
        numbers
            .iter()
            .flat_map(|number| number.to_le_bytes())
            .collect()
    }

    fn halves(numbers: &[u32]) -> Vec<u8> {
        numbers
            .iter()
            .flat_map(|number| number.to_le_bytes())
            .collect()
    }

    /// What `struct ravn_act` is before its strings: three numbers, a result, a target, lengths.
    fn act(first: u32, second: u32) -> Vec<u8> {
        let mut payload = words(&[1 << 32 | 7, 17, 0x10_0000_0002, 3_u64.wrapping_neg()]);
        payload.extend(words(&[555]));
        payload.extend(halves(&[21, 22, 1001, 0]));
        payload.extend(b"victim\0\0\0\0\0\0\0\0\0\0");
        payload.extend(halves(&[311, first, second, 0]));
        payload
    }

    /// Fields that are all zero, strings that are all empty.
    #[test]
    fn every_kind_is_read_whole_or_not_at_all() {
        let mut decoder = Decoder::default();
        let written = |kind: &&Kind| !matches!(kind, Kind::Tampering | Kind::CgroupFound);
        for kind in Kind::ALL.iter().filter(written) {
            let payload = [0; 256];
            let bytes = sample(*kind, &payload);
            let read = decoder.decode(&bytes).map(|record| record.event.kind());
            assert_eq!(read, Some(Some(*kind)), "{}", kind.name());
            // A record that says how short it is: no kind's fixed fields are fewer bytes.
            for cut in 0..8 {
                let shorter = sample(*kind, &payload[..cut]);
                assert!(decoder.decode(&shorter).is_none(), "{}", kind.name());
            }
        }
    }

    #[test]
    fn a_target_comes_back_as_it_was_written() {
        let mut decoder = Decoder::default();
        let bytes = sample(Kind::VmWrite, &act(0, 0));
        let Event::VmWrite(access) = decoder.decode(&bytes).unwrap().event else {
            panic!("another kind");
        };
        assert_eq!((access.target, access.ret), (17, -3));
        let process = access.process;
        assert_eq!((process.tgid, process.pid, process.start_ns), (21, 22, 555));
        assert_eq!((process.uid, process.comm), (1001, &b"victim"[..]));
    }

    #[test]
    fn acts_with_strings_that_end_early_are_no_records() {
        let mut decoder = Decoder::default();
        for kind in [Kind::PivotRoot, Kind::ExecMemory, Kind::IoUringOp] {
            let mut payload = act(4, 3);
            payload.extend(b"/newold");
            let bytes = sample(kind, &payload);
            assert!(decoder.decode(&bytes).is_some());
            for cut in 0..payload.len() {
                let shorter = sample(kind, &payload[..cut]);
                let read = decoder.decode(&shorter);
                assert!(read.is_none(), "{} cut at {cut}", kind.name());
            }
        }
        let mut payload = act(4, 3);
        payload.extend(b"/newold");
        let bytes = sample(Kind::PivotRoot, &payload);
        let Event::PivotRoot(pivot) = decoder.decode(&bytes).unwrap().event else {
            panic!("another kind");
        };
        assert_eq!((pivot.new_root, pivot.put_old), (&b"/new"[..], &b"old"[..]));
    }

    #[test]
    fn a_second_name_is_read_behind_the_first() {
        // ino, value; dev, mode, resolved, flags; lengths of dir, path, to_dir, to_path.
        let mut payload = words(&[0, 0]);
        payload.extend(halves(&[0, 0, 0, 9, 4, 2, 0, 5]));
        payload.extend(b"tmp/abtexts");
        let mut decoder = Decoder::default();
        let bytes = sample(Kind::Symlink, &payload);
        let Event::Symlink(symlink) = decoder.decode(&bytes).unwrap().event else {
            panic!("another kind");
        };
        assert_eq!(symlink.link.dir, b"/tmp");
        assert_eq!(
            (symlink.link.path, symlink.target),
            (&b"ab"[..], &b"texts"[..])
        );
        let bytes = sample(Kind::Link, &payload);
        let Event::Link(link) = decoder.decode(&bytes).unwrap().event else {
            panic!("another kind");
        };
        assert_eq!(
            (link.to.dir, link.to.path, link.flags),
            (&b""[..], &b"texts"[..], 9)
        );
        for cut in 0..payload.len() {
            let shorter = sample(Kind::Link, &payload[..cut]);
            assert!(decoder.decode(&shorter).is_none(), "cut at {cut}");
        }
    }

    /// An exec of `argv`, of which the process has `more` bytes.
    fn exec(argv: &[u8], more: u32) -> Vec<u8> {
        let len = u32::try_from(argv.len()).unwrap();
        let mut payload = vec![0; 120];
        let mut put =
            |at: usize, word: u32| payload[at..at + 4].copy_from_slice(&word.to_le_bytes());
        put(60, len + more);
        put(72, 6);
        put(76, len);
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
