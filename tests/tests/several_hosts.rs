//! Promise: hosts that share a Redis do not see, feed or hide each other; one look at
//! `ravn:levels` tells which of them is in trouble. Two hosts in namespaces of their own reach
//! one Redis by TLS; each sensor is narrowed to its host's cgroup. Needs root, BPF, iproute2.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::HashMap;
use std::process::Command;
use std::time::{Duration, Instant};

use ravn_shared::keys::Keys;
use ravn_shared::kind::Class;
use ravn_shared::wire::{self, Header, Lost, SCHEMA};
use ravn_tests::harness::authority::{Authority, Good, free_port};
use ravn_tests::harness::ledger::check_balance;
use ravn_tests::harness::netns::NetNs;
use ravn_tests::harness::programs::program;
use ravn_tests::harness::redis_server::RedisServer;
use ravn_tests::harness::skip::{Need, can_run};
use ravn_tests::harness::{Sandbox, sandbox::PATIENCE, wait_until};
use serde_json::Value;

const HOSTS: [&str; 2] = ["alpha", "beta"];

/// One host: its world, and its network.
struct Host {
    name: &'static str,
    sandbox: Sandbox,
    network: NetNs,
}

impl Host {
    fn start_analyzer(&mut self) {
        let (network, sandbox) = (&self.network, &mut self.sandbox);
        network
            .within(|| sandbox.start_analyzer().map(drop))
            .unwrap();
    }

    fn start_collector(&mut self) {
        let (network, sandbox) = (&self.network, &mut self.sandbox);
        network
            .within(|| sandbox.start_collector().map(drop))
            .unwrap();
    }

    fn keys(&self) -> Keys {
        Keys::new("", Some(self.name))
    }
}

/// A world with Redis alone, and both hosts with their daemons at work.
fn two_hosts() -> (Sandbox, [Host; 2]) {
    let mut home = Sandbox::without_redis().unwrap();
    let folder = home.folder().to_path_buf();
    let networks = [0, 1].map(|number| NetNs::new(number).unwrap());
    let authority = Authority::new(&folder, "the fleet's CA").unwrap();
    let addresses = [networks[0].outside.as_str(), networks[1].outside.as_str()];
    authority
        .sign_for("server", &addresses, Good::Here, 0)
        .unwrap();
    let port = free_port().unwrap();
    let file = |name: &str| folder.join(name).to_string_lossy().into_owned();
    home.redis.share(&HOSTS).unwrap();
    home.redis.set_options(&[
        "--tls-port",
        &port.to_string(),
        "--tls-ca-cert-file",
        &file("ca.pem"),
        "--tls-cert-file",
        &file("server.pem"),
        "--tls-key-file",
        &file("server.key"),
        "--tls-auth-clients",
        "no",
    ]);
    home.redis.run().unwrap();
    let mut networks = networks.into_iter();
    let hosts = HOSTS.map(|name| {
        let network = networks.next().unwrap();
        let mut sandbox = Sandbox::without_redis().unwrap();
        let ca = sandbox.folder().join("ca.pem");
        std::fs::copy(folder.join("ca.pem"), ca).unwrap();
        sandbox.set_host(name, &home.redis).unwrap();
        sandbox
            .set_url(format!("rediss://{}:{port}", network.outside))
            .unwrap();
        let mut host = Host {
            name,
            sandbox,
            network,
        };
        host.start_analyzer();
        host.start_collector();
        host
    });
    (home, hosts)
}

/// What `ravn` says as a reader; of `host`, if one is given.
fn ravn(redis: &RedisServer, host: Option<&str>, args: &[&str]) -> String {
    let output = Command::new(program("ravn").unwrap())
        .args(args)
        .env("RAVN_REDIS_URL", redis.url("reader").unwrap())
        .envs(host.map(|host| ("RAVN_REDIS_HOST", host)))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ravn {args:?}: {said}");
    String::from_utf8(output.stdout).unwrap()
}

fn status(redis: &RedisServer, host: &str) -> Value {
    serde_json::from_str(&ravn(redis, Some(host), &["status", "--json"])).unwrap()
}

fn level(redis: &RedisServer, host: &Host) -> Option<String> {
    redis::cmd("GET")
        .arg(host.keys().threat_level())
        .query(&mut redis.admin().unwrap())
        .unwrap()
}

fn levels(redis: &RedisServer) -> HashMap<String, f64> {
    redis::cmd("ZRANGE")
        .arg(&["ravn:levels", "0", "-1", "WITHSCORES"])
        .query(&mut redis.admin().unwrap())
        .unwrap()
}

/// An empty batch of `host`.
fn batch(host: &str) -> Vec<u8> {
    let header = Header {
        schema: SCHEMA,
        host,
        boot_id: &[1; 16],
        run_id: 1,
        batch_no: 0,
        clock_offset_ns: 0,
        class: Class::Essential,
        source: ("x86_64", 250),
        lost: Lost::default(),
    };
    let mut bytes = Vec::new();
    wire::encode_batch(&header, std::iter::empty(), &mut bytes).unwrap();
    bytes
}

#[test]
fn two_hosts_share_a_redis_and_nothing_else() {
    let name = "several_hosts::two_hosts_share_a_redis_and_nothing_else";
    for need in [Need::Kernel, Need::Netns, Need::RedisTls] {
        if !can_run(name, need).unwrap() {
            return;
        }
    }
    let (home, [mut alpha, beta]) = two_hosts();
    let redis = &home.redis;
    wait_until(PATIENCE, "LOW of both", || {
        let low = [&alpha, &beta].map(|host| level(redis, host).as_deref() == Some("LOW"));
        Ok((low == [true, true]).then_some(()))
    })
    .unwrap();

    // An attack on one is the trouble of that one.
    let attacker = alpha.sandbox.trigger(&["memfd-exec"]).unwrap();
    let quiet = beta.sandbox.trigger(&["bind"]).unwrap();
    wait_until(PATIENCE, "HIGH of alpha", || {
        Ok((level(redis, &alpha).as_deref() == Some("HIGH")).then_some(()))
    })
    .unwrap_or_else(|error| panic!("{error:#}\n{:#}", status(redis, "alpha")));
    wait_until(PATIENCE, "both in ravn:levels", || {
        let levels = levels(redis);
        let score = |host: &str| levels.get(host).copied();
        Ok((score("alpha") > Some(80.0) && score("beta").is_some()).then_some(()))
    })
    .unwrap_or_else(|error| panic!("{error:#}: {:?}", levels(redis)));
    assert!(levels(redis)["beta"] < 50.0, "{:?}", levels(redis));
    assert_eq!(level(redis, &beta).as_deref(), Some("LOW"));
    let seen = |host: &str, pid: u32| {
        let status = status(redis, host);
        let processes = status["processes"].as_array().cloned().unwrap_or_default();
        processes.iter().any(|process| process["tgid"] == pid)
    };
    wait_until(PATIENCE, "the attacker among alpha's processes", || {
        Ok(seen("alpha", attacker.tgid).then_some(()))
    })
    .unwrap();
    assert!(!seen("beta", attacker.tgid) && !seen("alpha", quiet.tgid));

    // The whole fleet in one look, the worst first.
    let fleet: Vec<Value> = ravn(redis, None, &["hosts", "--json"])
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let words: Vec<_> = fleet
        .iter()
        .map(|host| (host["host"].as_str(), host["level"].as_str()))
        .collect();
    let (high, low) = ((Some("alpha"), Some("HIGH")), (Some("beta"), Some("LOW")));
    assert_eq!(words, [high, low], "{fleet:#?}");
    assert!(ravn(redis, None, &["hosts"]).contains("beta"));

    // No name but those of both hosts, and those that all share.
    let mut admin = redis.admin().unwrap();
    let names: Vec<String> = redis::cmd("KEYS").arg("*").query(&mut admin).unwrap();
    for name in &names {
        let own = HOSTS.iter().any(|host| name.ends_with(&format!(":{host}")));
        assert!(
            own || ["ravn:levels", "ravn:alerts"].contains(&name.as_str()),
            "{names:?}"
        );
    }

    // alpha's users may not touch what is beta's.
    let refused = |user: &str, command: &[&str]| {
        let mut connection = redis.connect(user).unwrap();
        let error = redis::Cmd::new()
            .arg(command)
            .exec(&mut connection)
            .unwrap_err();
        assert_eq!(error.code(), Some("NOPERM"), "{user} {command:?}: {error}");
    };
    refused("collector-alpha", &["LPUSH", "events:raw:beta", "x"]);
    refused(
        "collector-alpha",
        &["HSET", "ravn:collector:beta", "lost", "0"],
    );
    refused(
        "analyzer-alpha",
        &[
            "LMOVE",
            "events:raw:beta",
            "events:inflight:x:alpha",
            "RIGHT",
            "LEFT",
        ],
    );
    refused("analyzer-alpha", &["SET", "threat_level:beta", "LOW"]);
    for shared in ["ravn:alerts", "ravn:levels"] {
        refused("analyzer-alpha", &["SET", shared, "x"]);
        refused("analyzer-alpha", &["DEL", shared]);
        refused("analyzer-alpha", &["EXPIRE", shared, "1"]);
    }
    refused("analyzer-alpha", &["HGETALL", "ravn:state:beta"]);
    refused("analyzer-alpha", &["PUBLISH", "threat_updates:beta", "LOW"]);

    // Whoever may push there all the same is not believed.
    redis::cmd("LPUSH")
        .arg("events:raw:beta")
        .arg(batch("alpha"))
        .exec(&mut admin)
        .unwrap();
    wait_until(PATIENCE, "one dead batch of beta's", || {
        Ok((status(redis, "beta")["dead_batches"] == 1).then_some(()))
    })
    .unwrap();
    assert_eq!(status(redis, "alpha")["dead_batches"], 0);
    wait_until(PATIENCE, "the batch in beta's dead letters", || {
        let mut asked = redis::cmd("LRANGE");
        asked.arg(&["events:dead:beta", "0", "-1"]);
        let dead: Vec<Vec<u8>> = asked.query(&mut admin)?;
        Ok((dead == [batch("alpha")]).then_some(()))
    })
    .unwrap();
    let alerts = ravn(redis, None, &["alerts", "--json"]);
    let forged = alerts
        .lines()
        .find(|line| line.contains("ravn-forged-batch"));
    let forged: Value = serde_json::from_str(forged.expect(&alerts)).unwrap();
    assert_eq!(forged["device"]["hostname"], "beta");
    for host in HOSTS {
        wait_until(PATIENCE, "a ledger with nothing under way", || {
            let ledger = status(redis, host)["ledger"].take();
            let under_way = |of: &str| ledger[of]["queued"] != 0 || ledger[of]["in_flight"] != 0;
            if under_way("records") || under_way("syscalls") {
                return Ok(None);
            }
            check_balance(&ledger).map(Some)
        })
        .unwrap();
    }

    // Who stops leaves at once; who is killed, when its state has expired.
    alpha.sandbox.analyzer.as_mut().unwrap().stop().unwrap();
    assert_eq!(levels(redis).keys().collect::<Vec<_>>(), ["beta"]);
    alpha.start_analyzer();
    wait_until(PATIENCE, "alpha in ravn:levels again", || {
        Ok(levels(redis).contains_key("alpha").then_some(()))
    })
    .unwrap();
    alpha.sandbox.analyzer.as_mut().unwrap().kill().unwrap();
    let killed = Instant::now();
    assert!(levels(redis).contains_key("alpha"));
    wait_until(
        Duration::from_secs(15),
        "alpha gone from ravn:levels",
        || Ok((!levels(redis).contains_key("alpha")).then_some(())),
    )
    .unwrap();
    eprintln!(
        "alpha left ravn:levels {:?} after its death",
        killed.elapsed()
    );
    assert!(levels(redis).contains_key("beta"));
}
