//! The doctor before the start, its file, and what must not make it stumble.

use std::fs;
use std::path::PathBuf;

use llm_lora::doctor::{FindingKind, Method, Start, before_start, diagnose};
use llm_lora::{Error, read_metrics};
use llm_lora::{Evaluation, Event, Skipped, Step};

fn start(method: Method, base_parameters: u64, learning_rate: f64) -> Start {
    Start {
        records: 52_002,
        epochs: 3.0,
        learning_rate,
        method,
        base_parameters,
        supervised_share: 0.4,
        ended_share: 1.0,
    }
}

fn kinds(start: &Start) -> Vec<FindingKind> {
    before_start(start)
        .iter()
        .map(|finding| finding.kind)
        .collect()
}

/// Rates of published recipes, and those of the bundled and of small models.
#[test]
fn published_rates_are_not_alarming() {
    const B: u64 = 1_000_000_000;
    let recipes = [
        ("Alpaca", Method::Full, 7 * B, 2e-5),
        ("BELLE", Method::Full, 7 * B, 8e-6),
        ("Vicuna", Method::Full, 7 * B, 2e-5),
        ("SmolLM2 1.7B", Method::Full, 17 * B / 10, 3e-4),
        ("the bundled model", Method::Full, 1_353_120, 1e-3),
        ("alpaca-lora", Method::Lora, 7 * B, 3e-4),
        ("BELLE LoRA", Method::Lora, 7 * B, 8e-6),
        ("Chinese-LLaMA-Alpaca", Method::Lora, 7 * B, 1e-4),
        ("Chinese-LLaMA-Alpaca", Method::Lora, 13 * B, 2e-4),
        ("Baize", Method::Lora, 30 * B, 5e-5),
        ("QLoRA", Method::QLora, 7 * B, 2e-4),
        ("QLoRA 65B", Method::QLora, 65 * B, 1e-4),
        ("the bundled model", Method::Lora, 1_353_120, 3e-3),
        ("a tiny model", Method::Lora, 1_353_120, 1e-2),
    ];
    for (name, method, parameters, rate) in recipes {
        let found = before_start(&start(method, parameters, rate));
        assert!(found.is_empty(), "{name}: {}", found[0]);
    }
}

#[test]
fn rates_far_out_are_alarming() {
    const B: u64 = 1_000_000_000;
    let slips = [
        ("LoRA's rate for all weights", Method::Full, 7 * B, 2e-4),
        ("a slipped exponent", Method::Lora, 7 * B, 2e-2),
        ("a slipped exponent", Method::QLora, 7 * B, 2e-8),
        ("where flat_tiny was flat", Method::Lora, 1_353_120, 1e-8),
        ("where diverge_fast diverged", Method::Lora, 1_353_120, 0.1),
        (
            "where damage_full did damage",
            Method::Full,
            1_353_120,
            1e-2,
        ),
        ("nothing", Method::Full, 7 * B, 0.0),
        ("no number", Method::Full, 7 * B, f64::NAN),
    ];
    for (name, method, parameters, rate) in slips {
        let found = kinds(&start(method, parameters, rate));
        assert_eq!(found, [FindingKind::LearningRate], "{name}");
    }
}

#[test]
fn many_epochs_low_share_and_open_ends_are_named() {
    let good = start(Method::Lora, 7_000_000_000, 2e-4);
    let many = |records, epochs| {
        kinds(&Start {
            records,
            epochs,
            ..good.clone()
        })
    };
    assert_eq!(many(10_001, 5.0), [FindingKind::ManyEpochs]);
    assert!(many(10_000, 5.0).is_empty() && many(10_001, 4.0).is_empty());
    let share = |supervised_share, ended_share| {
        kinds(&Start {
            supervised_share,
            ended_share,
            ..good.clone()
        })
    };
    assert_eq!(share(0.049, 1.0), [FindingKind::LowSupervisedShare]);
    assert_eq!(share(0.5, 0.949), [FindingKind::UnsupervisedEnd]);
    assert!(share(0.05, 0.95).is_empty());
}

const ROW: &str = r#"{"step":1,"epoch":0.5,"loss":2.5,"learning_rate":0.0001,"grad_norm":1.5,"tokens":9,"supervised_tokens":4,"seconds":0.1}"#;

fn file(content: &[u8]) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("metrics.jsonl");
    fs::write(&path, content).unwrap();
    (dir, path)
}

#[test]
fn reads_all_three_kinds_of_rows() {
    let rows = format!(
        "{ROW}\n{}\n\n{}\n",
        r#"{"step":1,"epoch":0.5,"eval_loss":2.25,"seconds":0.1}"#,
        r#"{"step":2,"epoch":1.0,"skipped":"loss","samples":[3,4],"seconds":0.1}"#
    );
    let (_dir, path) = file(rows.as_bytes());
    let expected = [
        Event::Step(Step {
            step: 1,
            total_steps: 0,
            epoch: 0.5,
            loss: 2.5,
            learning_rate: 1e-4,
            grad_norm: 1.5,
            tokens: 9,
            supervised_tokens: 4,
            seconds: 0.1,
        }),
        Event::Evaluation(Evaluation {
            step: 1,
            epoch: 0.5,
            eval_loss: 2.25,
            seconds: 0.1,
        }),
        Event::Skipped(Skipped {
            step: 2,
            epoch: 1.0,
            skipped: "loss".to_owned(),
            samples: vec![3, 4],
            seconds: 0.1,
        }),
    ];
    assert_eq!(read_metrics(path).unwrap(), expected);
}

/// A run that was killed, or is writing, at any byte.
#[test]
fn a_last_line_cut_off_anywhere_is_left_out() {
    let rows = format!("{ROW}\n{ROW}\n");
    for end in 0..=rows.len() {
        let (_dir, path) = file(&rows.as_bytes()[..end]);
        let read = read_metrics(path).unwrap().len();
        assert_eq!(
            read,
            (end >= ROW.len()) as usize + (end > 2 * ROW.len()) as usize,
            "{end}"
        );
    }
    // Within a character.
    let (_dir, path) = file(&[ROW.as_bytes(), b"\n{\"step\":\"\xe5\xb0"].concat());
    assert_eq!(read_metrics(path).unwrap().len(), 1);
}

#[test]
fn a_wrong_line_is_named() {
    let wrong = [
        (r#"{"step":1}"#.to_owned(), "neither a step"),
        (r#"{"step":1,"#.to_owned(), "no JSON at column 10"),
        ("\u{0}\u{0}".to_owned(), "no JSON at column 1"),
        (
            format!("{{\"step\":\"{}\"}}", "x".repeat(1 << 20)),
            "longer than",
        ),
    ];
    for (line, what) in wrong {
        let (_dir, path) = file(format!("{ROW}\n{line}\n{ROW}\n").as_bytes());
        let error = read_metrics(&path).unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, Error::Metrics { line: 2, .. }), "{text}");
        assert!(
            text.starts_with(&format!("{}:2: ", path.display())) && text.contains(what),
            "{text}"
        );
    }
    let missing = read_metrics("/nowhere/metrics.jsonl").unwrap_err();
    assert!(
        missing.to_string().starts_with("/nowhere/metrics.jsonl: "),
        "{missing}"
    );
}

/// Whatever stands in a file: numbers out of all bounds, in any order.
#[test]
fn odd_events_do_not_panic() {
    let numbers = [f64::NAN, f64::INFINITY, -1.0, 0.0, 1e308, 1.0];
    let mut events = Vec::new();
    for (index, loss) in numbers.iter().cycle().take(600).enumerate() {
        let other = numbers[index / 6 % 6];
        events.push(Event::Step(Step {
            step: [index, usize::MAX, 0][index % 3],
            total_steps: 0,
            epoch: other,
            loss: *loss,
            learning_rate: other,
            grad_norm: other,
            tokens: usize::MAX,
            supervised_tokens: [usize::MAX, 0, 1][index % 3],
            seconds: other,
        }));
        events.push(Event::Evaluation(Evaluation {
            step: [usize::MAX, 0, index][index % 3],
            epoch: other,
            eval_loss: *loss,
            seconds: other,
        }));
    }
    for end in 0..events.len() {
        diagnose(&events[..end]);
    }
    assert!(diagnose(&[]).is_empty());
}

/// Programs rely on the names.
#[test]
fn a_finding_serialises_with_stable_names() {
    let mut bad = start(Method::Full, 7_000_000_000, 1.0);
    (bad.epochs, bad.supervised_share, bad.ended_share) = (5.0, 0.01, 0.5);
    let found = before_start(&bad);
    let json = serde_json::to_value(&found).unwrap();
    let names: Vec<_> = json
        .as_array()
        .unwrap()
        .iter()
        .map(|finding| &finding["kind"])
        .collect();
    assert_eq!(
        names,
        [
            "many_epochs",
            "learning_rate",
            "low_supervised_share",
            "unsupervised_end"
        ]
    );
    assert_eq!(json[0]["severity"], "warning");
    assert!(json[0]["steps"].is_null());
    for (finding, name) in found.iter().zip(names) {
        assert_eq!(finding.kind.name(), name);
    }
    let masked = Event::Step(Step {
        step: 7,
        total_steps: 9,
        epoch: 0.1,
        loss: 0.0,
        learning_rate: 1e-4,
        grad_norm: 0.0,
        tokens: 10,
        supervised_tokens: 0,
        seconds: 0.1,
    });
    let found = diagnose(&[masked]);
    let json = serde_json::to_value(&found[0]).unwrap();
    assert_eq!(json["kind"], "no_supervised_tokens");
    assert_eq!(json["steps"], serde_json::json!({"start": 7, "end": 7}));
    let text = found[0].to_string();
    assert!(
        text.starts_with("error: no_supervised_tokens (step 7): 1 of 1 steps"),
        "{text}"
    );
}
