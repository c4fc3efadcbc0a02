//! The settings of `finetune_alpaca`: flags, YAML files with axolotl's names, and what comes of both.

mod choices;
mod dataset;
mod file;
mod keys;
mod record;
mod resolve;
mod translate;

#[cfg(test)]
mod tests;

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Args;
use llm_data::EncodeOptions;
use llm_lora::{LoraConfig, Modules, TrainConfig, Warmup};
use serde::{Deserialize, Serialize};

use crate::bundled;
use crate::cli::ComputeArgs;

pub use choices::{BadRecords, OnNonfinite, Packing, Schedule};
pub use dataset::Dataset;
pub use file::{FILE, recorded_template};
pub use record::Difference;

/// The help's headings.
const FILES: &str = "Input and output";
const SAMPLES: &str = "Samples";
const ADAPTER: &str = "Adapter";
const TRAINING: &str = "Training";

/// The settings of a fine-tuning run. `docs/configuration.md` has their names in files.
#[derive(Debug, Clone, PartialEq, Args, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// Model directory in Hugging Face's layout [default: the tiny model that the repository ships]
    #[arg(long, alias = "base-model", value_name = "DIR", help_heading = FILES)]
    pub model: Option<PathBuf>,
    /// Files of records, directories or globs; the format is told by the first record, or named as in
    /// FILE:sharegpt (docs/data-format.md) [default: the repository's own]
    #[arg(long, alias = "datasets", value_name = "FILE", num_args = 1.., help_heading = FILES)]
    pub data: Vec<Dataset>,
    /// Files of held-out records, instead of a share of the data
    #[arg(long, alias = "test-datasets", value_name = "FILE", num_args = 1.., help_heading = FILES)]
    pub test_data: Vec<Dataset>,
    /// Files of records that must not be trained on: what they share with the data is reported
    #[arg(long, value_name = "FILE", num_args = 1.., help_heading = FILES)]
    pub check_against: Vec<PathBuf>,
    /// Where adapter, checkpoints, metrics, settings and model card go [default: runs/TIME]
    #[arg(long, alias = "output-dir", value_name = "DIR", help_heading = FILES)]
    pub output: Option<PathBuf>,
    /// What to do about malformed records, and those that a chat template refuses
    #[arg(long, value_enum, default_value = "fail", help_heading = FILES)]
    pub on_bad_record: BadRecords,
    /// Held-out records whose answers are shown before and after
    #[arg(long, default_value_t = 6, value_name = "N", help_heading = FILES)]
    pub show: usize,
    /// Save a checkpoint every N steps, at the lowest evaluation loss so far, and at the end; 0: only when
    /// interrupted
    #[arg(long, default_value_t = 500, value_name = "N", help_heading = FILES)]
    pub save_steps: usize,
    /// Keep the last N checkpoints, and the best one; 0: all
    #[arg(long, default_value_t = 3, value_name = "N", help_heading = FILES)]
    pub save_total_limit: usize,

    /// alpaca, alpaca-zh, chatml, vicuna, llama-2 and more (docs/data-format.md), or model: the checkpoint's
    /// own chat template
    /// [default: model where there is one, else alpaca]
    #[arg(long, alias = "chat-template", value_name = "NAME", help_heading = SAMPLES)]
    pub template: Option<String>,
    /// The most tokens of a sample
    #[arg(long, alias = "sequence-len", default_value_t = 512, value_name = "N", help_heading = SAMPLES)]
    pub max_seq_len: usize,
    /// Supervise only the last answer, not those of the history
    #[arg(long, help_heading = SAMPLES)]
    pub mask_history: bool,
    /// Supervise everything, the user's words too
    #[arg(long, alias = "train-on-inputs", help_heading = SAMPLES)]
    pub train_on_input: bool,
    /// Share of the records that is kept for evaluation, or from 2 on their number; the repository's
    /// own records come with held-out ones instead, which 0 leaves out
    #[arg(long, alias = "val-set-size", value_parser = finite, default_value_t = 0.05,
        value_name = "SHARE", help_heading = SAMPLES)]
    pub validation_share: f64,
    /// Train on the records in the file's order
    #[arg(long, help_heading = SAMPLES)]
    pub no_shuffle: bool,
    /// Shuffle so many samples at a time instead of all; with --max-steps, training begins when they are encoded
    #[arg(long, value_name = "N", help_heading = SAMPLES)]
    pub shuffle_window: Option<usize>,
    /// Keep the encoded samples in this directory, and read them from there when nothing has changed
    #[arg(long, value_name = "DIR", help_heading = SAMPLES)]
    pub dataset_prepared_path: Option<PathBuf>,

    /// Train the adapter beside a base in four bits: NF4 with double quantisation (QLoRA)
    #[arg(long, help_heading = ADAPTER)]
    pub qlora: bool,
    /// Train all weights instead of an adapter
    #[arg(long, conflicts_with_all = ["qlora", "quantize", "r", "alpha", "dropout", "target_modules",
        "modules_to_save", "use_rslora", "use_dora"], help_heading = ADAPTER)]
    pub full: bool,
    /// Rank
    #[arg(long, alias = "lora-r", default_value_t = 8, value_name = "N", help_heading = ADAPTER)]
    pub r: usize,
    /// The adapter's branch is scaled by alpha / r
    #[arg(long, alias = "lora-alpha", value_parser = finite, default_value_t = 16.0, value_name = "X",
        help_heading = ADAPTER)]
    pub alpha: f64,
    /// Probability of dropping an element of the branch's input
    #[arg(long, alias = "lora-dropout", value_parser = finite, default_value_t = 0.05, value_name = "P",
        help_heading = ADAPTER)]
    pub dropout: f64,
    /// all-linear, or names such as q_proj,v_proj; for the bundled model all-linear
    #[arg(long, alias = "lora-target-modules", default_value = "q_proj,v_proj", value_name = "NAMES",
        help_heading = ADAPTER)]
    pub target_modules: String,
    /// Modules that are trained and saved whole, such as embed_tokens,lm_head
    #[arg(long, alias = "lora-modules-to-save", value_delimiter = ',', value_name = "NAMES",
        help_heading = ADAPTER)]
    pub modules_to_save: Vec<String>,
    /// Scale by alpha / √r
    #[arg(long, alias = "peft-use-rslora", help_heading = ADAPTER)]
    pub use_rslora: bool,
    /// Train magnitude and direction apart (DoRA)
    #[arg(long, alias = "peft-use-dora", help_heading = ADAPTER)]
    pub use_dora: bool,

    /// Peak learning rate; for the bundled model 3e-3
    #[arg(long, value_parser = finite, default_value_t = 2e-4, value_name = "X", help_heading = TRAINING)]
    pub learning_rate: f64,
    /// What becomes of the learning rate
    #[arg(long, alias = "lr-scheduler", value_enum, default_value = "cosine", help_heading = TRAINING)]
    pub schedule: Schedule,
    /// Share of the steps in which the learning rate grows
    #[arg(long, value_parser = finite, default_value_t = 0.03, value_name = "SHARE", help_heading = TRAINING)]
    pub warmup_ratio: f64,
    /// Steps in which the learning rate grows; overrides the share
    #[arg(long, value_name = "N", help_heading = TRAINING)]
    pub warmup_steps: Option<usize>,
    /// Samples of a micro-batch
    #[arg(long, default_value_t = 4, value_name = "N", help_heading = TRAINING)]
    pub micro_batch_size: usize,
    /// Micro-batches for one step
    #[arg(long, default_value_t = 1, value_name = "N", help_heading = TRAINING)]
    pub gradient_accumulation_steps: usize,
    /// How the samples of a step are laid out in forwards; the loss is the same
    #[arg(long, value_enum, default_value = "pack", help_heading = TRAINING)]
    pub packing: Packing,
    /// The most tokens of a packed or bucketed forward [default: 512 on the CPU, elsewhere those of a
    /// micro-batch]
    #[arg(long, value_name = "N", help_heading = TRAINING)]
    pub max_tokens_per_forward: Option<usize>,
    /// Keep only what goes into each layer for the backward, and compute the rest once more
    #[arg(long, help_heading = TRAINING)]
    pub gradient_checkpointing: bool,
    /// AdamW's weight decay
    #[arg(long, value_parser = finite, default_value_t = 0.0, value_name = "X", help_heading = TRAINING)]
    pub weight_decay: f64,
    /// AdamW's decay rate of the gradients' mean
    #[arg(long, value_parser = finite, default_value_t = 0.9, value_name = "X", help_heading = TRAINING)]
    pub adam_beta1: f64,
    /// AdamW's decay rate of the gradients' squares' mean
    #[arg(long, value_parser = finite, default_value_t = 0.999, value_name = "X", help_heading = TRAINING)]
    pub adam_beta2: f64,
    /// AdamW's epsilon
    #[arg(long, value_parser = finite, default_value_t = 1e-8, value_name = "X", help_heading = TRAINING)]
    pub adam_epsilon: f64,
    /// The gradient's norm is cut to this; 0 leaves it
    #[arg(long, value_parser = finite, default_value_t = 1.0, value_name = "X", help_heading = TRAINING)]
    pub max_grad_norm: f64,
    /// What to do about a step whose loss or gradient is NaN or infinite
    #[arg(long, value_enum, default_value = "stop", help_heading = TRAINING)]
    pub on_nonfinite: OnNonfinite,
    /// Passes over the data
    #[arg(long, alias = "num-epochs", default_value_t = 3, value_name = "N", help_heading = TRAINING)]
    pub epochs: usize,
    /// Steps; overrides epochs
    #[arg(long, value_name = "N", help_heading = TRAINING)]
    pub max_steps: Option<usize>,
    /// Evaluate every N steps, beside start, epochs' ends and last step
    #[arg(long, value_name = "N", help_heading = TRAINING)]
    pub eval_steps: Option<usize>,
    /// Seed of adapter, split, order and dropout
    #[arg(long, default_value_t = 42, value_name = "N", help_heading = TRAINING)]
    pub seed: u64,

    /// Where and in which type to compute.
    #[command(flatten)]
    #[serde(flatten)]
    pub compute: ComputeArgs,
}

/// A number that YAML and JSON can hold.
fn finite(text: &str) -> Result<f64, String> {
    let number: f64 = text.parse().map_err(|error| format!("{error}"))?;
    match number.is_finite() {
        true => Ok(number),
        false => Err("not a finite number".to_owned()),
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            model: None,
            data: Vec::new(),
            test_data: Vec::new(),
            check_against: Vec::new(),
            output: None,
            on_bad_record: BadRecords::default(),
            show: 6,
            save_steps: 500,
            save_total_limit: 3,
            template: None,
            max_seq_len: 512,
            mask_history: false,
            train_on_input: false,
            validation_share: 0.05,
            no_shuffle: false,
            shuffle_window: None,
            dataset_prepared_path: None,
            qlora: false,
            full: false,
            r: 8,
            alpha: 16.0,
            dropout: 0.05,
            target_modules: "q_proj,v_proj".to_owned(),
            modules_to_save: Vec::new(),
            use_rslora: false,
            use_dora: false,
            learning_rate: 2e-4,
            schedule: Schedule::default(),
            warmup_ratio: 0.03,
            warmup_steps: None,
            micro_batch_size: 4,
            gradient_accumulation_steps: 1,
            packing: Packing::default(),
            max_tokens_per_forward: None,
            gradient_checkpointing: false,
            weight_decay: 0.0,
            adam_beta1: 0.9,
            adam_beta2: 0.999,
            adam_epsilon: 1e-8,
            max_grad_norm: 1.0,
            on_nonfinite: OnNonfinite::default(),
            epochs: 3,
            max_steps: None,
            eval_steps: None,
            seed: 42,
            compute: ComputeArgs::default(),
        }
    }
}

impl Settings {
    /// Checks what can be checked before anything is read or written.
    pub fn validate(&self) -> Result<()> {
        let held_out = self.validation_share;
        let is_share = (0.0..1.0).contains(&held_out);
        if !is_share && (held_out < 2.0 || held_out.fract() != 0.0) {
            bail!(
                "val_set_size (--validation-share): expected a share from 0 to below 1 or a number of \
                 records from 2 on, got {held_out}"
            );
        }
        if self.packing == Packing::None && self.max_tokens_per_forward.is_some() {
            bail!(
                "max_tokens_per_forward is for packed and bucketed forwards; leave it out with packing none"
            );
        }
        self.training().validate()?;
        Ok(self.lora().validate()?)
    }

    /// The model's directory.
    pub fn model_dir(&self) -> PathBuf {
        self.model.clone().unwrap_or_else(bundled::model)
    }

    /// The files of records.
    pub fn datasets(&self) -> Vec<Dataset> {
        match self.data.is_empty() {
            true => vec![bundled::records().into()],
            false => self.data.clone(),
        }
    }

    /// The files of held-out records; none where a share of the data is held out instead.
    pub fn test_datasets(&self) -> Vec<Dataset> {
        match self.data.is_empty() && self.test_data.is_empty() && self.validation_share > 0.0 {
            // The repository's own records have held-out ones beside them.
            true => vec![bundled::heldout_records().into()],
            false => self.test_data.clone(),
        }
    }

    /// The share of `records` records that is held out.
    ///
    /// # Errors
    /// When that leaves nothing to train on.
    pub fn held_out_share(&self, records: usize) -> Result<f64> {
        if !self.test_datasets().is_empty() {
            return Ok(0.0);
        }
        if self.validation_share < 1.0 {
            return Ok(self.validation_share);
        }
        let share = self.validation_share / records as f64;
        if share >= 1.0 {
            bail!(
                "val_set_size: {} records are to be held out, of {records} in the data",
                self.validation_share
            );
        }
        Ok(share)
    }

    /// The adapter's configuration.
    pub fn lora(&self) -> LoraConfig {
        let names = self
            .target_modules
            .split(',')
            .map(|name| name.trim().to_owned());
        LoraConfig {
            r: self.r,
            lora_alpha: self.alpha,
            lora_dropout: self.dropout,
            target_modules: Some(match self.target_modules.as_str() {
                "all-linear" => Modules::AllLinear,
                _ => Modules::List(names.collect()),
            }),
            modules_to_save: (!self.modules_to_save.is_empty())
                .then(|| self.modules_to_save.clone()),
            use_rslora: self.use_rslora,
            use_dora: self.use_dora,
            base_model_name_or_path: Some(self.model_dir().display().to_string()),
            ..LoraConfig::default()
        }
    }

    /// The training's configuration.
    pub fn training(&self) -> TrainConfig {
        TrainConfig {
            learning_rate: self.learning_rate,
            schedule: match self.schedule {
                Schedule::Constant | Schedule::ConstantWithWarmup => llm_lora::Schedule::Constant,
                Schedule::Linear => llm_lora::Schedule::Linear,
                Schedule::Cosine => llm_lora::Schedule::Cosine,
            },
            warmup: match self.warmup_steps {
                _ if self.schedule == Schedule::Constant => Warmup::Steps(0),
                Some(steps) => Warmup::Steps(steps),
                None => Warmup::Ratio(self.warmup_ratio),
            },
            weight_decay: self.weight_decay,
            betas: [self.adam_beta1, self.adam_beta2],
            epsilon: self.adam_epsilon,
            max_grad_norm: (self.max_grad_norm != 0.0).then_some(self.max_grad_norm),
            micro_batch_size: self.micro_batch_size,
            gradient_accumulation_steps: self.gradient_accumulation_steps,
            packing: match self.packing {
                Packing::None => llm_lora::Packing::None,
                Packing::Bucket => llm_lora::Packing::Bucket,
                Packing::Pack => llm_lora::Packing::Pack,
            },
            max_tokens_per_forward: self.max_tokens_per_forward,
            gradient_checkpointing: self.gradient_checkpointing,
            num_epochs: self.epochs,
            max_steps: self.max_steps,
            eval_steps: self.eval_steps,
            on_nonfinite: match self.on_nonfinite {
                OnNonfinite::Stop => llm_lora::OnNonfinite::Stop,
                OnNonfinite::Skip => llm_lora::OnNonfinite::Skip,
            },
            shuffle: !self.no_shuffle,
            shuffle_window: self.shuffle_window,
            seed: self.seed,
        }
    }

    /// How records become samples.
    pub fn encoding(&self) -> EncodeOptions {
        EncodeOptions {
            max_seq_len: self.max_seq_len,
            mask_history: self.mask_history,
            train_on_input: self.train_on_input,
            skip_refused: self.on_bad_record == BadRecords::Skip,
        }
    }
}
