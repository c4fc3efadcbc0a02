//! Files and flags, and the settings that come of them.

mod written;

use std::fs;
use std::path::PathBuf;

use clap::{CommandFactory, FromArgMatches, Parser};

use llm_data::Format;

use super::*;
use crate::cli::{Precision, Quantize};

#[derive(Parser)]
struct Program {
    #[command(flatten)]
    settings: Settings,
}

fn resolve_all(files: &[&str], flags: &[&str]) -> Result<Settings> {
    let dir = tempfile::tempdir()?;
    let mut paths = Vec::new();
    for (number, text) in files.iter().enumerate() {
        let path = dir.path().join(format!("{number}.yaml"));
        fs::write(&path, text)?;
        paths.push(path);
    }
    let flags = ["program"].iter().chain(flags);
    let matches = Program::command().try_get_matches_from(flags)?;
    Settings::resolve(&paths, &matches)
}

fn resolve(file: &str, flags: &[&str]) -> Result<Settings> {
    resolve_all(&[file], flags)
}

fn error(file: &str) -> String {
    format!("{:#}", resolve(file, &[]).unwrap_err())
}

#[test]
fn the_flags_defaults_are_the_defaults() {
    let matches = Program::command().get_matches_from(["program"]);
    assert_eq!(
        Program::from_arg_matches(&matches).unwrap().settings,
        Settings::default()
    );
}

#[test]
fn flags_win_over_files_later_files_over_earlier_ones_and_those_over_defaults() {
    let files = [
        "lora_r: 4\nlearning_rate: 0.001\nmask_history: true\n",
        "lora_r: 5\nlora_alpha: 7\n",
    ];
    let settings = resolve_all(&files, &["--lora-r", "2"]).unwrap();
    assert_eq!((settings.r, settings.alpha), (2, 7.0));
    assert_eq!(
        (settings.learning_rate, settings.mask_history),
        (0.001, true)
    );
    assert_eq!(settings.epochs, 3);
}

#[test]
fn what_is_said_later_is_not_overridden_by_what_was_said_earlier() {
    let settings = resolve(
        "max_steps: 5\nwarmup_steps: 7",
        &["--epochs", "2", "--warmup-ratio", "0.5"],
    );
    let settings = settings.unwrap();
    assert_eq!((settings.max_steps, settings.warmup_steps), (None, None));
    assert_eq!((settings.epochs, settings.warmup_ratio), (2, 0.5));

    let full = resolve("adapter: qlora\nload_in_4bit: true", &["--full"]).unwrap();
    assert_eq!(
        (full.full, full.qlora, full.compute.quantize),
        (true, false, None)
    );
    let eight = resolve("adapter: qlora", &["--quantize", "int8"]).unwrap();
    assert_eq!(
        (eight.qlora, eight.compute.quantize),
        (false, Some(Quantize::Int8))
    );
    let plain = resolve_all(
        &["adapter: qlora\nload_in_4bit: true", "adapter: lora"],
        &[],
    )
    .unwrap();
    assert_eq!((plain.qlora, plain.compute.quantize), (false, None));
    let lifted = resolve_all(&["max_steps: 5", "max_steps:"], &[]).unwrap();
    assert_eq!(lifted.max_steps, None);
}

/// In keys the equal of axolotl's examples/llama-3/lora-1b.yml and examples/llama-2/qlora.yml, but for what is
/// not supported.
const AXOLOTL: &str = "
base_model: NousResearch/Llama-3.2-1B
model_type: LlamaForCausalLM
tokenizer_type: AutoTokenizer
load_in_8bit: false
load_in_4bit: true
datasets:
  - path: alpaca.json
    type: alpaca:instruct
    ds_type: json
  - path: talks.jsonl
    type: sharegpt
dataset_prepared_path:
val_set_size: 0.1
output_dir: ./outputs/lora-out
adapter: qlora
lora_model_dir:
sequence_len: 2048
sample_packing: true
eval_sample_packing: true
lora_r: 16
lora_alpha: 32
lora_dropout: 0.05
lora_target_modules:
  - gate_proj
  - down_proj
lora_modules_to_save: [embed_tokens, lm_head]
lora_target_linear: false
wandb_project:
wandb_entity:
gradient_accumulation_steps: 2
micro_batch_size: 2
num_epochs: 1.0
optimizer: paged_adamw_32bit
lr_scheduler: cosine
learning_rate: 2e-4
bf16: auto
fp16: false
tf32: false
gradient_checkpointing: true
gradient_checkpointing_kwargs:
  use_reentrant: false
resume_from_checkpoint:
logging_steps: 1
attn_implementation: flash_attention_2
warmup_ratio: 0.1
weight_decay: 0.0
special_tokens:
  pad_token: \"<|end_of_text|>\"
";

#[test]
fn a_file_of_axolotl_s_is_read() {
    let settings = resolve(AXOLOTL, &[]).unwrap();
    let expected = Settings {
        model: Some("NousResearch/Llama-3.2-1B".into()),
        data: vec![
            Dataset {
                path: "alpaca.json".into(),
                format: Some(Format::Alpaca),
            },
            Dataset {
                path: "talks.jsonl".into(),
                format: Some(Format::ShareGpt),
            },
        ],
        validation_share: 0.1,
        output: Some("./outputs/lora-out".into()),
        qlora: true,
        template: Some("alpaca-lora".to_owned()),
        max_seq_len: 2048,
        r: 16,
        alpha: 32.0,
        target_modules: "gate_proj,down_proj".to_owned(),
        modules_to_save: vec!["embed_tokens".to_owned(), "lm_head".to_owned()],
        gradient_accumulation_steps: 2,
        micro_batch_size: 2,
        epochs: 1,
        gradient_checkpointing: true,
        warmup_ratio: 0.1,
        compute: ComputeArgs {
            quantize: Some(Quantize::Nf4),
            ..ComputeArgs::default()
        },
        ..Settings::default()
    };
    assert_eq!(settings, expected);
}

#[test]
fn what_of_axolotl_is_not_supported_is_named_with_its_line_all_at_once() {
    let text = error(
        "optimizer: adamw_8bit\nevals_per_epoch: 4\nrl: dpo\nwandb_project: mine\nsave_first_step: false\n\
         datasets: [{path: x, type: completion}, {path: z, split: train}]\n\
         special_tokens: {bos_token: <s>}\nlora_model_dir: there\nload_in_4bit: true\nload_in_8bit: true\n",
    );
    for part in [
        "line 1: `optimizer`: the optimizer is AdamW with states in 32 bits",
        "line 2: `evals_per_epoch`: not supported: set eval_steps",
        "line 3: `rl`: not supported",
        "line 4: `wandb_project`: not supported: metrics go to metrics.jsonl",
        "line 6: `datasets`: type: unknown",
        "line 6: `datasets`: split: not supported",
        "line 7: `special_tokens`: not supported",
        "line 8: `lora_model_dir`: not supported: an adapter is not trained further",
        "line 9: `load_in_4bit`: not together with load_in_8bit",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains("save_first_step"), "{text}");
}

#[test]
fn an_axolotl_file_without_an_adapter_trains_all_weights() {
    assert!(resolve("base_model: x", &[]).unwrap().full);
    assert!(
        resolve("base_model: x\nload_in_4bit: false", &[])
            .unwrap()
            .full
    );
    assert!(resolve("base_model: x\nadapter:", &[]).unwrap().full);
    assert!(resolve("adapter:\nlora_r: 4", &[]).unwrap().full);
    for (file, flags) in [
        ("base_model: x\nadapter: lora", &[][..]),
        ("learning_rate: 1e-4", &["--model", "x"]),
        ("model: x\nr: 4", &[]),
        ("base_model: x", &["--qlora"]),
    ] {
        assert!(!resolve(file, flags).unwrap().full, "{file}");
    }
    for (file, flags, key) in [
        ("base_model: x\nlora_r: 4", &[][..], "lora_r"),
        ("base_model: x\nload_in_8bit: true", &[], "load_in_4bit"),
        ("base_model: x", &["--alpha", "4"], "lora_alpha"),
    ] {
        let text = resolve(file, flags).unwrap_err().to_string();
        assert!(
            text.contains(key) && text.contains("add adapter: lora"),
            "{text}"
        );
    }
}

#[test]
fn adapters_and_quantisation_fit_together() {
    let dropout = |file| resolve(file, &[]).unwrap().dropout;
    assert_eq!((dropout("full: true"), dropout("")), (0.0, 0.05));
    for (file, flags) in [
        ("", &["--full", "--dropout", "0.1"][..]),
        ("", &["--full", "--quantize", "nf4"]),
        ("adapter: qlora\nload_in_4bit: false", &[]),
        ("adapter: qlora\nload_in_8bit: true", &[]),
        ("adapter:\nload_in_4bit: true", &[]),
        ("full: true\nqlora: true", &[]),
        ("adapter: llama-adapter", &[]),
        ("no_double_quantization: true", &[]),
    ] {
        assert!(resolve(file, flags).is_err(), "{file} {flags:?}");
    }
    let four = resolve("load_in_4bit: true", &[]).unwrap();
    assert_eq!(four, resolve("adapter: qlora", &[]).unwrap());
    assert_eq!(four, resolve("", &["--qlora"]).unwrap());
    let options = "load_in_4bit: true\nbnb_config_kwargs: {bnb_4bit_quant_type: fp4, \
                   bnb_4bit_use_double_quant: false}";
    let compute = resolve(options, &[]).unwrap().compute;
    assert_eq!(compute.quantize, Some(Quantize::Fp4));
    assert!(compute.no_double_quantization);
    assert!(
        error("bnb_config_kwargs: {bnb_4bit_quant_type: int8}").contains("unknown variant `int8`")
    );
}

#[test]
fn types_of_numbers_are_chosen_as_in_axolotl() {
    let precision = |file| resolve(file, &[]).unwrap().compute.precision;
    assert_eq!(precision("bf16: auto\nfp16: false"), Precision::Auto);
    assert_eq!(precision("bf16: full"), Precision::Bf16);
    assert_eq!(precision("bf16: false\nfp16: true"), Precision::F16);
    assert_eq!(precision("bf16: false\nfp16:"), Precision::F32);
    assert_eq!(precision("fp16: false"), Precision::Auto);
    assert!(error("bf16: true\nfp16: true").contains("line 2: `fp16`: `bf16` says otherwise"));
}

#[test]
fn files_from_before_axolotl_s_names_are_read() {
    let old = "model: m\ndata: d.json\non_bad_record: skip\ntemplate: vicuna\nmax_seq_len: 64\n\
               train_on_input: true\nvalidation_share: 0.1\nno_shuffle: true\nqlora: false\nfull: false\nr: 4\n\
               alpha: 8.0\ndropout: 0.0\ntarget_modules: q_proj,k_proj\nuse_rslora: true\nuse_dora: false\n\
               schedule: constant\nwarmup_ratio: 0.2\nwarmup_steps: null\npacking: bucket\nepochs: 2\n\
               max_steps: null\nseed: 1\n";
    let settings = resolve(old, &[]).unwrap();
    assert_eq!(settings.data, [PathBuf::from("d.json").into()]);
    assert_eq!(
        (settings.r, settings.epochs, settings.no_shuffle),
        (4, 2, true)
    );
    assert_eq!(settings.packing, Packing::Bucket);
    // What `constant` meant then; `lr_scheduler: constant` has no warm-up, as in transformers.
    assert_eq!(settings.training().warmup, Warmup::Ratio(0.2));
    let constant = resolve("lr_scheduler: constant\nwarmup_ratio: 0.2", &[]).unwrap();
    assert_eq!(constant.training().warmup, Warmup::Steps(0));
}

#[test]
fn the_bundled_model_has_defaults_of_its_own() {
    let rate = |file, flags: &[&str]| resolve(file, flags).unwrap().learning_rate;
    assert_eq!(rate("r: 4", &[]), 3e-3);
    assert_eq!(rate("model: x", &[]), 2e-4);
    assert_eq!(rate("learning_rate: 1.0", &[]), 1.0);
    assert_eq!(rate("", &["--learning-rate", "2e-4"]), 2e-4);
    assert_eq!(resolve("", &[]).unwrap().target_modules, "all-linear");
}

#[test]
fn records_are_held_out_by_share_by_number_or_in_files_of_their_own() {
    let settings = |flags: &[&str]| resolve("", flags).unwrap();
    let of = |share, records| {
        settings(&["--data", "x", "--val-set-size", share]).held_out_share(records)
    };
    assert_eq!(of("0.25", 100).unwrap(), 0.25);
    for records in [2001, 4097, 52_002, 70_368] {
        let (train, held_out) = llm_data::split(records, of("2000", records).unwrap(), 42);
        assert_eq!((train.len(), held_out.len()), (records - 2000, 2000));
    }
    let text = of("2000", 453).unwrap_err().to_string();
    assert!(
        text.contains("2000 records are to be held out, of 453"),
        "{text}"
    );

    // The bundled records come with held-out ones.
    let bundled = settings(&["--val-set-size", "2000"]);
    assert_eq!(bundled.held_out_share(453).unwrap(), 0.0);
    assert_eq!(bundled.test_datasets(), [bundled::heldout_records().into()]);
    assert!(
        settings(&["--val-set-size", "0"])
            .test_datasets()
            .is_empty()
    );

    let apart = settings(&["--data", "x", "y:sharegpt", "--test-data", "z"]);
    assert_eq!(apart.data[1].format, Some(Format::ShareGpt));
    assert_eq!(
        (apart.validation_share, apart.held_out_share(9).unwrap()),
        (0.0, 0.0)
    );
    assert!(resolve("test_datasets: z\nval_set_size: 0.1", &[]).is_err());
    for wrong in ["1", "1.5", "-0.1", "2000.5"] {
        let text = resolve("", &[&format!("--val-set-size={wrong}")])
            .unwrap()
            .validate();
        assert!(
            text.unwrap_err().to_string().contains("val_set_size"),
            "{wrong}"
        );
    }
}

#[test]
fn a_bad_file_is_explained() {
    assert!(error("lerning_rate: 1").contains("did you mean `learning_rate`?"));
    assert!(error("sequence_length: 1").contains("did you mean `sequence_len`?"));
    assert!(error("load_in_4bits: true").contains("did you mean `load_in_4bit`?"));
    assert!(error("qqq: 1").contains("unknown key `qqq`"));
    for (file, expected) in [
        (
            "model: x\nr: eight\n",
            "line 2: `r`: expected a whole number, 0 or more, got the text \"eight\"",
        ),
        (
            "r: \"8\"",
            "line 1: `r`: expected a whole number, 0 or more, got the text \"8\"",
        ),
        (
            "learning_rate: \"1e-4\"",
            "`learning_rate`: expected a number, got the text \"1e-4\"",
        ),
        ("max_steps: \"8\"", "`max_steps`: expected a whole number"),
        ("num_epochs: 0.5", "`num_epochs`: expected a whole number"),
        ("lora_r: -1", "`lora_r`: expected a whole number, 0 or more"),
        (
            "mask_history: 1",
            "`mask_history`: expected true or false, got integer `1`",
        ),
        (
            "sample_packing: maybe",
            "`sample_packing`: expected true or false",
        ),
        ("chat_template: 5", "`chat_template`: expected a string"),
        (
            "lr_scheduler: exponential",
            "`lr_scheduler`: unknown variant `exponential`, expected one of",
        ),
        ("lora_r: 8\nr: 8", "line 2: `r`: `lora_r` says the same"),
        (
            "sample_packing: true\npacking: none",
            "`packing`: `sample_packing` says the same",
        ),
        (
            "lora_target_linear: true\nlora_target_modules: [q_proj]",
            "`lora_target_linear` says the same",
        ),
        (
            "datasets: [{path: x, type: alpaca:chatml}]\nchat_template: alpaca",
            "implies the template chatml",
        ),
        ("seed: 1\nseed: 2", "seed"),
        ("- a\n- b", "map"),
    ] {
        let text = error(file);
        assert!(text.contains(expected), "{file}: {text}");
    }
    let bomb: String = (1..40).fold("a0: &a0 [x]\n".to_owned(), |bomb, i| {
        let last = i - 1;
        format!("{bomb}a{i}: &a{i} [*a{last}, *a{last}, *a{last}, *a{last}]\n")
    });
    assert!(resolve(&bomb, &[]).is_err());
}
