//! What is written down: records, presets, the documentation.

use std::path::Path;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use super::*;
use crate::settings::keys::{KEYS, MORE, UNSUPPORTED, WITHOUT_EFFECT};
use crate::settings::resolve::fields_of;

/// The repository's folder of a name.
fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name)
}

/// A random choice of flags with random values.
fn random_flags(rng: &mut ChaCha8Rng) -> Vec<String> {
    let mut flags = Vec::new();
    let mut any = |rng: &mut ChaCha8Rng, choices: &[&[&str]]| {
        if rng.next_u32().is_multiple_of(2) {
            let choice = choices[rng.next_u32() as usize % choices.len()];
            flags.extend(choice.iter().map(|&text| text.to_owned()));
        }
    };
    let number = (rng.next_u64() >> 11) as f64 / (1_u64 << 53) as f64;
    let number = format!(
        "{:e}",
        number * 10_f64.powi(-((rng.next_u32() % 12) as i32))
    );
    any(
        rng,
        &[
            &["--model", "a: b"],
            &["--model", "#x"],
            &["--model", "7"],
            &["--model", "null"],
        ],
    );
    any(rng, &[&["--data", "x", "y:sharegpt"], &["--data", "yes"]]);
    any(
        rng,
        &[
            &["--test-data", "z"],
            &["--val-set-size", "0"],
            &["--val-set-size", &number],
            &["--val-set-size", "9"],
        ],
    );
    any(rng, &[&["--check-against", "p", "q"]]);
    any(rng, &[&["--output", "*o"], &["--output", "~"]]);
    any(rng, &[&["--on-bad-record", "skip"]]);
    any(
        rng,
        &[
            &["--save-steps", "0"],
            &["--save-total-limit", "0"],
            &["--show", "0"],
        ],
    );
    any(rng, &[&["--template", "vicuna"], &["--template", "true"]]);
    any(
        rng,
        &[
            &["--mask-history"],
            &["--train-on-input"],
            &["--no-shuffle"],
        ],
    );
    any(
        rng,
        &[
            &["--full"],
            &["--qlora", "--no-double-quantization"],
            &["--quantize", "fp4", "--use-dora"],
            &["--quantize", "int8", "--r", "3"],
            &["--alpha", &number, "--target-modules", "q_proj, k_proj"],
            &[
                "--alpha",
                "32",
                "--target-modules",
                "all-linear",
                "--modules-to-save",
                "a,b",
            ],
            &["--use-rslora", "--dropout", &number],
        ],
    );
    any(
        rng,
        &[
            &["--learning-rate", &number],
            &["--adam-epsilon", &number],
            &["--adam-beta2", &number],
        ],
    );
    any(
        rng,
        &[
            &["--schedule", "constant"],
            &["--schedule", "constant_with_warmup"],
            &["--schedule", "linear"],
        ],
    );
    any(
        rng,
        &[
            &["--warmup-ratio", &number],
            &["--warmup-steps", "9"],
            &["--warmup-ratio", "0.5", "--warmup-steps", "9"],
        ],
    );
    any(
        rng,
        &[
            &["--packing", "none"],
            &["--packing", "bucket"],
            &["--max-tokens-per-forward", "77"],
        ],
    );
    any(
        rng,
        &[
            &["--epochs", "2"],
            &["--max-steps", "5"],
            &["--eval-steps", "5"],
        ],
    );
    any(
        rng,
        &[
            &["--precision", "f32"],
            &["--precision", "bf16"],
            &["--precision", "f16"],
            &["--device", "cpu"],
        ],
    );
    any(
        rng,
        &[
            &["--on-nonfinite", "skip"],
            &["--gradient-checkpointing"],
            &["--seed", "18446744073709551615"],
        ],
    );
    flags
}

#[test]
fn what_is_written_reads_back() {
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    for _ in 0..200 {
        let flags = random_flags(&mut rng);
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        let settings = resolve("", &flags).unwrap();
        let text = settings.to_yaml().unwrap();
        assert_eq!(resolve(&text, &[]).unwrap(), settings, "{flags:?}\n{text}");
        assert_eq!(
            resolve_all(&[&text, &text], &[]).unwrap(),
            settings,
            "{flags:?}\n{text}"
        );
    }
}

#[test]
fn what_is_written_has_axolotl_s_names() {
    let flags = [
        "--model",
        "m",
        "--data",
        "x:sharegpt",
        "--qlora",
        "--no-shuffle",
        "--precision",
        "bf16",
    ];
    let text = resolve("", &flags).unwrap().to_yaml().unwrap();
    for line in [
        "base_model: m\n",
        "datasets:\n",
        "type: sharegpt\n",
        "adapter: qlora\n",
        "load_in_4bit: true\n",
        "lora_r: 8\n",
        "lora_alpha: 16\n",
        "lora_target_modules:\n",
        "sequence_len: 512\n",
        "sample_packing: true\n",
        "shuffle_merged_datasets: false\n",
        "lr_scheduler: cosine\n",
        "num_epochs: 3\n",
        "bf16: true\n",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
    let full = resolve("", &["--full"]).unwrap().to_yaml().unwrap();
    assert!(
        full.contains("adapter: null") && !full.contains("lora_"),
        "{full}"
    );
}

#[test]
fn a_record_is_the_run_again_from_any_directory() {
    let settings = resolve("", &["--data", "Cargo.toml", "--output", "x"]).unwrap();
    let recorded = settings.recorded("alpaca");
    assert!(recorded.data[0].path.is_absolute());
    assert_eq!(
        (recorded.output, recorded.template.as_deref()),
        (None, Some("alpaca"))
    );
    let dir = tempfile::tempdir().unwrap();
    fs::write(
        dir.path().join(FILE),
        settings.recorded("vicuna").to_yaml().unwrap(),
    )
    .unwrap();
    assert_eq!(
        recorded_template(dir.path()).unwrap().as_deref(),
        Some("vicuna")
    );
    fs::write(dir.path().join(FILE), "template: chatml\nr: 8\n").unwrap();
    assert_eq!(
        recorded_template(dir.path()).unwrap().as_deref(),
        Some("chatml")
    );
}

#[test]
fn differences_are_what_would_make_another_run() {
    let run = |flags: &[&str]| resolve("", flags).unwrap();
    let before = run(&["--model", "a", "--data", "x"]);
    let same = [
        "--model",
        "b",
        "--data",
        "y",
        "--output",
        "o",
        "--device",
        "cpu",
        "--save-steps",
        "1",
        "--eval-steps",
        "1",
        "--save-total-limit",
        "9",
        "--show",
        "0",
        "--check-against",
        "z",
    ];
    assert_eq!(before.differences(&run(&same)).unwrap(), []);
    assert_eq!(
        before.identity_text().unwrap(),
        run(&same).identity_text().unwrap()
    );

    let other = run(&[
        "--model",
        "a",
        "--data",
        "x:sharegpt",
        "--lora-r",
        "4",
        "--qlora",
        "--max-steps",
        "5",
        "--precision",
        "f32",
    ]);
    let difference = |key: &str, before: &str, now: &str| Difference {
        key: key.to_owned(),
        before: before.to_owned(),
        now: now.to_owned(),
    };
    assert_eq!(
        before.differences(&other).unwrap(),
        [
            difference("datasets", "[\"auto\"]", "[\"sharegpt\"]"),
            difference("adapter", "lora", "qlora"),
            difference("lora_r", "8", "4"),
            difference("bf16", "auto", "false"),
            difference("load_in_4bit", "unset", "true"),
            difference("max_steps", "unset", "5"),
        ]
    );
    let (text, other) = (
        before.identity_text().unwrap(),
        other.identity_text().unwrap(),
    );
    assert_ne!(text, other);
    assert!(
        text.contains("lora_r: 8\n") && text.lines().is_sorted(),
        "{text}"
    );
}

#[test]
fn every_preset_is_read_and_documented() {
    let docs = fs::read_to_string(folder("docs/configuration.md")).unwrap();
    let mut seen = 0;
    for entry in fs::read_dir(folder("examples/presets")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        let text = fs::read_to_string(&path).unwrap();
        // On the bundled model, and on a user's.
        for flags in [&[][..], &["--model", "m", "--data", "d.json"]] {
            let settings =
                resolve(&text, flags).unwrap_or_else(|error| panic!("{name}: {error:#}"));
            settings.validate().unwrap();
            settings.held_out_share(52_002).unwrap();
        }
        assert!(docs.contains(&format!("| `{name}`")), "{name}");
        seen += 1;
    }
    assert_eq!(seen, 8);
}

/// A preset's batch is what its source says.
#[test]
fn presets_have_their_recipes_numbers() {
    for (name, batch, rate, tokens) in [
        ("alpaca", 128, 2e-5, 512),
        ("alpaca-lora", 128, 3e-4, 256),
        ("vicuna", 128, 2e-5, 2048),
        ("qlora", 16, 2e-4, 528),
        ("belle", 64, 8e-6, 1024),
        ("chinese-alpaca", 8, 1e-4, 512),
        ("baize", 64, 2e-4, 512),
        ("chinese-vicuna", 128, 3e-4, 2048),
    ] {
        let path = folder("examples/presets").join(format!("{name}.yaml"));
        let settings = resolve(&fs::read_to_string(path).unwrap(), &[]).unwrap();
        let samples = settings.micro_batch_size * settings.gradient_accumulation_steps;
        assert_eq!(
            (samples, settings.learning_rate, settings.max_seq_len),
            (batch, rate, tokens),
            "{name}"
        );
    }
}

#[test]
fn every_key_and_flag_is_documented() {
    let docs = fs::read_to_string(folder("docs/configuration.md")).unwrap();
    let fields = fields_of(&Settings::default()).unwrap();
    for field in fields.keys() {
        let known = KEYS.iter().any(|(_, other)| other == field) || field == "qlora";
        assert!(known, "no key for {field}");
        let flag = format!("`--{}", field.replace('_', "-"));
        assert!(docs.contains(&flag), "{flag}");
    }
    let names = KEYS.iter().map(|(name, _)| *name);
    let more = MORE.iter().chain(&WITHOUT_EFFECT).copied();
    let unsupported = UNSUPPORTED.iter().map(|(name, _)| *name);
    for name in names.chain(more).chain(unsupported) {
        assert!(docs.contains(&format!("`{name}`")), "{name}");
    }
}
