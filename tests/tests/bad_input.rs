//! Promise: what is wrong is said in one line that names it and the mend, with the exit code
//! that scripts rely on; what comes back is waited for; hostile bytes end in `events:dead`.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::os::unix::process::CommandExt;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use ravn_tests::harness::programs::{for_everyone, program};
use ravn_tests::harness::skip::{Need, can_run};
use ravn_tests::harness::{Sandbox, sandbox::PATIENCE, wait_until};

/// Runs a program that must end by itself, and soon.
fn run(name: &str, args: &[&str]) -> Output {
    let mut command = Command::new(program(name).unwrap());
    command.args(args).env_remove("NOTIFY_SOCKET");
    ends(command)
}

fn ends(mut command: Command) -> Output {
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = child.spawn().unwrap();
    let ended = wait_until(PATIENCE, "the end of the program", || Ok(child.try_wait()?));
    if ended.is_err() {
        child.kill().unwrap();
    }
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(ended.is_ok(), "{command:?} does not end by itself:\n{said}");
    output
}

/// Exit code `code`, and one line on standard error that holds each of `words`.
fn assert_says(output: &Output, code: i32, words: &[&str]) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{said}");
    let lines: Vec<_> = said
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    let fits = lines
        .iter()
        .any(|line| words.iter().all(|word| line.contains(word)));
    assert!(fits, "no line with {words:?} in:\n{said}");
    assert!(!said.contains("panicked"), "{said}");
}

#[test]
fn unknown_options_and_verbs_are_usage_errors() {
    for name in ["ravn-collector", "ravn-analyzer", "ravn"] {
        assert_says(&run(name, &["--no-such-option"]), 2, &["--no-such-option"]);
    }
    assert_says(&run("ravn", &["no-such-verb"]), 2, &["no-such-verb"]);
}

#[test]
fn a_wrong_configuration_names_the_file_and_the_key() {
    let sandbox = Sandbox::without_redis().unwrap();
    for name in ["collector", "analyzer"] {
        let daemon = format!("ravn-{name}");
        let path = sandbox.folder().join("wrong.toml");
        let shown = path.to_string_lossy().into_owned();
        for (text, word) in [
            ("no_such_key = 1\n", "no_such_key"),
            ("[redis]\nurl = 7\n", "url"),
            ("host = \"two words\"\n", "host"),
            ("host = ", "wrong.toml"),
            ("[redis]\nurl = \"http://x\"\n", "redis.url"),
        ] {
            fs::write(&path, text).unwrap();
            let output = run(&daemon, &["run", "--config", &shown]);
            assert_says(&output, 2, &[word]);
            let said = String::from_utf8_lossy(&output.stderr);
            assert_eq!(said.trim().lines().count(), 1, "{daemon}, {text:?}: {said}");
        }
        fs::remove_file(&path).unwrap();
        assert_says(
            &run(&daemon, &["run", "--config", &shown]),
            2,
            &["wrong.toml"],
        );
    }
}

#[test]
fn a_ring_that_is_no_power_of_two_is_refused() {
    let sandbox = Sandbox::without_redis().unwrap();
    let path = sandbox
        .write_collector_toml("[rings]\nfile = 5000000\n")
        .unwrap();
    assert_says(
        &run(
            "ravn-collector",
            &["run", "--config", &path.to_string_lossy()],
        ),
        2,
        &["rings.file"],
    );
}

#[test]
fn without_privilege_the_collector_says_so_with_77() {
    // SAFETY: geteuid has no preconditions.
    if unsafe { libc::geteuid() } != 0 {
        return;
    }
    let sandbox = Sandbox::without_redis().unwrap();
    let daemon = for_everyone(&program("ravn-collector").unwrap(), sandbox.folder()).unwrap();
    let config = sandbox.folder().join("collector.toml");
    let mut command = Command::new(daemon);
    command
        .args(["run", "--config", &config.to_string_lossy()])
        .uid(65534)
        .gid(65534)
        .env_remove("NOTIFY_SOCKET");
    let output = ends(command);
    assert_says(&output, 77, &["CAP_BPF"]);
}

#[test]
fn the_analyzer_waits_for_redis_and_then_is_ready() {
    let mut sandbox = Sandbox::without_redis().unwrap();
    waits_for_redis(&mut sandbox, false);
}

#[test]
fn the_collector_waits_for_redis_and_then_is_ready() {
    if can_run(
        "bad_input::the_collector_waits_for_redis_and_then_is_ready",
        Need::Kernel,
    )
    .unwrap()
    {
        let mut sandbox = Sandbox::without_redis().unwrap();
        waits_for_redis(&mut sandbox, true);
    }
}

fn waits_for_redis(sandbox: &mut Sandbox, collector: bool) {
    let socket = sandbox.redis.socket().to_string_lossy().into_owned();
    let daemon = if collector {
        sandbox.spawn_collector()
    } else {
        sandbox.spawn_analyzer()
    };
    let daemon = daemon.unwrap();
    wait_until(PATIENCE, "a STATUS that names Redis", || {
        assert!(daemon.has_ended().unwrap().is_none(), "{}", daemon.log());
        let said = daemon.said();
        assert!(!said.ready, "READY without Redis");
        let status = said.status.to_lowercase();
        Ok((status.contains("redis") || status.contains(&socket)).then_some(()))
    })
    .unwrap_or_else(|error| panic!("{error:#}\n{}", daemon.log()));
    wait_until(PATIENCE, "more start-up time asked for", || {
        Ok((daemon.said().extended > 0).then_some(()))
    })
    .unwrap();
    sandbox.redis.run().unwrap();
    let daemon = if collector {
        sandbox.collector.as_mut()
    } else {
        sandbox.analyzer.as_mut()
    };
    daemon.unwrap().wait_ready(PATIENCE).unwrap();
}

#[test]
fn an_evicting_redis_is_named_and_recovered_from() {
    let mut sandbox = Sandbox::without_redis().unwrap();
    sandbox
        .redis
        .set_options(&["--maxmemory-policy", "allkeys-lru"]);
    sandbox.redis.run().unwrap();
    sandbox.spawn_analyzer().unwrap();
    let daemon = sandbox.analyzer.as_mut().unwrap();
    wait_until(PATIENCE, "the policy in the log or STATUS", || {
        assert!(daemon.has_ended()?.is_none(), "{}", daemon.log());
        let status = daemon.said().status.clone();
        Ok((status.contains("noeviction") || daemon.log().contains("noeviction")).then_some(()))
    })
    .unwrap_or_else(|error| panic!("{error:#}\n{}", daemon.log()));
    let mut admin = sandbox.redis.admin().unwrap();
    redis::cmd("CONFIG")
        .arg("SET")
        .arg("maxmemory-policy")
        .arg("noeviction")
        .query::<()>(&mut admin)
        .unwrap();
    daemon.wait_ready(PATIENCE).unwrap();
}

#[test]
fn a_wrong_password_is_named_and_recovered_from() {
    let mut sandbox = Sandbox::new().unwrap();
    let file = sandbox.folder().join("analyzer.password");
    let right = fs::read_to_string(&file).unwrap();
    fs::write(&file, "wrong\n").unwrap();
    sandbox.spawn_analyzer().unwrap();
    let daemon = sandbox.analyzer.as_mut().unwrap();
    wait_until(PATIENCE, "a STATUS that names the password file", || {
        assert!(daemon.has_ended()?.is_none(), "{}", daemon.log());
        Ok(daemon.said().status.contains("password_file").then_some(()))
    })
    .unwrap_or_else(|error| panic!("{error:#}\n{}", daemon.log()));
    fs::write(&file, right).unwrap();
    daemon.wait_ready(PATIENCE).unwrap();
}

#[test]
fn garbage_in_the_list_is_put_aside_and_counted() {
    let mut sandbox = Sandbox::new().unwrap();
    sandbox.start_analyzer().unwrap();
    let mut admin = sandbox.redis.admin().unwrap();
    let deep = vec![0x91; 100_000];
    let long = [0xdd, 0xff, 0xff, 0xff, 0xff].to_vec();
    let hostile: [&[u8]; 6] = [b"", b"garbage", b"\x9a", &deep, &long, b"{\"json\": true}"];
    for bytes in hostile {
        redis::cmd("LPUSH")
            .arg("events:raw")
            .arg(bytes)
            .query::<()>(&mut admin)
            .unwrap();
    }
    wait_until(PATIENCE, "six dead letters", || {
        let dead: usize = redis::cmd("LLEN").arg("events:dead").query(&mut admin)?;
        let left: usize = redis::cmd("LLEN").arg("events:raw").query(&mut admin)?;
        Ok((dead == hostile.len() && left == 0).then_some(()))
    })
    .unwrap();
    wait_until(PATIENCE, "the state to count them", || {
        let counted = sandbox.status()?["dead_batches"].as_u64();
        Ok((counted == Some(hostile.len() as u64)).then_some(()))
    })
    .unwrap_or_else(|error| panic!("{error:#}\n{}", sandbox.status().unwrap_or_default()));
    assert!(
        sandbox
            .analyzer
            .as_mut()
            .unwrap()
            .has_ended()
            .unwrap()
            .is_none()
    );
    assert!(sandbox.level().unwrap().is_some());
}

/// SIGTERM ends both cleanly, and the level with it.
#[test]
fn the_analyzer_ends_cleanly_and_ravn_says_that_nobody_judges() {
    let mut sandbox = Sandbox::new().unwrap();
    sandbox.start_analyzer().unwrap();
    wait_until(PATIENCE, "a level", || sandbox.level()).unwrap();
    sandbox.analyzer.as_mut().unwrap().stop().unwrap();
    let config = sandbox.folder().join("analyzer.toml");
    let output = sandbox
        .ravn(&["stopped", "--config", &config.to_string_lossy()])
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(sandbox.level().unwrap(), None);
    let status = sandbox.status().unwrap();
    assert_eq!(status["level"], "UNKNOWN");
}

#[test]
fn ravn_without_a_redis_says_where_it_looked() {
    let sandbox = Sandbox::without_redis().unwrap();
    let output = sandbox.ravn(&["status"]).unwrap();
    assert_says(&output, 1, &["redis.sock", "is RAVN running"]);
    let output = sandbox.ravn(&["wait", "--seconds", "0"]).unwrap();
    assert_says(&output, 1, &["redis.sock"]);
    let doctor = sandbox.ravn(&["doctor"]).unwrap();
    assert_eq!(doctor.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&doctor.stdout).contains("mend:"));
}

/// What each user of the ACL file may not do.
#[test]
fn the_access_list_holds() {
    let sandbox = Sandbox::new().unwrap();
    let refused = |user: &str, words: &[&str]| {
        let mut connection = sandbox.redis.connect(user).unwrap();
        connection
            .set_read_timeout(Some(Duration::from_secs(5)))
            .unwrap();
        let mut command = redis::cmd(words[0]);
        words[1..].iter().for_each(|word| {
            command.arg(*word);
        });
        let answer = command.query::<redis::Value>(&mut connection);
        let code = answer.as_ref().err().and_then(|error| error.code());
        assert_eq!(code, Some("NOPERM"), "{user} {words:?}: {answer:?}");
    };
    // `default` has rights, for Redis's own sake, and nobody can be it.
    let socket = sandbox.redis.socket();
    for login in ["", "?pass=", "?user=default&pass=x"] {
        let url = format!("unix://{}{login}", socket.display());
        let answer = redis::Client::open(url)
            .and_then(|client| client.get_connection())
            .and_then(|mut connection| {
                redis::cmd("GET")
                    .arg("threat_level")
                    .query::<redis::Value>(&mut connection)
            });
        assert!(answer.is_err(), "{login:?}: {answer:?}");
    }
    for words in [
        &["GET", "threat_level"][..],
        &["LRANGE", "events:raw", "0", "-1"],
        &["CONFIG", "GET", "*"],
        &["LPUSH", "events:dead", "x"],
        &["XADD", "ravn:alerts", "*", "a", "b"],
    ] {
        refused("collector", words);
    }
    for words in [
        &["LPUSH", "events:raw", "x"][..],
        &["DEL", "events:raw"],
        &["FLUSHALL"],
        &["CONFIG", "SET", "maxmemory", "1"],
        &["EVAL", "return 1", "0"],
    ] {
        refused("analyzer", words);
    }
    for words in [
        &["LRANGE", "events:raw", "0", "-1"][..],
        &["SUBSCRIBE", "events:tap"],
        &["SET", "threat_level", "LOW"],
        &["XADD", "ravn:commands", "*", "a", "b"],
        &["KEYS", "*"],
    ] {
        refused("reader", words);
    }
    for words in [
        &["SET", "threat_level", "LOW"][..],
        &["LPUSH", "events:raw", "x"],
        &["PUBLISH", "threat_updates", "LOW"],
    ] {
        refused("operator", words);
    }
}
