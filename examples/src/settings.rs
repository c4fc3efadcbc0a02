//! The settings of `finetune_alpaca`: flags, a YAML file with the same names, and what comes of both.

mod choices;
mod file;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use clap::parser::ValueSource;
use clap::{ArgMatches, Args};
use llm_data::{EncodeOptions, LoadOptions, OnBadRecord};
use llm_lora::{LoraConfig, Modules, TrainConfig, Warmup};
use serde::{Deserialize, Serialize};
use serde_json::Map;

use crate::bundled;

pub use choices::{BadRecords, Packing, Schedule};
use file::read_file;
pub use file::{FILE, recorded_template};

/// With which the bundled model learns its records in a minute.
const BUNDLED_LEARNING_RATE: f64 = 3e-3;

/// The settings of a fine-tuning run.
#[derive(Debug, Clone, PartialEq, Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Model directory in Hugging Face's layout [default: the tiny model that the repository ships]
    #[arg(long, value_name = "DIR", help_heading = "Input and output")]
    pub model: Option<PathBuf>,
    /// Alpaca records, JSON or JSONL [default: the repository's own]
    #[arg(long, value_name = "FILE", help_heading = "Input and output")]
    pub data: Option<PathBuf>,
    /// Where adapter, metrics, settings and model card go [default: runs/TIME]
    #[arg(long, value_name = "DIR", help_heading = "Input and output")]
    pub output: Option<PathBuf>,
    /// What to do about malformed records, and those that a chat template refuses
    #[arg(
        long,
        value_enum,
        default_value = "fail",
        help_heading = "Input and output"
    )]
    pub on_bad_record: BadRecords,

    /// alpaca, alpaca-lora, alpaca-zh, chatml, vicuna or model (the checkpoint's own chat template)
    /// [default: model where there is one, else alpaca]
    #[arg(long, value_name = "NAME", help_heading = "Samples")]
    pub template: Option<String>,
    /// The most tokens of a sample
    #[arg(
        long,
        default_value_t = 512,
        value_name = "N",
        help_heading = "Samples"
    )]
    pub max_seq_len: usize,
    /// Supervise only the last answer, not those of the history
    #[arg(long, help_heading = "Samples")]
    pub mask_history: bool,
    /// Supervise everything, the user's words too
    #[arg(long, help_heading = "Samples")]
    pub train_on_input: bool,
    /// Share of the records that is kept for evaluation; the repository's own records come with
    /// held-out ones instead, which 0 leaves out
    #[arg(value_parser = finite,
        long,
        default_value_t = 0.05,
        value_name = "SHARE",
        help_heading = "Samples"
    )]
    pub validation_share: f64,
    /// Train on the records in the file's order
    #[arg(long, help_heading = "Samples")]
    pub no_shuffle: bool,

    /// Train the adapter beside a base in four bits: NF4 with double quantisation (QLoRA)
    #[arg(long, help_heading = "Adapter")]
    pub qlora: bool,
    /// Train all weights instead of an adapter
    #[arg(
        long,
        conflicts_with_all = ["qlora", "r", "alpha", "target_modules", "use_rslora", "use_dora"],
        help_heading = "Adapter"
    )]
    pub full: bool,
    /// Rank
    #[arg(long, default_value_t = 8, value_name = "N", help_heading = "Adapter")]
    pub r: usize,
    /// The adapter's branch is scaled by alpha / r
    #[arg(value_parser = finite,
        long,
        default_value_t = 16.0,
        value_name = "X",
        help_heading = "Adapter"
    )]
    pub alpha: f64,
    /// Probability of dropping an element of the branch's input
    #[arg(value_parser = finite,
        long,
        default_value_t = 0.05,
        value_name = "P",
        help_heading = "Adapter"
    )]
    pub dropout: f64,
    /// all-linear, or names such as q_proj,v_proj; for the bundled model all-linear
    #[arg(
        long,
        default_value = "q_proj,v_proj",
        value_name = "NAMES",
        help_heading = "Adapter"
    )]
    pub target_modules: String,
    /// Scale by alpha / √r
    #[arg(long, help_heading = "Adapter")]
    pub use_rslora: bool,
    /// Train magnitude and direction apart (DoRA)
    #[arg(long, help_heading = "Adapter")]
    pub use_dora: bool,

    /// Peak learning rate; for the bundled model 3e-3
    #[arg(value_parser = finite,
        long,
        default_value_t = 2e-4,
        value_name = "X",
        help_heading = "Training"
    )]
    pub learning_rate: f64,
    /// What becomes of the learning rate after the warm-up
    #[arg(long, value_enum, default_value = "cosine", help_heading = "Training")]
    pub schedule: Schedule,
    /// Share of the steps in which the learning rate grows
    #[arg(value_parser = finite,
        long,
        default_value_t = 0.03,
        value_name = "SHARE",
        help_heading = "Training"
    )]
    pub warmup_ratio: f64,
    /// Steps in which the learning rate grows; overrides the share
    #[arg(long, value_name = "N", help_heading = "Training")]
    pub warmup_steps: Option<usize>,
    /// Samples of a micro-batch
    #[arg(long, default_value_t = 4, value_name = "N", help_heading = "Training")]
    pub micro_batch_size: usize,
    /// Micro-batches for one step
    #[arg(long, default_value_t = 1, value_name = "N", help_heading = "Training")]
    pub gradient_accumulation_steps: usize,
    /// How the samples of a step are laid out in forwards; the loss is the same
    #[arg(long, value_enum, default_value = "pack", help_heading = "Training")]
    pub packing: Packing,
    /// The most tokens of a packed or bucketed forward [default: 512 on the CPU, elsewhere those of a
    /// micro-batch]
    #[arg(long, value_name = "N", help_heading = "Training")]
    pub max_tokens_per_forward: Option<usize>,
    /// Keep only what goes into each layer for the backward, and compute the rest once more
    #[arg(long, help_heading = "Training")]
    pub gradient_checkpointing: bool,
    /// AdamW's weight decay
    #[arg(value_parser = finite,
        long,
        default_value_t = 0.0,
        value_name = "X",
        help_heading = "Training"
    )]
    pub weight_decay: f64,
    /// The gradient's norm is cut to this; 0 leaves it
    #[arg(value_parser = finite,
        long,
        default_value_t = 1.0,
        value_name = "X",
        help_heading = "Training"
    )]
    pub max_grad_norm: f64,
    /// Passes over the data
    #[arg(long, default_value_t = 3, value_name = "N", help_heading = "Training")]
    pub epochs: usize,
    /// Steps; overrides epochs
    #[arg(long, value_name = "N", help_heading = "Training")]
    pub max_steps: Option<usize>,
    /// Evaluate every N steps, beside start, epochs' ends and last step
    #[arg(long, value_name = "N", help_heading = "Training")]
    pub eval_steps: Option<usize>,
    /// Seed of adapter, split, order and dropout
    #[arg(
        long,
        default_value_t = 42,
        value_name = "N",
        help_heading = "Training"
    )]
    pub seed: u64,
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
            data: None,
            output: None,
            on_bad_record: BadRecords::default(),
            template: None,
            max_seq_len: 512,
            mask_history: false,
            train_on_input: false,
            validation_share: 0.05,
            no_shuffle: false,
            qlora: false,
            full: false,
            r: 8,
            alpha: 16.0,
            dropout: 0.05,
            target_modules: "q_proj,v_proj".to_owned(),
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
            max_grad_norm: 1.0,
            epochs: 3,
            max_steps: None,
            eval_steps: None,
            seed: 42,
        }
    }
}

impl Settings {
    /// The settings that flags and file come to together: flags win over the file, the file over
    /// defaults. The defaults suit real models; for the bundled one, four orders of magnitude smaller,
    /// learning rate and targets have defaults of their own.
    pub fn resolve(self, file: Option<&Path>, flags: &ArgMatches) -> Result<Self> {
        let in_file = match file {
            Some(file) => read_file(file).with_context(|| file.display().to_string())?,
            None => Map::new(),
        };
        let by_flag = |key: &str| flags.value_source(key) == Some(ValueSource::CommandLine);
        let mut merged = serde_json::to_value(&self)?;
        for (key, value) in &in_file {
            if !by_flag(key) {
                merged[key] = value.clone();
            }
        }
        let mut settings: Self = serde_json::from_value(merged)?;
        let is_free = |key: &str| !by_flag(key) && !in_file.contains_key(key);
        if settings.full && is_free("dropout") {
            settings.dropout = 0.0;
        }
        if settings.full && settings.qlora {
            bail!("qlora trains an adapter; leave it out with full");
        }
        if settings.full && settings.dropout != 0.0 {
            bail!("dropout acts on adapters only; leave it out with full");
        }
        if settings.model.is_none() {
            if is_free("learning_rate") {
                settings.learning_rate = BUNDLED_LEARNING_RATE;
            }
            if is_free("target_modules") {
                settings.target_modules = "all-linear".to_owned();
            }
        }
        Ok(settings)
    }

    /// Checks what can be checked before anything is read or written.
    pub fn validate(&self) -> Result<()> {
        if !(0.0..1.0).contains(&self.validation_share) {
            let share = self.validation_share;
            bail!("validation_share: expected 0 or more, below 1, got {share}");
        }
        self.training().validate()?;
        Ok(self.lora().validate()?)
    }

    /// The settings as they are recorded with what they produced: paths that hold from everywhere, and
    /// no output, so that the same settings can be run again.
    pub fn recorded(&self, template: &str) -> Self {
        let absolute = |path: &Option<PathBuf>| {
            path.as_ref()
                .map(|path| path.canonicalize().unwrap_or_else(|_| path.clone()))
        };
        Self {
            model: absolute(&self.model),
            data: absolute(&self.data),
            output: None,
            template: Some(template.to_owned()),
            ..self.clone()
        }
    }

    /// The model's directory.
    pub fn model_dir(&self) -> PathBuf {
        self.model.clone().unwrap_or_else(bundled::model)
    }

    /// The data file.
    pub fn data_file(&self) -> PathBuf {
        self.data.clone().unwrap_or_else(bundled::records)
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
                Schedule::Constant => llm_lora::Schedule::Constant,
                Schedule::Linear => llm_lora::Schedule::Linear,
                Schedule::Cosine => llm_lora::Schedule::Cosine,
            },
            warmup: match self.warmup_steps {
                Some(steps) => Warmup::Steps(steps),
                None => Warmup::Ratio(self.warmup_ratio),
            },
            weight_decay: self.weight_decay,
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
            shuffle: !self.no_shuffle,
            seed: self.seed,
            ..TrainConfig::default()
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

    /// How data files are read.
    pub fn loading(&self) -> LoadOptions {
        LoadOptions {
            on_bad_record: match self.on_bad_record {
                BadRecords::Fail => OnBadRecord::Fail,
                BadRecords::Skip => OnBadRecord::Skip,
            },
            ..LoadOptions::default()
        }
    }

    /// As a file that `--config` reads.
    pub fn to_yaml(&self) -> Result<String> {
        serde_saphyr::to_string(self).map_err(|error| anyhow!("cannot write settings: {error}"))
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, FromArgMatches, Parser};

    use std::fs;

    use super::*;

    #[derive(Parser)]
    struct Program {
        #[command(flatten)]
        settings: Settings,
    }

    fn resolve(file: &str, flags: &[&str]) -> Result<Settings> {
        let path = tempfile::NamedTempFile::new()?.into_temp_path();
        fs::write(&path, file)?;
        let flags = ["program"].iter().chain(flags);
        let matches = Program::command().try_get_matches_from(flags)?;
        Program::from_arg_matches(&matches)?
            .settings
            .resolve(Some(&path), &matches)
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
    fn flags_win_over_the_file_and_the_file_over_defaults() {
        let settings = resolve(
            "r: 4\nlearning_rate: 0.001\nmask_history: true\n",
            &["--r", "2"],
        )
        .unwrap();
        assert_eq!(
            (settings.r, settings.learning_rate, settings.mask_history),
            (2, 0.001, true)
        );
        let text = settings.to_yaml().unwrap();
        assert_eq!(resolve(&text, &[]).unwrap(), settings);
    }

    #[test]
    fn dropout_belongs_to_adapters() {
        assert_eq!(resolve("full: true", &[]).unwrap().dropout, 0.0);
        assert_eq!(resolve("", &[]).unwrap().dropout, 0.05);
        assert!(resolve("full: true\ndropout: 0.1", &[]).is_err());
    }

    #[test]
    fn the_bundled_model_has_defaults_of_its_own() {
        let rate = |file, flags: &[&str]| resolve(file, flags).unwrap().learning_rate;
        assert_eq!(rate("r: 4", &[]), BUNDLED_LEARNING_RATE);
        assert_eq!(rate("model: x", &[]), 2e-4);
        assert_eq!(rate("learning_rate: 1.0", &[]), 1.0);
        assert_eq!(rate("", &["--learning-rate", "2e-4"]), 2e-4);
    }

    #[test]
    fn a_bad_file_is_explained() {
        let error = |file| format!("{:#}", resolve(file, &[]).unwrap_err());
        assert!(error("lerning_rate: 1").contains("did you mean `learning_rate`?"));
        assert!(error("qqq: 1").contains("unknown key `qqq`"));
        let text = error("model: x\nr: \"eight\"\n");
        assert!(text.contains("line 2"), "{text}");
        assert!(error("r: \"8\"\n").contains("`r`: expected a number"));
        let bomb: String = (1..40).fold("a0: &a0 [x]\n".to_owned(), |bomb, i| {
            let last = i - 1;
            format!("{bomb}a{i}: &a{i} [*a{last}, *a{last}, *a{last}, *a{last}]\n")
        });
        assert!(resolve(&bomb, &[]).is_err());
    }
}
