#![allow(clippy::unwrap_used)]

use std::net::TcpListener;
use std::sync::mpsc;
use std::thread;

use rcgen::{CertifiedKey, generate_simple_self_signed};
use redis::IntoConnectionInfo;
use rustls::crypto::ring;
use rustls::pki_types::PrivateKeyDer;
use rustls::{RootCertStore, ServerConfig, ServerConnection};

use super::*;

const PATIENCE: Duration = Duration::from_millis(500);

#[test]
fn silent_addresses_neither_add_up_nor_hide_another() {
    // Its queue is full after one; later ones get no answer at all.
    let silent = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    silent.bind(&any.into()).unwrap();
    silent.listen(0).unwrap();
    let address = silent.local_addr().unwrap().as_socket().unwrap();
    let _queued = TcpStream::connect(address).unwrap();
    let began = Instant::now();
    let error = connect_first(&[address; 4], began + PATIENCE).unwrap_err();
    assert!(error.to_string().contains("in time"), "{error}");
    let took = began.elapsed();
    assert!((PATIENCE / 2..PATIENCE * 2).contains(&took), "{took:?}");

    let heard = std::net::TcpListener::bind(any).unwrap();
    let good = heard.local_addr().unwrap();
    let stream = connect_first(&[address, address, good], Instant::now() + PATIENCE).unwrap();
    assert_eq!(stream.peer_addr().unwrap(), good);
}

/// A server that draws the handshake out, a byte at a time.
#[test]
fn a_handshake_in_drops_is_not_waited_for_without_end() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        let (mut server, _) = listener.accept().unwrap();
        // The head of a record of 16,000 bytes.
        let head = [0x16, 3, 3, 0x3e, 0x80];
        for byte in head.iter().chain(std::iter::repeat(&2)) {
            if server.write_all(&[*byte]).is_err() {
                return;
            }
            thread::sleep(CONNECT_TIMEOUT / 20);
        }
    });
    let url = format!("rediss://127.0.0.1:{port}");
    let info = url.as_str().into_connection_info().unwrap();
    let trust = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    let began = Instant::now();
    let error = Stream::connect(info.addr(), Some(Arc::new(trust))).unwrap_err();
    assert!(error.to_string().contains("in time"), "{error}");
    assert!(began.elapsed() < CONNECT_TIMEOUT * 2);
}

/// What both sides of a TLS line to `localhost` need.
fn sides() -> (Arc<ClientConfig>, Arc<ServerConfig>) {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(["localhost".into()]).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(cert.der().clone()).unwrap();
    let provider = || Arc::new(ring::default_provider());
    let client = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
    let server = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    (Arc::new(client), Arc::new(server))
}

/// A line too slow for what is written: the replies to what arrived are read all the same.
#[test]
fn over_tls_replies_are_read_though_not_all_could_be_written() {
    let (client, server) = sides();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (done, end) = mpsc::channel::<()>();
    let serving = thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        let mut session = ServerConnection::new(server).unwrap();
        let mut stream = rustls::Stream::new(&mut session, &mut socket);
        stream.write_all(b":1\r\n").unwrap();
        stream.flush().unwrap();
        // And never reads.
        let _ = end.recv();
    });
    let address = ConnectionAddr::TcpTls {
        host: "localhost".to_owned(),
        port,
        insecure: false,
        tls_params: None,
    };
    let mut stream = Stream::connect(&address, Some(client)).unwrap();
    let soon = || Instant::now() + Duration::from_millis(300);
    let error = stream.write(&vec![b'x'; 64 << 20], soon()).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    let mut chunk = [0; 16];
    let read = stream.read(&mut chunk, soon()).unwrap();
    assert_eq!(&chunk[..read], b":1\r\n");
    drop(done);
    serving.join().unwrap();
}
