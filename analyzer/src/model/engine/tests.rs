#![allow(clippy::unwrap_used, clippy::expect_used)]
use super::*;
use crate::model::rng::Rng;
use burn::nn::{Lstm, LstmConfig};
use burn::tensor::{Int, activation};

const VOCABULARY: usize = 502;

fn net() -> Net {
    Net::new(VOCABULARY, 3, &Device::flex())
}

/// Burn's own LSTM with the same weights.
fn reference(net: &Net, device: &Device) -> Lstm {
    let mut lstm = LstmConfig::new(net::EMBED, HIDDEN, true).init(device);
    let part = |tensor: Tensor<2>, gate: usize| tensor.narrow(1, gate * HIDDEN, HIDDEN);
    let fill = |controller: &mut burn::nn::GateController, gate: usize| {
        let bias = net
            .input
            .bias
            .as_ref()
            .unwrap()
            .val()
            .narrow(0, gate * HIDDEN, HIDDEN);
        controller.input_transform.weight =
            burn::module::Param::from_tensor(part(net.input.weight.val(), gate));
        controller.input_transform.bias = Some(burn::module::Param::from_tensor(bias));
        controller.hidden_transform.weight =
            burn::module::Param::from_tensor(part(net.recurrent.weight.val(), gate));
        controller.hidden_transform.bias = Some(burn::module::Param::from_tensor(Tensor::zeros(
            [HIDDEN],
            device,
        )));
    };
    fill(&mut lstm.input_gate, 0);
    fill(lstm.forget_gate.as_mut().unwrap(), 1);
    fill(&mut lstm.cell_gate, 2);
    fill(&mut lstm.output_gate, 3);
    lstm
}

#[test]
fn the_hybrid_is_burns_own_lstm() {
    let device = Device::flex();
    let net = net();
    let mut engine = Engine::new(&net).unwrap();
    let mut rng = Rng::new(9);
    let (streams, length) = (5, 80);
    let tokens: Vec<Vec<Token>> = (0..streams)
        .map(|_| {
            (0..length)
                .map(|_| rng.below(VOCABULARY) as Token)
                .collect()
        })
        .collect();
    // The reference sees START first, then all but the last.
    let inputs: Vec<i32> = tokens
        .iter()
        .flat_map(|line| std::iter::once(tokens::START).chain(line[..length - 1].iter().copied()))
        .map(i32::from)
        .collect();
    let inputs = Tensor::<2, Int>::from_data(TensorData::new(inputs, [streams, length]), &device);
    let (hidden, _) = reference(&net, &device).forward(net.embedding.forward(inputs), None);
    let scores = net.head.forward(hidden.reshape([streams * length, HIDDEN]));
    let likely = net::values(activation::log_softmax(scores, 1)).unwrap();

    let mut states = vec![engine.start().clone(); streams];
    for step in 0..length {
        let mut lanes: Vec<Lane<'_>> = states
            .iter_mut()
            .zip(&tokens)
            .map(|(stream, line)| Lane {
                stream,
                token: line[step],
                odds: Odds::default(),
            })
            .collect();
        engine.step(&mut lanes).unwrap();
        for (at, lane) in lanes.iter().enumerate() {
            let row = &likely[(at * length + step) * VOCABULARY..][..VOCABULARY];
            let expected = row[usize::from(lane.token)];
            let own = lane.odds.probability.ln();
            assert!((own - expected).abs() < 1e-4, "{own} and {expected}");
        }
    }
}

#[test]
fn how_many_step_together_changes_nothing() {
    let mut engine = Engine::new(&net()).unwrap();
    let mut alone = engine.start().clone();
    let mut crowd = vec![engine.start().clone(); WIDEST + 10];
    for token in [3, 500, 60_000, 7] {
        let lane = |stream| Lane {
            stream,
            token,
            odds: Odds::default(),
        };
        let mut one = [lane(&mut alone)];
        engine.step(&mut one).unwrap();
        let mut many: Vec<Lane<'_>> = crowd.iter_mut().map(lane).collect();
        engine.step(&mut many).unwrap();
        let odds = many.last().unwrap().odds;
        assert!((odds.probability - one[0].odds.probability).abs() < 1e-7);
    }
}

#[test]
fn a_damaged_state_or_weight_is_an_error() {
    let mut engine = Engine::new(&net()).unwrap();
    let mut stream = engine.start().clone();
    stream.hidden[5] = f32::NAN;
    let mut lanes = [Lane {
        stream: &mut stream,
        token: 1,
        odds: Odds::default(),
    }];
    assert!(engine.step(&mut lanes).is_err());
    let mut net = net();
    net.head.weight = net.head.weight.map(|weight| weight.mul_scalar(f32::NAN));
    assert!(Engine::new(&net).is_err());
}

/// CPU time of this thread, seconds: a busy machine must not spoil the measurement.
fn cpu_s() -> f64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is a valid timespec for the call to fill.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// `cargo test --release -p ravn-analyzer speed -- --ignored --nocapture`
#[test]
#[ignore = "a measurement"]
fn speed() {
    let mut engine = Engine::new(&net()).unwrap();
    for streams in [1, 16, 64, 128, 256] {
        let mut states = vec![engine.start().clone(); streams];
        let rounds = 60_000 / streams;
        let mut best = f64::MAX;
        for _ in 0..5 {
            let begun = cpu_s();
            for round in 0..rounds {
                let mut lanes: Vec<Lane<'_>> = states
                    .iter_mut()
                    .enumerate()
                    .map(|(at, stream)| Lane {
                        stream,
                        token: ((at * 31 + round * 7) % VOCABULARY) as Token,
                        odds: Odds::default(),
                    })
                    .collect();
                engine.step(&mut lanes).unwrap();
            }
            best = best.min(cpu_s() - begun);
        }
        let rate = (rounds * streams) as f64 / best / 1000.0;
        println!("{streams:4} streams: {rate:7.0} thousand tokens a CPU second");
    }
    let kernel = Kernel::detect();
    let scores: Vec<f32> = (0..VOCABULARY).map(|at| (at % 17) as f32 / 3.0).collect();
    let (mut work, begun) = (scores.clone(), cpu_s());
    for seen in 0..100_000 {
        work.copy_from_slice(&scores);
        std::hint::black_box(kernel.odds(&mut work, seen % VOCABULARY));
    }
    println!("odds: {:.0} ns", (cpu_s() - begun) * 1e4);
    let (mut hidden, mut cell, begun) = ([0.1; HIDDEN], [0.2; HIDDEN], cpu_s());
    for _ in 0..100_000 {
        kernel.cell(std::hint::black_box(&[0.3; GATES]), &mut hidden, &mut cell);
    }
    println!("cell: {:.0} ns", (cpu_s() - begun) * 1e4);
}
