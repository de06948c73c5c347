#![allow(clippy::unwrap_used, clippy::expect_used)]
use super::synthetic::record;
use super::*;
use crate::model::{ModelSource, evaluate, show};
use crate::scratch::Scratch;
use std::time::Instant;

fn options(scratch: &Scratch, epochs: usize) -> TrainOptions {
    let path = scratch.file("a.ravnrec");
    record(&path, 1, 300);
    TrainOptions {
        recordings: vec![path],
        out: scratch.file("a.ravnmodel"),
        seed: 5,
        epochs,
        progress: false,
    }
}

#[test]
fn training_learns_order_and_repeats_itself_to_the_byte() {
    let scratch = Scratch::new();
    let options = options(&scratch, 10);
    let summary = run(&options).unwrap();
    let training = &summary.training;
    println!("{summary}");
    assert!(
        training.held_out_nll < 0.8 * training.unigram_nll,
        "{training:?}"
    );
    assert!(training.shuffled_above > 0.9, "{training:?}");
    assert_eq!(training.processes, 330, "300 and their leaders");
    assert!(training.trees >= 30);
    let first = fs::read(&options.out).unwrap();
    assert!(first.len() < 2 * 1024 * 1024);
    run(&options).unwrap();
    assert_eq!(
        first,
        fs::read(&options.out).unwrap(),
        "another file from the same data"
    );

    let source = ModelSource::File(options.out.clone());
    assert_eq!(show::show(&source).unwrap(), summary);
    let other = options.out.with_file_name("b.ravnrec");
    record(&other, 2, 200);
    let evaluation = evaluate::run(&source, &[other]).unwrap();
    assert!(
        evaluation.nll < 0.8 * evaluation.unigram_nll,
        "{evaluation:?}"
    );
    assert_eq!(evaluation.processes, 200);
    assert_eq!(
        evaluation.above[3], 0,
        "ordinary work is HIGH: {evaluation:?}"
    );
}

#[test]
fn too_little_is_refused() {
    let scratch = Scratch::new();
    let options = options(&scratch, 1);
    record(&options.recordings[0], 1, 3);
    let error = run(&options).unwrap_err().to_string();
    assert!(error.contains("record longer"), "{error}");
}

/// `cargo test --release -p ravn-analyzer training_speed -- --ignored --nocapture`
#[test]
#[ignore = "a measurement"]
fn training_speed() {
    let scratch = Scratch::new();
    let mut options = options(&scratch, 2);
    record(&options.recordings[0], 1, 3000);
    options.progress = true;
    let begun = Instant::now();
    let summary = run(&options).unwrap();
    let rate = 2.0 * summary.training.tokens as f64 / begun.elapsed().as_secs_f64();
    println!(
        "{summary}\n{:.0} thousand tokens/s, reading and calibration included",
        rate / 1e3
    );
}
