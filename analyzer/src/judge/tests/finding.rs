//! One finding in full, as a SIEM gets it.

use ravn_shared::event::Exec;

use super::script::{Host, program};

#[test]
fn a_reverse_shell_as_ocsf() {
    let mut host = Host::new();
    let www = host.daemon("/usr/bin/python3.11", 33);
    let pid = host.fork(www);
    host.exec(
        pid,
        Exec {
            stdio: [5, 5, 5],
            stdio_peer: &[203, 0, 113, 9],
            stdio_peer_port: 4444,
            ..program("/usr/bin/dash", "sh\0-c\0echo \x1b[31mhi\0")
        },
    );
    assert_eq!(host.alerts.len(), 1);
    let alert = &host.alerts[0];
    let mut found: serde_json::Value = serde_json::from_str(&alert.body).unwrap();
    // What every build changes.
    found["metadata"]["product"]["version"] = "0".into();
    found["finding_info"]["analytic"]["version"] = "0".into();
    found["unmapped"]["ravn"]["rules"] = "0".into();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/judge/tests/finding.json");
    if std::env::var_os("RAVN_GOLDEN").is_some() {
        std::fs::write(path, serde_json::to_string_pretty(&found).unwrap() + "\n").unwrap();
    }
    let golden: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    assert_eq!(found, golden, "RAVN_GOLDEN=1 writes it anew");
    assert_eq!(found["finding_info"]["uid"], alert.id.as_str());
    assert!(!alert.body.contains('\x1b') && !alert.body.contains("\\u001b"));
}
