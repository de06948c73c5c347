//! Promise: without a model, or with a damaged one, RAVN judges on by rules alone and says why.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;

use ravn_tests::harness::{Sandbox, sandbox::PATIENCE, wait_until};

/// Starts the analyzer with this model (`missing`: a file that is not there; other words become
/// the content of a file) and waits until `fits` holds for mode and reason.
fn expect(model: &str, fits: impl Fn(&str, &str) -> bool) {
    let mut sandbox = Sandbox::new().unwrap();
    let path = if model == "none" || model.is_empty() {
        model.to_owned()
    } else {
        let path = sandbox.folder().join("model.ravnmodel");
        if model != "missing" {
            fs::write(&path, model.repeat(1000)).unwrap();
        }
        path.to_string_lossy().into_owned()
    };
    sandbox
        .write_analyzer_toml(&format!("model = \"{path}\"\n"))
        .unwrap();
    sandbox.start_analyzer().unwrap();
    let status = wait_until(PATIENCE, "the mode and its reason", || {
        let status = sandbox.status()?;
        let word = |name: &str| status[name].as_str().unwrap_or_default();
        let done = fits(word("mode"), word("mode_reason"));
        Ok(done.then_some(status))
    })
    .unwrap_or_else(|error| panic!("{error:#}\n{:#}", sandbox.status().unwrap_or_default()));
    assert_eq!(status["level"], "LOW", "{status}");
}

#[test]
fn the_built_in_model_judges() {
    expect("", |mode, _| mode == "full");
}

#[test]
fn no_model_on_purpose() {
    expect("none", |mode, reason| {
        mode == "rules" && reason.contains("none")
    });
}

#[test]
fn a_missing_model_is_named() {
    expect("missing", |mode, reason| {
        mode == "rules" && reason.contains("model.ravnmodel")
    });
}

#[test]
fn a_damaged_model_is_named() {
    expect("damage", |mode, reason| {
        mode == "rules" && reason.contains("model.ravnmodel")
    });
}
