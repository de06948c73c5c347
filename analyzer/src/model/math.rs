//! The inner loops of inference, written so that the compiler vectorises them.
//!
//! Burn's own `sigmoid` and `tanh` are scalar (3.5 and 9.5 ns an element); these bodies are
//! compiled twice, for the machine's baseline and for AVX2, and chosen at run time.

use super::net::{GATES, HIDDEN};

/// e^x for |x| up to 87, else clamped there. Relative error below 2e-7.
///
/// x = n·ln 2 + r, e^r by a polynomial of degree 6 (Cephes), 2^n put into the exponent.
#[inline(always)]
fn exp(x: f32) -> f32 {
    // Adding 1.5·2^23 rounds to an integer in the low bits of the mantissa.
    const ROUND: f32 = 12_582_912.0;
    let x = x.clamp(-87.0, 87.0);
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = x - n * 0.693_359_4 - n * -2.121_944_4e-4;
    let p = 1.987_569_1e-4;
    let p = p * r + 1.398_199_9e-3;
    let p = p * r + 8.333_452e-3;
    let p = p * r + 4.166_579_6e-2;
    let p = p * r + 1.666_666_6e-1;
    let p = p * r + 0.500_000_06;
    let p = p * r * r + r + 1.0;
    let scale = f32::from_bits(shifted.to_bits().wrapping_add(127) << 23);
    p * scale
}

#[inline(always)]
fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

#[inline(always)]
fn tanh(x: f32) -> f32 {
    2.0 / (1.0 + exp(-2.0 * x)) - 1.0
}

#[inline(always)]
fn cell_body(gates: &[f32; GATES], hidden: &mut [f32; HIDDEN], cell: &mut [f32; HIDDEN]) {
    for at in 0..HIDDEN {
        let input = sigmoid(gates[at]);
        let forget = sigmoid(gates[HIDDEN + at]);
        let candidate = tanh(gates[2 * HIDDEN + at]);
        let output = sigmoid(gates[3 * HIDDEN + at]);
        let next = forget * cell[at] + input * candidate;
        cell[at] = next;
        hidden[at] = output * tanh(next);
    }
}

/// What the head's scores say of the token that was seen.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Odds {
    /// Its probability.
    pub probability: f32,
    /// Probability of all tokens that are at most as likely as it.
    pub rank_probability: f32,
    /// The likeliest token.
    pub likeliest: u16,
}

/// Width that the loops over scores are unrolled to; a single running value would chain each
/// step to the last.
const WIDE: usize = 16;

#[inline(always)]
fn odds_body(scores: &mut [f32], seen: usize) -> Odds {
    let (most, likeliest) = highest(scores);
    let (wide, rest) = scores.as_chunks_mut::<WIDE>();
    let mut sums = [0.0f32; WIDE];
    for chunk in wide.iter_mut() {
        for (sum, score) in sums.iter_mut().zip(chunk) {
            *score = exp(*score - most);
            *sum += *score;
        }
    }
    for (sum, score) in sums.iter_mut().zip(rest) {
        *score = exp(*score - most);
        *sum += *score;
    }
    let total: f32 = sums.iter().sum();
    let own = scores[seen];
    let bound = own * 1.000_001;
    let upto = |score: f32| if score <= bound { score } else { 0.0 };
    let (wide, rest) = scores.as_chunks::<WIDE>();
    let mut below = [0.0f32; WIDE];
    for chunk in wide {
        for (sum, score) in below.iter_mut().zip(chunk) {
            *sum += upto(*score);
        }
    }
    let below: f32 = below.iter().sum::<f32>() + rest.iter().map(|score| upto(*score)).sum::<f32>();
    Odds {
        probability: own / total,
        rank_probability: below / total,
        likeliest: likeliest as u16,
    }
}

/// The highest score and where it stands.
#[inline(always)]
fn highest(scores: &[f32]) -> (f32, usize) {
    let (wide, rest) = scores.as_chunks::<WIDE>();
    let mut most = [f32::MIN; WIDE];
    let mut rows = [0u32; WIDE];
    for (row, chunk) in (0u32..).zip(wide) {
        for ((most, at), score) in most.iter_mut().zip(&mut rows).zip(chunk) {
            let higher = *score > *most;
            *most = if higher { *score } else { *most };
            *at = if higher { row } else { *at };
        }
    }
    let lanes = (0..WIDE).map(|lane| (most[lane], rows[lane] as usize * WIDE + lane));
    let rest = rest.iter().copied().zip(wide.len() * WIDE..);
    let higher = |a: (f32, usize), b: (f32, usize)| if b.0 > a.0 { b } else { a };
    lanes.chain(rest).fold((f32::MIN, 0), higher)
}

/// Which compilation of the loops this machine runs.
#[derive(Clone, Copy, Debug)]
pub struct Kernel {
    #[cfg(target_arch = "x86_64")]
    avx2: bool,
}

impl Kernel {
    /// Looks at the CPU.
    pub fn detect() -> Self {
        Self {
            #[cfg(target_arch = "x86_64")]
            avx2: is_x86_feature_detected!("avx2"),
        }
    }

    /// One step of the LSTM's cell, in place.
    pub fn cell(self, gates: &[f32; GATES], hidden: &mut [f32; HIDDEN], cell: &mut [f32; HIDDEN]) {
        #[cfg(target_arch = "x86_64")]
        if self.avx2 {
            // SAFETY: the CPU has AVX2, `detect` asked it.
            return unsafe { cell_avx2(gates, hidden, cell) };
        }
        cell_body(gates, hidden, cell);
    }

    /// Softmax of `scores` (overwritten) at the token `seen`.
    pub fn odds(self, scores: &mut [f32], seen: usize) -> Odds {
        #[cfg(target_arch = "x86_64")]
        if self.avx2 {
            // SAFETY: the CPU has AVX2, `detect` asked it.
            return unsafe { odds_avx2(scores, seen) };
        }
        odds_body(scores, seen)
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn cell_avx2(gates: &[f32; GATES], hidden: &mut [f32; HIDDEN], cell: &mut [f32; HIDDEN]) {
    cell_body(gates, hidden, cell);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn odds_avx2(scores: &mut [f32], seen: usize) -> Odds {
    odds_body(scores, seen)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn the_polynomials_are_close_to_the_library() {
        for step in -2000..2000 {
            let x = step as f32 / 100.0;
            let error = (f64::from(exp(x)) / f64::from(x).exp() - 1.0).abs();
            assert!(error < 1e-6, "exp({x}): {error}");
            assert!((tanh(x) - x.tanh()).abs() < 1e-6, "tanh({x})");
        }
        assert!((0.0..1e-30).contains(&exp(-500.0)));
    }

    #[test]
    fn odds_are_a_softmax_with_its_ranks() {
        let scores: Vec<f32> = (0..502).map(|at| ((at * 37) % 101) as f32 / 20.0).collect();
        let total: f64 = scores.iter().map(|score| f64::from(*score).exp()).sum();
        for kernel in [Kernel::detect(), Kernel { avx2: false }] {
            for seen in [0, 3, 500] {
                let own = f64::from(scores[seen]).exp() / total;
                let rank: f64 = scores
                    .iter()
                    .filter(|score| **score <= scores[seen])
                    .map(|score| f64::from(*score).exp() / total)
                    .sum();
                let odds = kernel.odds(&mut scores.clone(), seen);
                assert!((f64::from(odds.probability) / own - 1.0).abs() < 1e-5);
                assert!((f64::from(odds.rank_probability) / rank - 1.0).abs() < 1e-4);
                assert_eq!(scores[usize::from(odds.likeliest)], 5.0);
            }
        }
    }

    #[test]
    fn a_nan_stays_one() {
        let odds = Kernel::detect().odds(&mut [0.0, f32::NAN, 1.0], 1);
        assert!(!odds.probability.is_finite());
    }
}
