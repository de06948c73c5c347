//! A storm of many kinds at once: files, sockets, signals, credentials, processes, in rounds.

use std::ffi::CString;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::{Map, Value, json};

use super::other::Waiting;
use super::{Done, ok};

/// The name that this process and all its children go by, so that their records can be told from
/// those of whoever runs among them.
pub const NAME: &str = "mix";
/// A round of so many makes a TCP connection, forks, executes a program: the dearer, the fewer.
const CONNECTS: u64 = 8;
const FORKS: u64 = 32;
const EXECS: u64 = 512;
/// A user that no system has.
const SOMEBODY: libc::uid_t = 54321;

/// Records that a sensor must have made, by kind.
#[derive(Default)]
struct Counts(Map<String, Value>);

impl Counts {
    fn add(&mut self, kind: &str, count: u64) {
        let known = self.0.entry(kind).or_insert(json!(0));
        *known = json!(known.as_u64().unwrap_or_default() + count);
    }
}

/// What all rounds use.
struct Mix {
    counts: Counts,
    /// Names of the round's files: two of one file, a symlink, a FIFO; the program to execute.
    names: [CString; 5],
    listener: TcpListener,
    far: UdpSocket,
    other: Waiting,
}

/// `rounds` rounds, with files in `folder`, at `per_second` (0: as fast as it goes); tells how
/// many records of each kind they make. Needs root.
///
/// # Errors
/// When a call fails.
pub fn run(folder: &str, rounds: &str, per_second: &str) -> Result<Done> {
    let (rounds, rate): (u64, f64) = (rounds.parse()?, per_second.parse()?);
    let name = CString::new(NAME)?;
    // SAFETY: a C string of less than 16 bytes.
    ok("prctl", unsafe {
        libc::prctl(libc::PR_SET_NAME, name.as_ptr())
    })?;
    let path = |what: &str| CString::new(format!("{folder}/mix-{}-{what}", std::process::id()));
    // By this name its process is called like this one; what it is decides its first argument.
    let program = format!("{folder}/{NAME}");
    let linked = std::os::unix::fs::symlink("/bin/true", &program);
    let mut counts = Counts::default();
    // Whoever came first made it.
    counts.add("symlink", u64::from(linked.is_ok()));
    let mut mix = Mix {
        counts,
        names: [
            path("one")?,
            path("two")?,
            path("link")?,
            path("fifo")?,
            CString::new(program)?,
        ],
        listener: TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?,
        far: UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?,
        other: Waiting::start(Some(SOMEBODY))?,
    };
    // The child sets its user, and its end is a signal across users.
    for (kind, count) in [
        ("exec", 1),
        ("exit", 2),
        ("bind", 2),
        ("listen", 1),
        ("fork", 1),
        ("creds", 1),
        ("kill", 1),
    ] {
        mix.counts.add(kind, count);
    }
    let began = Instant::now();
    for round in 0..rounds {
        if rate > 0.0 {
            let due = Duration::from_secs_f64(round as f64 / rate);
            std::thread::sleep(due.saturating_sub(began.elapsed()));
        }
        mix.files()?;
        mix.sockets()?;
        mix.security()?;
        if round % CONNECTS == 0 {
            mix.connection()?;
        }
        if round % FORKS == 0 {
            mix.process(round % EXECS == 0)?;
        }
    }
    Ok(Done::new("exit", json!({ "kinds": mix.counts.0 })))
}

impl Mix {
    fn files(&mut self) -> Result<()> {
        let [one, two, link, fifo] = [0, 1, 2, 3].map(|at| self.names[at].as_ptr());
        // SAFETY: all are C strings of `names`, and the descriptor is this block's own.
        unsafe {
            let fd = ok(
                "open",
                libc::open(one, libc::O_CREAT | libc::O_WRONLY, 0o600),
            )?;
            ok("ftruncate", libc::ftruncate(fd, 1))?;
            ok("fchmod", libc::fchmod(fd, 0o640))?;
            ok("fchown", libc::fchown(fd, 0, 0))?;
            libc::close(fd);
            ok("rename", libc::rename(one, two))?;
            ok("link", libc::link(two, one))?;
            ok("symlink", libc::symlink(two, link))?;
            ok("mknod", libc::mknod(fifo, libc::S_IFIFO | 0o600, 0))?;
            for name in [one, two, link, fifo] {
                ok("unlink", libc::unlink(name))?;
            }
        }
        for kind in [
            "open", "truncate", "chmod", "chown", "rename", "link", "symlink", "mknod",
        ] {
            self.counts.add(kind, 1);
        }
        self.counts.add("unlink", 4);
        Ok(())
    }

    /// A socket that no round had before: its first datagram is a new flow.
    fn sockets(&mut self) -> Result<()> {
        let to = self.far.local_addr()?;
        let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        udp.send_to(b"x", to)?;
        udp.connect(to)?;
        for kind in ["bind", "send", "connect"] {
            self.counts.add(kind, 1);
        }
        Ok(())
    }

    /// A TCP connection that both ends drop at once, so that no port is kept waiting.
    fn connection(&mut self) -> Result<()> {
        let to: SocketAddr = self.listener.local_addr()?;
        let near = TcpStream::connect(to)?;
        let (far, _) = self.listener.accept()?;
        let at_once = libc::linger {
            l_onoff: 1,
            l_linger: 0,
        };
        for stream in [near, far] {
            let bytes = size_of::<libc::linger>() as libc::socklen_t;
            // SAFETY: the option is as long as told, and the socket is open.
            ok("setsockopt", unsafe {
                libc::setsockopt(
                    stream.as_raw_fd(),
                    libc::SOL_SOCKET,
                    libc::SO_LINGER,
                    (&raw const at_once).cast(),
                    bytes,
                )
            })?;
        }
        self.counts.add("connect", 1);
        self.counts.add("accept", 1);
        self.counts.add("close", 2);
        Ok(())
    }

    fn security(&mut self) -> Result<()> {
        // SAFETY: a C string; -1 keeps what is; the child is there.
        unsafe {
            let fd = ok("memfd_create", libc::memfd_create(c"mix".as_ptr(), 0))?;
            libc::close(fd);
            ok("setresuid", libc::setresuid(u32::MAX, u32::MAX, u32::MAX))?;
            ok("kill", libc::kill(self.other.pid(), libc::SIGCONT))?;
        }
        for kind in ["memfd", "creds", "kill"] {
            self.counts.add(kind, 1);
        }
        Ok(())
    }

    /// A child that ends at once, or runs a program that does.
    fn process(&mut self, executes: bool) -> Result<()> {
        let program = self.names[4].as_ptr();
        let argv = [c"true".as_ptr(), std::ptr::null()];
        let none = [std::ptr::null()];
        let mut status = 0;
        // SAFETY: one thread; the child calls only async-signal-safe functions, with C strings in
        // arrays that NULL ends.
        unsafe {
            let child = match libc::fork() {
                0 => {
                    if executes {
                        libc::execve(program, argv.as_ptr(), none.as_ptr());
                    }
                    libc::_exit(i32::from(executes))
                }
                child => ok("fork", child)?,
            };
            ok("waitpid", libc::waitpid(child, &raw mut status, 0))?;
        }
        (status == 0)
            .then_some(())
            .context("the program did not run")?;
        self.counts.add("fork", 1);
        self.counts.add("exit", 1);
        self.counts.add("exec", u64::from(executes));
        Ok(())
    }
}
