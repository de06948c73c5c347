#![allow(clippy::unwrap_used, clippy::expect_used)]
use super::*;
use crate::model::rng::Rng;

fn normals(count: usize) -> Vec<Measured> {
    let mut rng = Rng::new(4);
    (0..count)
        .map(|at| Measured {
            tokens: 16 << (at % 7),
            surprise: -(1.0 - rng.uniform()).ln() * 0.5,
            novelty: rng.uniform() * 0.4,
        })
        .collect()
}

#[test]
fn probabilities_are_what_the_normals_show() {
    let values: Vec<f32> = (0..1000).map(|value| value as f32 / 1000.0).collect();
    let tail = Tail::fit(values);
    for (value, share) in [(0.25, 0.75), (0.5, 0.5), (0.9, 0.1)] {
        assert!((tail.probability(value) - share).abs() < 0.01, "{value}");
    }
    let mut before = 1.0;
    for step in 0..100 {
        let probability = tail.probability(step as f32 * 0.02);
        assert!(probability <= before && probability > 0.0);
        before = probability;
    }
    assert_eq!(Tail::fit(vec![]).probability(9.0), 1.0);
    assert_eq!(Tail::fit(vec![1.0; 5]).probability(1.0), 1.0);
}

#[test]
fn the_curve_is_the_documented_one() {
    for (probability, expected) in [(0.05, 20.0), (0.01, 40.0), (0.001, 55.0)] {
        assert!((score(probability) - expected).abs() < 0.1, "{probability}");
    }
    assert_eq!(score(0.9), 0.0);
    assert!(score(0.0) <= 80.0);
}

#[test]
fn normals_keep_to_their_rate() {
    let calibration = Calibration::fit(&normals(4000));
    let other: Vec<Measured> = normals(8000).split_off(4000);
    let high = other
        .iter()
        .filter(|normal| calibration.meaning(normal).unwrap().probability < 0.01);
    let rate = high.count() as f64 / other.len() as f64;
    assert!((0.002..0.02).contains(&rate), "{rate}");
}

#[test]
fn high_needs_surprise_and_novelty() {
    let calibration = Calibration::fit(&normals(4000));
    let of = |surprise, novelty| {
        let measured = Measured {
            tokens: 200,
            surprise,
            novelty,
        };
        calibration.meaning(&measured).unwrap().score
    };
    assert!(of(30.0, 0.9) > 80.0);
    assert!(of(30.0, 0.2) <= 80.0);
    assert!(of(0.5, 0.95) <= 80.0);
    // One voice is heard, though the other is silent.
    assert!(of(30.0, 0.0) > 55.0);
    let short = Measured {
        tokens: 15,
        surprise: 30.0,
        novelty: 1.0,
    };
    assert_eq!(calibration.meaning(&short), None);
}

#[test]
fn few_sets_stand_for_many() {
    let mut rng = Rng::new(5);
    let sets: Vec<TokenSet> = (0..3000)
        .map(|_| {
            let mut set = TokenSet::default();
            let base = rng.below(20) as u16 * 20;
            for _ in 0..15 {
                set.insert(base + rng.below(18) as u16);
            }
            set
        })
        .collect();
    let picked = representatives(sets.clone());
    assert_eq!(picked.len(), MOST_SETS);
    let far = sets
        .iter()
        .map(|set| {
            picked
                .iter()
                .map(|one| one.distance(set))
                .fold(1.0, f32::min)
        })
        .fold(0.0, f32::max);
    assert!(far < 0.6, "{far}");
    let text = serde_json::to_string(&picked[0]).unwrap();
    assert_eq!(serde_json::from_str::<TokenSet>(&text).unwrap(), picked[0]);
    assert!(serde_json::from_str::<TokenSet>("\"zz\"").is_err());
}
