//! Fine-tunes a LLaMA-family model on Alpaca records, with LoRA or in full, and shows the difference.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail};
use burn::module::Module;
use clap::{CommandFactory, FromArgMatches, Parser};
use examples::bundled;
use examples::cli::{self, ComputeArgs, Quantize, say};
use examples::progress::Progress;
use examples::run_dir::RunDir;
use examples::settings::Settings;
use examples::talk::Speaker;
use llm_core::{Checkpoint, GenerationConfig, LlamaForCausalLM, SaveOptions, save_model};
use llm_data::{AlpacaRecord, EncodedSet, Encoder, Sample, Tokenizer, load_alpaca, split};
use llm_lora::{Adapter, Event, TrainConfig, train};

/// Fine-tune a LLaMA-family model on Alpaca records.
///
/// Without flags it fine-tunes the tiny model that the repository ships on the records that it ships,
/// in about a minute on two cores, and shows answers to held-out instructions before and after.
///
/// A real model:
///
///     finetune_alpaca --model SmolLM2-135M-Instruct --data alpaca.json --output my-adapter
#[derive(Debug, Parser)]
#[command(verbatim_doc_comment)]
struct Options {
    /// Settings in YAML, like the finetune.yaml that a run leaves in its output; flags win
    #[arg(long, value_name = "FILE", help_heading = "Input and output")]
    config: Option<PathBuf>,
    #[command(flatten)]
    settings: Settings,
    /// Held-out records whose answers are shown before and after
    #[arg(
        long,
        default_value_t = 6,
        value_name = "N",
        help_heading = "Input and output"
    )]
    show: usize,
    #[command(flatten)]
    compute: ComputeArgs,
}

fn main() -> ExitCode {
    let matches = Options::command().get_matches();
    cli::run(|| {
        let mut options = Options::from_arg_matches(&matches)?;
        options.settings = options
            .settings
            .resolve(options.config.as_deref(), &matches)?;
        if options.settings.qlora {
            options.compute.quantize.get_or_insert(Quantize::Nf4);
        }
        finetune(&options)
    })
}

fn finetune(options: &Options) -> Result<()> {
    let settings = &options.settings;
    settings.validate()?;
    if settings.full && options.compute.quantize.is_some() {
        bail!("quantised weights cannot be trained; leave --full or --quantize out");
    }
    options.compute.device()?;
    let checkpoint = cli::open(&settings.model_dir())?;
    let data = Data::load(settings, &checkpoint)?;
    say(&data.train.statistics)?;
    let mut run = RunDir::create(
        &settings.output.clone().unwrap_or_else(default_output),
        settings.full,
    )?;
    let mut model = options.compute.load(&checkpoint)?;
    let adapter = match settings.full {
        true => {
            model = model.set_require_grad(true);
            None
        }
        false => Some(Adapter::attach(&mut model, settings.lora(), settings.seed)?),
    };

    let shown = spread(&data.held_out, options.show);
    let before = answers(&model, &data.encoder, &shown)?;
    let evaluations = fit(&mut model, &data, &settings.training(), &mut run)?;
    match &adapter {
        Some(adapter) => adapter.save(&model, run.path())?,
        None => save_full(&model, &checkpoint, run.path())?,
    }
    let template = data.encoder.template().name();
    run.save_settings(&settings.recorded(template))?;
    run.save_card(settings, template, &evaluations)?;

    show_answers(&shown, &before, &answers(&model, &data.encoder, &shown)?)?;
    if let [first, .., last] = evaluations[..] {
        say(format_args!(
            "evaluation loss {first:.4} before, {last:.4} after"
        ))?;
    }
    say(format_args!("wrote {}", run.path().display()))
}

/// Encoded records, and those of them that are held out.
struct Data {
    encoder: Encoder,
    train: EncodedSet,
    validation: Vec<Sample>,
    held_out: Vec<AlpacaRecord>,
}

impl Data {
    fn load(settings: &Settings, checkpoint: &Checkpoint) -> Result<Self> {
        let tokenizer = Tokenizer::from_dir(checkpoint.dir())?;
        tokenizer.check_embeddings(checkpoint.config().vocab_size)?;
        let template = cli::template(settings.template.as_deref(), &tokenizer)?;
        let encoder = Encoder::new(tokenizer, template, settings.encoding())?;
        let loaded = load_alpaca(settings.data_file(), &settings.loading())?;
        let share = if settings.data.is_some() {
            settings.validation_share
        } else {
            0.0
        };
        let (train, held_out) = split(loaded.records.len(), share, settings.seed);
        let numbers: Vec<usize> = train.iter().map(|index| loaded.numbers[*index]).collect();
        let train = encoder.encode_all(&choose(&loaded.records, &train));
        let mut train = train.map_err(|error| error.with_numbers(&numbers))?;
        train.statistics.add_refused(&loaded.refused);
        let held_out = match settings.data.is_none() && settings.validation_share > 0.0 {
            // The repository's own records have held-out ones beside them.
            true => load_alpaca(bundled::heldout_records(), &settings.loading())?.records,
            false => choose(&loaded.records, &held_out),
        };
        let validation = match held_out.is_empty() {
            true => Vec::new(),
            false => match encoder.encode_all(&held_out) {
                Ok(set) => set.samples,
                Err(llm_data::Error::NothingLeft { .. }) => {
                    eprintln!("warning: no held-out record can be encoded; there is no evaluation");
                    Vec::new()
                }
                Err(error) => return Err(error.into()),
            },
        };
        Ok(Self {
            encoder,
            train,
            validation,
            held_out,
        })
    }
}

fn choose(records: &[AlpacaRecord], indices: &[usize]) -> Vec<AlpacaRecord> {
    indices
        .iter()
        .map(|index| records[*index].clone())
        .collect()
}

/// Trains and records every event; returns the evaluation losses.
fn fit(
    model: &mut LlamaForCausalLM,
    data: &Data,
    config: &TrainConfig,
    run: &mut RunDir,
) -> Result<Vec<f64>> {
    let progress = Progress::new(config.total_steps(data.train.samples.len()))?;
    let mut evaluations = Vec::new();
    let mut written = Ok(());
    train(
        model,
        &data.train.samples,
        &data.validation,
        config,
        |event| {
            if let Event::Evaluation(evaluation) = event {
                evaluations.push(evaluation.eval_loss);
            }
            written = run.record(event).and_then(|()| progress.show(event));
            match written {
                Ok(()) => ControlFlow::Continue(()),
                Err(_) => ControlFlow::Break(()),
            }
        },
    )?;
    progress.finish();
    written.map(|()| evaluations)
}

/// So many of the records, from all over the file.
fn spread(records: &[AlpacaRecord], count: usize) -> Vec<AlpacaRecord> {
    let stride = records.len().div_ceil(count.max(1)).max(1);
    records
        .iter()
        .step_by(stride)
        .take(count)
        .cloned()
        .collect()
}

/// Greedy answers to records.
fn answers(
    model: &LlamaForCausalLM,
    encoder: &Encoder,
    records: &[AlpacaRecord],
) -> Result<Vec<String>> {
    let speaker = Speaker {
        model,
        config: GenerationConfig {
            max_new_tokens: 48,
            stop_ids: encoder.stop_ids().to_vec(),
            ..GenerationConfig::default()
        },
        stop_strings: encoder.stop_strings().into_iter().map(Into::into).collect(),
    };
    let answer = |record| {
        let decode = encoder.tokenizer().decode_stream();
        speaker.answer(&encoder.record_prompt(record)?, decode, |_| Ok(()))
    };
    records.iter().map(answer).collect()
}

fn show_answers(records: &[AlpacaRecord], before: &[String], after: &[String]) -> Result<()> {
    let line = |text: &str| text.trim().replace('\n', "⏎");
    for ((record, before), after) in records.iter().zip(before).zip(after) {
        say(format_args!(
            "\n  instruction: {}",
            line(&record.instruction)
        ))?;
        if !record.input.is_empty() {
            say(format_args!("  input:       {}", line(&record.input)))?;
        }
        say(format_args!("  before:      {}", line(before)))?;
        say(format_args!("  after:       {}", line(after)))?;
        say(format_args!("  reference:   {}", line(&record.output)))?;
    }
    say("")
}

fn save_full(
    model: &LlamaForCausalLM,
    checkpoint: &Checkpoint,
    dir: &std::path::Path,
) -> Result<()> {
    let options = SaveOptions {
        dtype: checkpoint.dtype(),
        ..SaveOptions::default()
    };
    save_model(model, dir, Some(&checkpoint.config_json()?), &options)?;
    checkpoint.copy_side_files(dir)?;
    Ok(())
}

fn default_output() -> PathBuf {
    PathBuf::from(format!(
        "runs/{}",
        chrono::Local::now().format("%Y%m%d-%H%M%S")
    ))
}
