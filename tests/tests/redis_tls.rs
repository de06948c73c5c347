//! Promise: over TLS the line works as over a socket, a server that is not the right one gets
//! nothing, each cause is said once with its mend, and what was mended counts without a restart.
//! Needs root and BPF.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::process::Command;
use std::time::{Duration, Instant};

use ravn_tests::harness::authority::{Authority, Good, free_port};
use ravn_tests::harness::programs::program;
use ravn_tests::harness::proxy::{Proxy, Way};
use ravn_tests::harness::skip::{Need, can_run};
use ravn_tests::harness::{Line, Sandbox};

/// Redis at two ports, one of TLS, with a proxy before them.
struct Ports {
    sandbox: Sandbox,
    authority: Authority,
    proxy: Proxy,
    plain: u16,
    tls: u16,
}

/// The daemons speak to the proxy, by `scheme`; it leads to the port that fits.
fn ports(name: &str, scheme: &str, clients: bool) -> Option<Ports> {
    if !can_run(name, Need::Kernel).unwrap() || !can_run(name, Need::RedisTls).unwrap() {
        return None;
    }
    let mut sandbox = Sandbox::without_redis().unwrap();
    let folder = sandbox.folder().to_path_buf();
    let authority = Authority::new(&folder, "the test's CA").unwrap();
    for (name, good) in [
        ("server", Good::Here),
        ("expired", Good::Once),
        ("elsewhere", Good::Elsewhere),
    ] {
        authority.sign(name, good, 0).unwrap();
    }
    if clients {
        authority.sign_daemons().unwrap();
    }
    let (plain, tls) = (free_port().unwrap(), free_port().unwrap());
    let file = |name: &str| folder.join(name).to_string_lossy().into_owned();
    sandbox.redis.set_options(&[
        "--port",
        &plain.to_string(),
        "--tls-port",
        &tls.to_string(),
        "--tls-ca-cert-file",
        &file("ca.pem"),
        "--tls-cert-file",
        &file("server.pem"),
        "--tls-key-file",
        &file("server.key"),
        "--tls-auth-clients",
        if clients { "yes" } else { "no" },
    ]);
    sandbox.redis.run().unwrap();
    let proxy = Proxy::of_port(if scheme == "rediss" { tls } else { plain }).unwrap();
    sandbox
        .set_url(format!("{scheme}://{}", proxy.door().display()))
        .unwrap();
    Some(Ports {
        sandbox,
        authority,
        proxy,
        plain,
        tls,
    })
}

impl Ports {
    fn line(self, name: &str) -> (Line, Authority, Proxy) {
        let line = Line::within(name, self.sandbox).unwrap().unwrap();
        (line, self.authority, self.proxy)
    }
}

/// With a certificate of each daemon's own, as Redis wants by default.
#[test]
fn cut_in_the_middle_with_certificates_of_both_sides() {
    let name = "redis_tls::cut_in_the_middle_with_certificates_of_both_sides";
    let Some(ports) = ports(name, "rediss", true) else {
        return;
    };
    let tls = ports.tls;
    let (mut line, _, proxy) = ports.line(name);
    line.storm(16_000, 4000).unwrap();
    for round in 0..8 {
        line.attack().unwrap();
        proxy.cut([Way::Reply, Way::Request][round % 2]);
        std::thread::sleep(Duration::from_millis(400));
    }
    let ledger = line.after_fault(Instant::now()).unwrap();
    line.check_whole(&ledger).unwrap();

    // `ravn` by the same port.
    let folder = line.sandbox.folder();
    let password = std::fs::read_to_string(folder.join("reader.password")).unwrap();
    let url = format!("rediss://ravn-reader:{}@127.0.0.1:{tls}", password.trim());
    let ravn = |files: &[(&str, &str)]| {
        let output = Command::new(program("ravn").unwrap())
            .args(["status", "--json"])
            .env("RAVN_REDIS_URL", &url)
            .envs(files.iter().map(|(name, file)| (name, folder.join(file))))
            .output()
            .unwrap();
        let words = [output.stdout, output.stderr].concat();
        String::from_utf8(words).unwrap()
    };
    let ca = ("RAVN_REDIS_TLS_CA", "ca.pem");
    let (cert, key) = (
        ("RAVN_REDIS_TLS_CERT", "collector.pem"),
        ("RAVN_REDIS_TLS_KEY", "collector.key"),
    );
    let said = ravn(&[ca, cert, key]);
    assert!(said.contains("\"level\""), "{said}");
    let said = ravn(&[cert, key]);
    assert!(
        said.contains("not signed by a CA") && said.contains("--tls-ca"),
        "{said}"
    );
    let said = ravn(&[ca]);
    assert!(said.contains("client's certificate"), "{said}");
}

/// What is wrong with a file or a server is said once, and nothing is lost meanwhile.
#[test]
fn each_fault_has_its_words_and_mends_without_a_restart() {
    let name = "redis_tls::each_fault_has_its_words_and_mends_without_a_restart";
    let Some(ports) = ports(name, "rediss", false) else {
        return;
    };
    let tls = ports.tls;
    let (mut line, authority, proxy) = ports.line(name);
    let folder = line.sandbox.folder().to_path_buf();
    let other = folder.join("other");
    std::fs::create_dir(&other).unwrap();
    Authority::new(&other, "a stranger").unwrap();
    line.storm(40_000, 1000).unwrap();

    let again = || proxy.lead_to(tls);
    std::fs::remove_file(folder.join("ca.pem")).unwrap();
    again();
    line.both_say_once("ca.pem: No such file").unwrap();
    std::fs::write(folder.join("ca.pem"), "no certificate").unwrap();
    line.both_say_once("ca.pem: it holds no certificate")
        .unwrap();
    std::fs::rename(other.join("ca.pem"), folder.join("ca.pem")).unwrap();
    line.both_say_once("not signed by a CA that is trusted here; give the CA")
        .unwrap();
    line.attack().unwrap();
    authority.put("ca.pem").unwrap();
    let ledger = line.after_fault(Instant::now()).unwrap();
    line.check_whole(&ledger).unwrap();

    let show = |line: &Line, name: &str| {
        let file = |kind: &str| folder.join(format!("{name}.{kind}")).display().to_string();
        let (cert, key) = (file("pem"), file("key"));
        line.order(&[
            "CONFIG",
            "SET",
            "tls-cert-file",
            &cert,
            "tls-key-file",
            &key,
        ])
        .unwrap();
        again();
    };
    show(&line, "elsewhere");
    line.both_say_once("the server's certificate is another name's")
        .unwrap();
    show(&line, "expired");
    line.both_say_once("the server's certificate has expired")
        .unwrap();
    show(&line, "server");
    line.order(&["CONFIG", "SET", "tls-auth-clients", "yes"])
        .unwrap();
    again();
    line.both_say_once("wants a client's certificate").unwrap();
    line.order(&["CONFIG", "SET", "tls-auth-clients", "no"])
        .unwrap();
    again();
    let ledger = line.after_fault(Instant::now()).unwrap();
    line.check_whole(&ledger).unwrap();
}

#[test]
fn a_plain_line_to_a_port_of_tls_is_told_what_it_is() {
    let name = "redis_tls::a_plain_line_to_a_port_of_tls_is_told_what_it_is";
    led_astray(name, "redis", "port that speaks TLS wants rediss://");
}

#[test]
fn a_line_of_tls_to_a_plain_port_is_told_what_it_is() {
    let name = "redis_tls::a_line_of_tls_to_a_plain_port_is_told_what_it_is";
    led_astray(name, "rediss", "it does not answer, or not in TLS");
}

/// The way leads to the other port for a while.
fn led_astray(name: &str, scheme: &str, words: &str) {
    let Some(ports) = ports(name, scheme, false) else {
        return;
    };
    let (mut right, mut wrong) = (ports.plain, ports.tls);
    if scheme == "rediss" {
        std::mem::swap(&mut right, &mut wrong);
    }
    let (mut line, _, proxy) = ports.line(name);
    proxy.lead_to(wrong);
    line.both_say_once(words).unwrap();
    proxy.lead_to(right);
    let ledger = line.after_fault(Instant::now()).unwrap();
    line.check_whole(&ledger).unwrap();
}
