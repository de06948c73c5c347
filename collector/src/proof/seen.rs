//! Which of the proving acts came back as records. Pure.

use ravn_shared::event::{Event, Record};
use ravn_shared::kind::Stream;

use super::acts;

/// The streams whose rings are proven.
pub const PROVEN: [Stream; 4] = [
    Stream::Syscall,
    Stream::File,
    Stream::Network,
    Stream::Security,
];

/// Records of one nonce.
#[derive(Debug, Default)]
pub struct Seen {
    prover: u32,
    nonce: u64,
    name: String,
    found: [bool; PROVEN.len()],
}

impl Seen {
    /// Looks for the records of this thread's.
    pub fn of(prover: u32) -> Self {
        Self {
            prover,
            ..Self::default()
        }
    }

    /// From now on looks for the records of `nonce`, a time on CLOCK_BOOTTIME before the acts.
    pub fn expect(&mut self, nonce: u64) {
        self.nonce = nonce;
        self.name = acts::name(nonce);
        self.found = Default::default();
    }

    /// Looks at a record. True: it is the prover's.
    pub fn note(&mut self, record: &Record<'_>) -> bool {
        if record.task.pid != self.prover {
            return false;
        }
        let name = self.name.as_bytes();
        let at = match &record.event {
            Event::Fork(fork) if fork.thread && record.time_ns >= self.nonce => 0,
            Event::Open(open) if open.path.ends_with(name) => 1,
            Event::Bind(socket) if socket.local.strip_prefix(b"\0") == Some(name) => 2,
            Event::Memfd(memfd) if memfd.name == name => 3,
            _ => return true,
        };
        self.found[at] = true;
        true
    }

    /// The streams that are still missing.
    pub fn missing(&self) -> impl Iterator<Item = Stream> {
        PROVEN
            .into_iter()
            .zip(self.found)
            .filter(|(_, found)| !found)
            .map(|(stream, _)| stream)
    }
}

#[cfg(test)]
mod tests {
    use ravn_shared::event::{Fork, Memfd, Place, Task};

    use super::*;

    fn record(pid: u32, time_ns: u64, event: Event<'_>) -> Record<'_> {
        Record {
            cpu: 0,
            n: 0,
            time_ns,
            task: Task {
                pid,
                ..Task::default()
            },
            place: Place::default(),
            event,
        }
    }

    #[test]
    fn only_the_provers_own_records_of_this_nonce_count() {
        let mut seen = Seen::of(7);
        seen.expect(100);
        let fork = Event::Fork(Fork {
            child_tgid: 1,
            child_pid: 8,
            child_start_ns: 0,
            thread: true,
        });
        let old = acts::name(99);
        let own = acts::name(100);
        let memfd = |name| {
            Event::Memfd(Memfd {
                name,
                flags: 0,
                ino: 1,
                ret: 3,
            })
        };
        seen.note(&record(7, 99, fork.clone()));
        seen.note(&record(6, 101, fork.clone()));
        seen.note(&record(7, 101, memfd(old.as_bytes())));
        assert_eq!(seen.missing().count(), 4);
        seen.note(&record(7, 101, fork));
        seen.note(&record(7, 101, memfd(own.as_bytes())));
        assert_eq!(
            seen.missing().collect::<Vec<_>>(),
            [Stream::File, Stream::Network]
        );
        seen.expect(200);
        assert_eq!(seen.missing().count(), 4);
    }
}
