#![allow(clippy::unwrap_used)]

use std::io::Write;
use std::os::unix::net::UnixListener;
use std::thread;

use super::*;

const PATIENCE: Duration = Duration::from_millis(500);

/// What a PING is answered with by a server that says `bytes`, as fast as `every` of them
/// comes.
fn pinged(name: &str, bytes: &'static [u8], every: Duration) -> RedisResult<Vec<Reply>> {
    let path = std::env::temp_dir().join(format!("ravn-resp-{}-{name}", std::process::id()));
    let listener = UnixListener::bind(&path).unwrap();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        for byte in bytes.iter().cycle() {
            if stream.write_all(&[*byte]).is_err() {
                return;
            }
            thread::sleep(every);
        }
    });
    let mut connection =
        Connection::open(&ConnectionAddr::Unix(path.clone()), None, PATIENCE).unwrap();
    std::fs::remove_file(path).unwrap();
    let mut commands = redis::pipe();
    commands.cmd("PING").cmd("LLEN").arg("events:raw");
    let (replies, asked) = connection.ask(&commands);
    asked.map(|()| replies)
}

#[test]
fn replies_are_told_apart() {
    let replies = pinged("good", b"+PONG\r\n-OOM no room\r\n", Duration::ZERO).unwrap();
    assert!(matches!(replies[0], Reply::Done));
    let Reply::Refused(error) = &replies[1] else {
        panic!("{replies:?}");
    };
    assert_eq!(error.code(), Some("OOM"));
    let replies = pinged("more", b":17\r\n$-1\r\n", Duration::ZERO).unwrap();
    assert!(matches!(replies[..], [Reply::Number(17), Reply::Done]));
}

#[test]
fn what_no_command_is_answered_with_ends_the_connection() {
    for (name, bytes) in [
        ("bulk", &b"$1073741824\r\n"[..]),
        ("array", b"*1000000000\r\n"),
        ("nest", b"*1\r\n"),
        ("line", b"+never ends"),
        ("minus", b":-1\r\n"),
        ("junk", b"\xff\xfe\r\n"),
        ("empty", b"\r\n"),
    ] {
        let error = pinged(name, bytes, Duration::ZERO).unwrap_err();
        assert!(
            error.to_string().contains("is this Redis?"),
            "{name}: {error}"
        );
    }
}

#[test]
fn a_reply_in_drops_is_not_waited_for_without_end() {
    let began = Instant::now();
    let error = pinged("slow", b"+", PATIENCE / 5).unwrap_err();
    assert!(error.to_string().contains("in time"), "{error}");
    assert!(began.elapsed() < PATIENCE * 4);
}

/// The other side stops reading in the middle, having replied to what it had read.
#[test]
fn replies_before_a_write_that_failed_are_given() {
    let path = std::env::temp_dir().join(format!("ravn-resp-{}-stuck", std::process::id()));
    let listener = UnixListener::bind(&path).unwrap();
    let mut connection =
        Connection::open(&ConnectionAddr::Unix(path.clone()), None, PATIENCE).unwrap();
    std::fs::remove_file(path).unwrap();
    let (mut server, _) = listener.accept().unwrap();
    server.write_all(b":1\r\n").unwrap();
    let mut commands = redis::pipe();
    for _ in 0..2 {
        commands
            .cmd("LPUSH")
            .arg("events:raw")
            .arg(vec![0; 4 << 20]);
    }
    let (replies, asked) = connection.ask(&commands);
    assert!(matches!(replies[..], [Reply::Number(1)]), "{replies:?}");
    assert!(asked.unwrap_err().to_string().contains("in time"));
}
