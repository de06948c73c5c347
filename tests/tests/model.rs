//! Promise: without a model, or with a damaged one, RAVN judges on by rules alone and says why.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;

use ravn_tests::harness::{Sandbox, sandbox::PATIENCE, wait_until};

/// Starts the analyzer with this model and waits for a state; gives its mode and the reason.
fn mode_with(model: &str) -> (String, String) {
    let mut sandbox = Sandbox::new().unwrap();
    let path = if model == "none" || model.is_empty() {
        model.to_owned()
    } else {
        let path = sandbox.folder().join("model.mpk");
        if model != "missing" {
            fs::write(&path, model.repeat(1000)).unwrap();
        }
        path.to_string_lossy().into_owned()
    };
    sandbox
        .write_analyzer_toml(&format!("model = \"{path}\"\n"))
        .unwrap();
    sandbox.start_analyzer().unwrap();
    let status = wait_until(PATIENCE, "a mode that stands", || {
        let status = sandbox.status()?;
        let mode = status["mode"].as_str().unwrap_or_default();
        let reason = status["mode_reason"].as_str().unwrap_or_default();
        Ok((mode == "full" || mode == "rules" && !reason.is_empty()).then_some(status))
    })
    .unwrap_or_else(|error| panic!("{error:#}\n{:#}", sandbox.status().unwrap_or_default()));
    assert_eq!(status["level"], "LOW", "{status}");
    let word = |name: &str| status[name].as_str().unwrap().to_owned();
    (word("mode"), word("mode_reason"))
}

#[test]
fn the_built_in_model_judges() {
    let (mode, reason) = mode_with("");
    assert_eq!(mode, "full", "{reason}");
}

#[test]
fn no_model_on_purpose() {
    let (mode, reason) = mode_with("none");
    assert_eq!(mode, "rules");
    assert!(
        reason.contains("none") || reason.contains("no model"),
        "{reason}"
    );
}

#[test]
fn a_missing_model_is_named() {
    let (mode, reason) = mode_with("missing");
    assert_eq!(mode, "rules");
    assert!(reason.contains("model.mpk"), "{reason}");
}

#[test]
fn a_damaged_model_is_named() {
    let (mode, reason) = mode_with("damage");
    assert_eq!(mode, "rules");
    assert!(reason.contains("model.mpk"), "{reason}");
}
