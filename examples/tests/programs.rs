//! The programs as their users run them, on a random tiny model.

#![allow(clippy::unwrap_used, reason = "tests")]

mod benchmarking;
#[path = "../../llm-data/tests/main/http.rs"]
mod http;
mod judging;
mod preparing;
mod support;

use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use examples::bundled;
use llm_core::checkpoint::SafetensorsFile;
use serde_json::Value;
use support::{fail, metrics, model, program, succeed};

fn finetune(out: &Path) -> Command {
    let mut program = program("finetune_alpaca");
    program
        .arg("--model")
        .arg(model())
        .arg("--data")
        .arg(bundled::records());
    program.arg("--output").arg(out).args(["--max-steps", "5"]);
    program
}

fn logits(model: &Path, adapter: Option<&Path>) -> Vec<f32> {
    let file = tempfile::NamedTempFile::new().unwrap();
    let mut program = program("logits");
    program
        .arg("--model")
        .arg(model)
        .args(["--input-ids", "1,2,3"])
        .arg("--out")
        .arg(file.path());
    if let Some(adapter) = adapter {
        program.arg("--adapter").arg(adapter);
    }
    succeed(&mut program);
    let file = SafetensorsFile::open(file.path()).unwrap();
    let entry = file.get("logits").unwrap();
    assert_eq!(entry.shape, [3, 2048]);
    entry
        .bytes
        .as_chunks::<4>()
        .0
        .iter()
        .map(|bytes| f32::from_le_bytes(*bytes))
        .collect()
}

#[test]
fn a_run_leaves_adapter_metrics_settings_and_card() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("new/run");
    let text = succeed(finetune(&out).args([
        "--eval-steps",
        "2",
        "--validation-share",
        "0.1",
        "--show",
        "1",
    ]));
    assert!(
        text.contains("evaluation loss") && text.contains("reference:"),
        "{text}"
    );
    let rows = metrics(&out);
    let evaluated: Vec<u64> = rows
        .iter()
        .filter(|row| row.get("eval_loss").is_some())
        .map(|row| row["step"].as_u64().unwrap())
        .collect();
    assert_eq!(evaluated, [0, 2, 4, 5]);
    let steps: Vec<&Value> = rows
        .iter()
        .filter(|row| row.get("loss").is_some())
        .collect();
    assert_eq!(steps.len(), 5);
    for field in [
        "step",
        "epoch",
        "loss",
        "learning_rate",
        "grad_norm",
        "tokens",
        "supervised_tokens",
        "seconds",
    ] {
        assert!(steps.iter().all(|row| row[field].is_number()), "{field}");
    }
    assert!(
        fs::read_to_string(out.join("README.md"))
            .unwrap()
            .contains("library_name: peft")
    );

    // The same directory again: metrics start anew, and the recorded settings make the same run.
    let mut again = program("finetune_alpaca");
    again
        .arg("--config")
        .arg(out.join("finetune.yaml"))
        .arg("--output")
        .arg(&out);
    succeed(&mut again);
    let losses = |rows: &[Value]| {
        rows.iter()
            .map(|row| row["loss"].clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(losses(&metrics(&out)), losses(&rows));
}

#[test]
fn an_adapter_is_used_with_its_template_and_merges_into_an_ordinary_model() {
    let dir = tempfile::tempdir().unwrap();
    let (adapter, merged) = (dir.path().join("adapter"), dir.path().join("merged"));
    let flags = [
        "--template",
        "vicuna",
        "--learning-rate",
        "0.1",
        "--validation-share",
        "0",
    ];
    succeed(finetune(&adapter).args(flags));
    let mut merge = program("merge");
    merge
        .arg("--model")
        .arg(model())
        .arg("--adapter")
        .arg(&adapter)
        .arg("--out");
    succeed(merge.arg(&merged));
    let (base, with, ours) = (
        logits(model(), None),
        logits(model(), Some(&adapter)),
        logits(&merged, None),
    );
    let distance = |a: &[f32], b: &[f32]| {
        a.iter()
            .zip(b)
            .map(|(a, b)| (a - b).abs())
            .fold(0.0, f32::max)
    };
    assert!(distance(&with, &ours) < 1e-4 && distance(&base, &ours) > 1e-2);

    let answer = |template: Option<&str>, model: &Path, adapter: Option<&Path>| {
        let mut generate = program("generate");
        generate
            .arg("--model")
            .arg(model)
            .args(["--chat", "Hello", "--max-new-tokens", "12"]);
        if let Some(adapter) = adapter {
            generate.arg("--adapter").arg(adapter);
        }
        succeed(generate.args(template.iter().flat_map(|name| ["--template", name])))
    };
    let recorded = answer(None, model(), Some(&adapter));
    assert_eq!(recorded, answer(Some("vicuna"), model(), Some(&adapter)));
    let mut other = program("generate");
    other
        .arg("--model")
        .arg(model())
        .arg("--adapter")
        .arg(&adapter);
    other.args([
        "--chat",
        "Hello",
        "--max-new-tokens",
        "12",
        "--template",
        "chatml",
    ]);
    assert!(fail(&mut other).contains("other template"));
    assert_ne!(recorded, succeed(other.arg("--force")));
    assert_eq!(recorded, answer(None, &merged, None));

    let mut itself = program("merge");
    itself
        .arg("--model")
        .arg(model())
        .arg("--adapter")
        .arg(&adapter)
        .arg("--out")
        .arg(model());
    assert!(fail(&mut itself).contains("overwritten"));
}

#[test]
fn a_base_in_four_bits_trains_merges_and_is_saved_in_its_codes() {
    let dir = tempfile::tempdir().unwrap();
    let [adapter, merged, coded] = ["adapter", "merged", "coded"].map(|name| dir.path().join(name));
    let flags = ["--qlora", "--gradient-checkpointing", "--precision", "bf16"];
    succeed(finetune(&adapter).args(flags));
    assert!(!metrics(&adapter).is_empty());

    let said = succeed(
        program("merge")
            .arg("--model")
            .arg(model())
            .arg("--adapter")
            .arg(&adapter)
            .arg("--out")
            .arg(&merged)
            .args(["--quantize", "nf4"]),
    );
    assert!(said.contains("differs from"), "{said}");

    let mut quantize = program("quantize");
    quantize
        .arg("--model")
        .arg(model())
        .arg("--out")
        .arg(&coded);
    let said = succeed(quantize.args(["--quantize", "nf4"]));
    assert!(said.contains("bits each"), "{said}");
    assert_eq!(logits(&coded, None).len(), logits(&merged, None).len());
    let config = fs::read_to_string(coded.join("config.json")).unwrap();
    assert!(config.contains("bitsandbytes"), "{config}");
}

#[test]
fn all_weights_train_and_save_as_a_model() {
    let dir = tempfile::tempdir().unwrap();
    succeed(finetune(dir.path()).args(["--full", "--validation-share", "0"]));
    assert!(
        dir.path().join("model.safetensors").exists() && dir.path().join("tokenizer.json").exists()
    );
    assert_ne!(logits(dir.path(), None), logits(model(), None));
    // A later run of the other kind would mix two results.
    assert!(fail(&mut finetune(dir.path())).contains("another output"));
}

#[test]
fn what_cannot_work_is_refused_before_the_work() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "x").unwrap();
    let out = dir.path().join("out");
    for (flags, expected) in [
        (&["--micro-batch-size", "0"][..], "micro_batch_size"),
        (
            &["--gradient-accumulation-steps", "0"],
            "gradient_accumulation_steps",
        ),
        (&["--learning-rate", "nan"], "learning-rate"),
        (&["--max-grad-norm=-1"], "max_grad_norm"),
        (&["--validation-share", "1"], "val_set_size"),
        (&["--r", "0"], "`r`"),
        (&["--target-modules", "q_proj,x_proj"], "x_proj"),
        (&["--template", "nonsense"], "nonsense"),
        (&["--full", "--r", "4"], "--full"),
        (&["--full", "--dropout", "0.1"], "dropout"),
        (&["--max-seq-len", "3"], "template_does_not_fit"),
        (&["--no-such-flag"], "--no-such-flag"),
    ] {
        let error = fail(finetune(&out).args(flags));
        assert!(error.contains(expected), "{flags:?}: {error}");
    }
    assert!(!out.join("adapter_model.safetensors").exists());
    assert!(fail(&mut finetune(&file)).contains(&file.display().to_string()));
    let mut missing = program("finetune_alpaca");
    // Where it would make its output.
    missing.current_dir(dir.path());
    assert!(fail(missing.args(["--model", "/no/such/model"])).contains("/no/such/model"));
    let mut device = Command::new(program("logits").get_program());
    device
        .args([
            "--device",
            "abacus",
            "--input-ids",
            "1",
            "--out",
            "x",
            "--model",
        ])
        .arg(model());
    assert!(fail(&mut device).contains("abacus"));
}

#[test]
fn a_conversation_reads_lines_and_remembers() {
    let mut generate = program("generate");
    generate
        .arg("--model")
        .arg(model())
        .args(["--chat", "--max-new-tokens", "4"]);
    let mut child = generate
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all("Hello\nHello\n\nHello\n".as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let one = succeed(program("generate").arg("--model").arg(model()).args([
        "--chat",
        "Hello",
        "--max-new-tokens",
        "4",
    ]));
    // The first answer, another behind it, and after the empty line the first again.
    assert!(
        text.starts_with(&one) && text.ends_with(&one) && text.len() > 2 * one.len(),
        "{text:?} {one:?}"
    );
}

#[test]
fn inspection_prints_what_a_pipeline_can_use() {
    let mut inspect = Command::new(program("inspect_data").get_program());
    inspect
        .arg("--data")
        .arg(bundled::records())
        .arg("--model")
        .arg(model());
    let json: Value =
        serde_json::from_str(&succeed(inspect.args(["--json", "--limit", "3"]))).unwrap();
    let samples = json["samples"].as_array().unwrap();
    assert_eq!(samples.len(), 3);
    for (number, sample) in (1..).zip(samples) {
        let length = |field: &str| sample[field].as_array().unwrap().len();
        assert_eq!(sample["record"], number);
        assert!(length("input_ids") == length("labels") && length("labels") == length("tokens"));
    }
    assert!(json["statistics"]["records"].as_u64().unwrap() > 400);
}

#[test]
fn a_reader_that_has_enough_is_no_error() {
    let mut inspect = Command::new(program("inspect_data").get_program());
    inspect
        .arg("--data")
        .arg(bundled::records())
        .arg("--model")
        .arg(model());
    let mut child = inspect
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = [0; 8];
    child.stdout.take().unwrap().read_exact(&mut first).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(output.stderr.is_empty());
}

/// Kept here so that a wrong path shows in a test, not at a user's.
#[test]
fn the_bundled_files_are_where_the_programs_look() {
    for path in [
        bundled::model().join("model.safetensors"),
        bundled::records(),
        bundled::heldout_records(),
    ] {
        assert!(PathBuf::from(&path).exists(), "{}", path.display());
    }
    let size: u64 = fs::read_dir(bundled::model())
        .unwrap()
        .map(|file| file.unwrap().metadata().unwrap().len())
        .sum();
    assert!(size < 3_000_000, "{size} bytes");
}

/// The losses of a run's steps.
fn losses(run: &Path) -> Vec<f64> {
    let loss = |row: &Value| row["loss"].as_f64();
    metrics(run).iter().filter_map(loss).collect()
}

#[test]
fn any_format_trains_alike_and_its_samples_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let mut convert = Command::new(program("prepare_data").get_program());
    convert.arg("convert").arg(bundled::records());
    convert
        .args(["--to", "openai", "--out"])
        .arg(path("chats.jsonl.gz"));
    succeed(&mut convert);
    let train = |out: &str, data: &Path, more: &[&str]| {
        let mut program = program("finetune_alpaca");
        program.arg("--model").arg(model()).arg("--data").arg(data);
        program
            .args(["--max-steps", "4", "--show", "0", "--output"])
            .arg(path(out));
        succeed(program.args(more));
        losses(&path(out))
    };
    let expected = train("alpaca", &bundled::records(), &[]);
    assert_eq!(expected.len(), 4);
    assert_eq!(train("openai", &path("chats.jsonl.gz"), &[]), expected);

    let kept = path("kept");
    let keep = ["--dataset-prepared-path", kept.to_str().unwrap()];
    assert_eq!(train("first", &bundled::records(), &keep), expected);
    let sets = || fs::read_dir(&kept).unwrap().count();
    assert_eq!(sets(), 1);
    assert_eq!(train("second", &bundled::records(), &keep), expected);
    assert_eq!(sets(), 1);
    // Another template, other samples.
    train(
        "third",
        &bundled::records(),
        &[&keep[..], &["--template", "chatml"]].concat(),
    );
    assert_eq!(sets(), 2);

    let window = ["--shuffle-window", "16"];
    let windowed = train("windowed", &bundled::records(), &window);
    assert_ne!(windowed, expected);
    assert_eq!(
        train(
            "windowed-kept",
            &bundled::records(),
            &[&keep[..], &window].concat()
        ),
        windowed
    );
}
