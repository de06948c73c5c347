//! Any bytes for Redis's replies, over a real socket: each command has one reply, or the
//! connection has failed, and nothing is waited for that cannot come.

#![no_main]

use std::cell::RefCell;
use std::io::Write;
use std::os::unix::net::UnixListener;
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use ravn_fuzz::peak_of;
use redis::ConnectionAddr;

#[path = "../../../collector/src"]
#[allow(dead_code)]
mod collector {
    pub mod resp;
}
use collector::resp::Connection;

/// A socket that nobody reads holds so much.
const MOST_BYTES: usize = 16 * 1024;
/// For the lines that wait, of which one is at most 4 KiB and a read more, and for errors.
const ROOM_BYTES: usize = 128 * 1024;
const PATIENCE: Duration = Duration::from_secs(5);

thread_local! {
    static SERVER: RefCell<Option<(UnixListener, ConnectionAddr)>> = const { RefCell::new(None) };
}

fuzz_target!(|data: &[u8]| {
    let Some((count, bytes)) = data.split_first() else {
        return;
    };
    let bytes = &bytes[..bytes.len().min(MOST_BYTES)];
    SERVER.with_borrow_mut(|server| {
        let (listener, address) = server.get_or_insert_with(|| {
            let name = format!("ravn-fuzz-reply-{}", std::process::id());
            let path = std::env::temp_dir().join(name);
            let listener = UnixListener::bind(&path).expect("a socket");
            (listener, ConnectionAddr::Unix(path))
        });
        let mut connection = Connection::open(address, None, PATIENCE).expect("a connection");
        let (mut peer, _) = listener.accept().expect("its other end");
        peer.write_all(bytes).expect("room for the replies");
        peer.shutdown(std::net::Shutdown::Write).expect("an end");
        let asked = usize::from(count % 8) + 1;
        let mut commands = redis::pipe();
        for _ in 0..asked {
            commands.cmd("PING");
        }
        let ((replies, result), peak) = peak_of(|| connection.ask(&commands));
        assert!(peak <= ROOM_BYTES, "{peak} bytes");
        assert!(replies.len() <= asked);
        assert_eq!(result.is_ok(), replies.len() == asked);
        let lines = bytes.iter().filter(|byte| **byte == b'\n').count();
        assert!(replies.len() <= lines);
        if let Err(error) = result {
            assert!(!error.is_timeout(), "{error}");
            assert!(error.to_string().len() <= 1000, "{error}");
        }
    });
});
