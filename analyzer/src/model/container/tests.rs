#![allow(clippy::unwrap_used, clippy::expect_used)]
use super::*;

fn metadata() -> Metadata {
    let usual = Usual {
        mean: 1.0,
        deviation: 2.0,
    };
    let mut set = TokenSet::default();
    set.insert(501);
    Metadata {
        vocabulary: tokens::digest(),
        tokens: tokens::count(),
        embed: EMBED,
        hidden: HIDDEN,
        seed: 1,
        training: Training::default(),
        counts: vec![1; tokens::count()],
        usual: vec![usual; tokens::count()],
        sets: vec![set],
        calibration: Calibration::default(),
    }
}

#[test]
fn what_is_written_comes_back() {
    let bytes = write(&metadata(), b"weights").unwrap();
    assert_eq!(read(&bytes).unwrap(), (metadata(), &b"weights"[..]));
}

#[test]
fn any_flipped_bit_and_any_cut_is_an_error() {
    let bytes = write(&metadata(), b"weights").unwrap();
    let mut damaged = bytes.clone();
    for at in (0..bytes.len())
        .step_by(41)
        .chain([0, 8, 12, bytes.len() - 1])
    {
        for bit in 0..8 {
            damaged[at] ^= 1 << bit;
            assert!(read(&damaged).is_err(), "bit {bit} of byte {at}");
            damaged[at] ^= 1 << bit;
        }
    }
    for length in (0..bytes.len()).step_by(57) {
        assert!(read(&bytes[..length]).is_err(), "cut at {length}");
    }
}

#[test]
fn another_vocabulary_is_named() {
    let mut other = metadata();
    other.vocabulary = "ab".repeat(32);
    let error = read(&write(&other, b"").unwrap()).unwrap_err();
    assert!(matches!(error, ModelError::Vocabulary { .. }));
    assert!(error.to_string().contains("abababababab"), "{error}");
    let mut sizes = metadata();
    sizes.hidden += 1;
    let error = read(&write(&sizes, b"").unwrap()).unwrap_err();
    assert!(matches!(error, ModelError::Sizes));
}
