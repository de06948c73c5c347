//! A socket between the daemons and Redis that is slow, cuts, or lies.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use socket2::Socket;

/// Bytes that are passed on in one go.
const CHUNK: usize = 64 * 1024;

/// A proxy; dropped, it closes everything.
#[derive(Debug)]
pub struct Proxy {
    door: Door,
    ways: Arc<Ways>,
}

#[derive(Debug)]
enum Door {
    Unix(PathBuf),
    /// A port of 127.0.0.1.
    Port(u16),
}

/// A direction, seen from a daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// To Redis: what is cut was not executed.
    Request,
    /// From Redis: what is cut was.
    Reply,
}

/// What happens to bytes on their way.
#[derive(Debug, Default)]
struct Ways {
    latency_ms: AtomicU64,
    /// By direction: connections of an earlier number are cut within their next message.
    cuts: [AtomicU64; 2],
    /// What every reply is replaced by: once the first, then the second without end.
    lie: Mutex<Option<(Vec<u8>, Vec<u8>)>>,
    /// Bytes of lies that were taken.
    lied: AtomicU64,
    closed: AtomicBool,
    /// Both ends of every connection, by its number, until it is over.
    open: Mutex<BTreeMap<u64, [Socket; 2]>>,
    connections: AtomicU64,
    /// Where a proxy of ports leads to.
    port: AtomicU16,
}

impl Proxy {
    /// Listens at `door`, for all users, and passes on to `server`.
    ///
    /// # Errors
    /// When the socket cannot be made.
    pub fn start(door: &Path, server: &Path) -> Result<Self> {
        let listener =
            UnixListener::bind(door).with_context(|| format!("bind {}", door.display()))?;
        std::fs::set_permissions(door, std::fs::Permissions::from_mode(0o777))?;
        let ways = Arc::new(Ways::default());
        let (given, server) = (Arc::clone(&ways), server.to_path_buf());
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if given.closed.load(Ordering::Relaxed) {
                    return;
                }
                // No server: the client is told by the end of its connection.
                if let Ok(server) = UnixStream::connect(&server) {
                    let _ = given.join(&client.into(), &server.into());
                }
            }
        });
        Ok(Self {
            door: Door::Unix(door.to_path_buf()),
            ways,
        })
    }

    /// Listens at a port of 127.0.0.1, and passes on to another.
    ///
    /// # Errors
    /// When no port can be had.
    pub fn of_port(server: u16) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = listener.local_addr()?.port();
        let ways = Arc::new(Ways::default());
        ways.port.store(server, Ordering::Relaxed);
        let given = Arc::clone(&ways);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if given.closed.load(Ordering::Relaxed) {
                    return;
                }
                if let Ok(server) = TcpStream::connect(local(given.port.load(Ordering::Relaxed))) {
                    let _ = given.join(&client.into(), &server.into());
                }
            }
        });
        Ok(Self {
            door: Door::Port(port),
            ways,
        })
    }

    /// Its socket, or `127.0.0.1:PORT`.
    pub fn door(&self) -> PathBuf {
        match &self.door {
            Door::Unix(path) => path.clone(),
            Door::Port(port) => local(*port).to_string().into(),
        }
    }

    /// Lets a proxy of ports lead to another from now on, and ends its connections.
    pub fn lead_to(&self, port: u16) {
        self.ways.port.store(port, Ordering::Relaxed);
        self.ways.end();
    }

    /// Lets a round trip take so much longer from now on.
    pub fn set_latency(&self, round_trip: Duration) {
        let each_way = u64::try_from(round_trip.as_millis() / 2).unwrap_or(u64::MAX);
        self.ways.latency_ms.store(each_way, Ordering::Relaxed);
    }

    /// Cuts each connection there is in the middle of what it next passes on that way.
    pub fn cut(&self, way: Way) {
        self.ways.cuts[way as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Answers everything with `head` and then `body` without end; None ends that.
    pub fn lie(&self, words: Option<(&[u8], &[u8])>) {
        let words = words.map(|(head, body)| (head.to_vec(), body.repeat(CHUNK / body.len())));
        *self.ways.lie.lock().unwrap_or_else(PoisonError::into_inner) = words;
    }

    /// Bytes of lies that somebody took.
    pub fn lied_bytes(&self) -> u64 {
        self.ways.lied.load(Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.ways.closed.store(true, Ordering::Relaxed);
        // Wakes the listener, which then ends.
        match &self.door {
            Door::Unix(path) => drop(UnixStream::connect(path)),
            Door::Port(port) => drop(TcpStream::connect(local(*port))),
        }
        self.ways.end();
    }
}

fn local(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

impl Ways {
    /// Ends every connection there is.
    fn end(&self) {
        for end in self.lock_open().values().flatten() {
            let _ = end.shutdown(Shutdown::Both);
        }
    }

    fn join(self: &Arc<Self>, client: &Socket, server: &Socket) -> Result<()> {
        let connection = self.connections.fetch_add(1, Ordering::Relaxed);
        let ends = [client.try_clone()?, server.try_clone()?];
        self.lock_open().insert(connection, ends);
        let ways = [
            (client.try_clone()?, server.try_clone()?, Way::Request),
            (server.try_clone()?, client.try_clone()?, Way::Reply),
        ];
        for (from, to, way) in ways {
            self.pump(connection, from, to, way);
        }
        Ok(())
    }

    fn lock_open(&self) -> MutexGuard<'_, BTreeMap<u64, [Socket; 2]>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pump(self: &Arc<Self>, connection: u64, from: Socket, to: Socket, way: Way) {
        let (give, take) = mpsc::channel();
        let number = self.cuts[way as usize].load(Ordering::Relaxed);
        let (one, other) = (Arc::clone(self), Arc::clone(self));
        thread::spawn(move || one.read(from, &give));
        thread::spawn(move || {
            other.write(to, &take, way, number);
            // One way that is closed is the end of both: a long run opens many.
            if let Some(ends) = other.lock_open().remove(&connection) {
                for end in ends {
                    let _ = end.shutdown(Shutdown::Both);
                }
            }
        });
    }

    fn read(&self, mut from: Socket, give: &Sender<(Instant, Vec<u8>)>) {
        let mut chunk = vec![0; CHUNK];
        while let Ok(length @ 1..) = from.read(&mut chunk) {
            let late = Duration::from_millis(self.latency_ms.load(Ordering::Relaxed));
            if give
                .send((Instant::now() + late, chunk[..length].to_vec()))
                .is_err()
            {
                break;
            }
        }
        let _ = from.shutdown(Shutdown::Both);
    }

    fn write(&self, mut to: Socket, take: &Receiver<(Instant, Vec<u8>)>, way: Way, number: u64) {
        for (due, bytes) in take {
            thread::sleep(due.saturating_duration_since(Instant::now()));
            let lie = self.lie.lock().unwrap_or_else(PoisonError::into_inner);
            let lie = lie.clone().filter(|_| way == Way::Reply);
            if let Some((head, body)) = lie {
                let _ = self.tell(&mut to, &head, &body);
                break;
            }
            let cut = number < self.cuts[way as usize].load(Ordering::Relaxed);
            let bytes = if cut {
                &bytes[..bytes.len() / 2]
            } else {
                &bytes[..]
            };
            if to.write_all(bytes).is_err() || cut {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Both);
    }

    fn tell(&self, to: &mut Socket, head: &[u8], body: &[u8]) -> std::io::Result<()> {
        to.write_all(head)?;
        loop {
            to.write_all(body)?;
            self.lied.fetch_add(body.len() as u64, Ordering::Relaxed);
            // As fast as a network, not as memory.
            thread::sleep(Duration::from_millis(1));
        }
    }
}
