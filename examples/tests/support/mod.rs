//! Programs, started as their users start them, and what they work on.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use examples::bundled;
use llm_core::{LlamaConfig, LlamaForCausalLM, open_device, save_model};
use serde_json::Value;
use tempfile::TempDir;

/// A program that computes on the CPU. `cargo test` builds the examples beside the tests.
pub(crate) fn program(name: &str) -> Command {
    let tests = std::env::current_exe().unwrap();
    let built = tests.parent().and_then(Path::parent).unwrap();
    let mut program = Command::new(built.join("examples").join(name));
    program.args(["--device", "cpu"]);
    program
}

pub(crate) fn output(program: &mut Command) -> Output {
    program.stdin(Stdio::null()).output().unwrap()
}

/// Returns what a program prints that succeeds.
pub(crate) fn succeed(program: &mut Command) -> String {
    let output = output(program);
    assert!(
        output.status.success(),
        "{program:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// What a program says when it fails, as a program should: without a backtrace.
pub(crate) fn fail(program: &mut Command) -> String {
    let output = output(program);
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(
        matches!(output.status.code(), Some(1 | 2)),
        "{program:?}: {error}"
    );
    assert!(
        !error.contains("panicked") && !error.contains("backtrace"),
        "{error}"
    );
    error
}

/// A random model with the bundled tokenizer.
pub(crate) fn model() -> &'static Path {
    static DIR: OnceLock<TempDir> = OnceLock::new();
    let dir = DIR.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        write_model(dir.path(), 1, 512);
        dir
    });
    dir.path()
}

/// Writes a random model that reads `length` tokens, with the bundled tokenizer.
pub(crate) fn write_model(dir: &Path, seed: u64, length: usize) {
    let config = serde_json::json!({"model_type": "llama", "vocab_size": 2048, "hidden_size": 32,
        "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2,
        "max_position_embeddings": length, "tie_word_embeddings": true, "initializer_range": 0.3});
    let config = LlamaConfig::from_json(&config.to_string()).unwrap();
    let model = LlamaForCausalLM::random(&config, seed, &open_device("cpu").unwrap());
    save_model(&model, dir, None, &Default::default()).unwrap();
    for file in ["tokenizer.json", "tokenizer_config.json"] {
        fs::copy(bundled::model().join(file), dir.join(file)).unwrap();
    }
}

/// The rows of a run's `metrics.jsonl`.
pub(crate) fn metrics(run: &Path) -> Vec<Value> {
    let text = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let row = |line| serde_json::from_str(line).unwrap();
    text.lines().map(row).collect()
}
