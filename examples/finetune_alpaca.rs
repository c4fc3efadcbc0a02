//! Fine-tunes a LLaMA-family model on Alpaca records, with LoRA or in full, and shows the difference.

use std::io::IsTerminal;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use burn::module::Module;
use clap::{CommandFactory, FromArgMatches, Parser};
use examples::bundled;
use examples::cli::{self, ComputeArgs};
use examples::run_dir::RunDir;
use examples::settings::{BadRecords, Settings};
use examples::talk::Speaker;
use indicatif::{ProgressBar, ProgressStyle};
use llm_core::{Checkpoint, GenerationConfig, LlamaForCausalLM, SaveOptions, save_model};
use llm_data::{AlpacaRecord, EncodeOptions, EncodedSet, Encoder, LoadOptions, OnBadRecord};
use llm_data::{Tokenizer, load_alpaca, split};
use llm_lora::{Adapter, Event, TrainConfig, train};

/// Fine-tune a LLaMA-family model on Alpaca records.
///
/// Without flags it fine-tunes the tiny model that the repository ships on the records that it ships,
/// in about a minute on two cores (with a learning rate of 3e-3 on all linear layers, which suits
/// that model), and shows answers to held-out instructions before and after.
///
/// A real model:
///
///     finetune_alpaca --model SmolLM2-135M-Instruct --data alpaca.json --output my-adapter
#[derive(Debug, Parser)]
#[command(verbatim_doc_comment)]
struct Options {
    /// Settings in YAML, with the names of the flags; flags win
    #[arg(long, value_name = "FILE", help_heading = "Input and output")]
    config: Option<PathBuf>,
    #[command(flatten)]
    settings: Settings,
    #[command(flatten)]
    compute: ComputeArgs,
    /// Held-out records whose answers are shown before and after
    #[arg(
        long,
        default_value_t = 4,
        value_name = "N",
        help_heading = "Input and output"
    )]
    show: usize,
}

fn main() -> ExitCode {
    let matches = Options::command().get_matches();
    cli::run(|| {
        let mut options = Options::from_arg_matches(&matches)?;
        options.settings = options
            .settings
            .resolve(options.config.as_deref(), &matches)?;
        finetune(&options)
    })
}

fn finetune(options: &Options) -> Result<()> {
    let settings = &options.settings;
    let checkpoint = Checkpoint::open(settings.model_dir()).context("cannot open the model")?;
    let data = Data::load(settings, &checkpoint)?;
    println!("{}", data.train.statistics);
    let (checkpoint, mut model) = options.compute.load(checkpoint.dir())?;
    let adapter = match settings.full {
        true => {
            model = model.set_require_grad(true);
            None
        }
        false => Some(Adapter::attach(&mut model, settings.lora(), settings.seed)?),
    };
    let mut run = RunDir::create(&settings.output.clone().unwrap_or_else(default_output))?;
    run.save_settings(&Settings {
        template: Some(data.encoder.template().name().to_owned()),
        output: Some(run.path().to_owned()),
        model: Some(settings.model_dir()),
        data: Some(settings.data_file()),
        ..settings.clone()
    })?;

    let shown = &data.held_out[..options.show.min(data.held_out.len())];
    let before = answers(&model, &data.encoder, shown)?;
    let evaluations = fit(&mut model, &data, &settings.training(), &mut run)?;
    let after = answers(&model, &data.encoder, shown)?;
    show_answers(shown, &before, &after);

    match adapter {
        Some(adapter) => {
            adapter.save(&model, run.path())?;
            adapter.detach(&mut model);
        }
        None => save_full(&model, &checkpoint, run.path())?,
    }
    run.save_card(settings, data.encoder.template().name(), &evaluations)?;
    if let [first, .., last] = evaluations[..] {
        println!("evaluation loss {first:.4} before, {last:.4} after");
    }
    println!("wrote {}", run.path().display());
    Ok(())
}

/// Encoded records, and those of them that are held out.
struct Data {
    encoder: Encoder,
    train: EncodedSet,
    validation: Vec<llm_data::Sample>,
    held_out: Vec<AlpacaRecord>,
}

impl Data {
    fn load(settings: &Settings, checkpoint: &Checkpoint) -> Result<Self> {
        let tokenizer = Tokenizer::from_dir(checkpoint.dir())?;
        tokenizer.check_embeddings(checkpoint.config().vocab_size)?;
        let template = cli::template(settings.template.as_deref(), &tokenizer)?;
        let options = EncodeOptions {
            max_seq_len: settings.max_seq_len,
            mask_history: settings.mask_history,
            train_on_input: settings.train_on_input,
        };
        let encoder = Encoder::new(tokenizer, template, options)?;
        let load = LoadOptions {
            on_bad_record: match settings.on_bad_record {
                BadRecords::Fail => OnBadRecord::Fail,
                BadRecords::Skip => OnBadRecord::Skip,
            },
            ..LoadOptions::default()
        };
        let loaded = load_alpaca(settings.data_file(), &load)?;
        if !(0.0..1.0).contains(&settings.validation_share) {
            bail!(
                "--validation-share: expected 0 or more, below 1, got {}",
                settings.validation_share
            );
        }
        let share = if settings.data.is_none() {
            0.0
        } else {
            settings.validation_share
        };
        let (train, held_out) = split(loaded.records.len(), share, settings.seed);
        let choose = |indices: Vec<usize>| -> Vec<AlpacaRecord> {
            indices
                .into_iter()
                .map(|index| loaded.records[index].clone())
                .collect()
        };
        let held_out = match &settings.data {
            Some(_) => choose(held_out),
            // The repository's own records have held-out ones of their own.
            None if settings.validation_share == 0.0 => Vec::new(),
            None => load_alpaca(bundled::heldout_records(), &load)?.records,
        };
        let mut train = encoder.encode_all(&choose(train))?;
        train.statistics.add_issues(&loaded.issues);
        let validation = match held_out.is_empty() {
            true => Vec::new(),
            false => encoder.encode_all(&held_out)?.samples,
        };
        Ok(Self {
            encoder,
            train,
            validation,
            held_out,
        })
    }
}

/// Trains with a progress bar; returns the evaluation losses.
fn fit(
    model: &mut LlamaForCausalLM,
    data: &Data,
    config: &TrainConfig,
    run: &mut RunDir,
) -> Result<Vec<f64>> {
    let bar = ProgressBar::new(config.total_steps(data.train.samples.len()) as u64);
    bar.set_style(ProgressStyle::with_template(
        "{bar:30} {pos}/{len}  {msg}  {eta} left",
    )?);
    let report = |line: String| match std::io::stderr().is_terminal() {
        true => bar.suspend(|| println!("{line}")),
        false => println!("{line}"),
    };
    let mut evaluations = Vec::new();
    let mut failure = None;
    train(
        model,
        &data.train.samples,
        &data.validation,
        config,
        |event| {
            match event {
                Event::Step(step) => {
                    let speed = step.tokens_per_second();
                    bar.set_message(format!("loss {:.4}  {speed:.0} tokens/s", step.loss));
                    bar.inc(1);
                }
                Event::Evaluation(evaluation) => {
                    evaluations.push(evaluation.eval_loss);
                    report(format!(
                        "step {}: evaluation loss {:.4}",
                        evaluation.step, evaluation.eval_loss
                    ));
                }
                _ => {}
            }
            match run.record(event) {
                Ok(()) => ControlFlow::Continue(()),
                Err(error) => {
                    failure = Some(error);
                    ControlFlow::Break(())
                }
            }
        },
    )?;
    bar.finish_and_clear();
    match failure {
        Some(error) => Err(error),
        None => Ok(evaluations),
    }
}

/// Greedy answers to records.
fn answers(
    model: &LlamaForCausalLM,
    encoder: &Encoder,
    records: &[AlpacaRecord],
) -> Result<Vec<String>> {
    let speaker = Speaker {
        model,
        tokenizer: encoder.tokenizer(),
        config: GenerationConfig {
            max_new_tokens: 48,
            stop_ids: encoder.stop_ids().to_vec(),
            ..GenerationConfig::default()
        },
        stop_strings: encoder
            .stop_strings()
            .into_iter()
            .map(str::to_owned)
            .collect(),
    };
    let answer = |record| speaker.answer(&encoder.record_prompt(record)?, |_| {});
    records.iter().map(answer).collect()
}

fn show_answers(records: &[AlpacaRecord], before: &[String], after: &[String]) {
    let line = |text: &str| text.trim().replace('\n', "⏎");
    for ((record, before), after) in records.iter().zip(before).zip(after) {
        println!("\n  instruction: {}", line(&record.instruction));
        if !record.input.is_empty() {
            println!("  input:       {}", line(&record.input));
        }
        println!("  before:      {}", line(before));
        println!("  after:       {}", line(after));
        println!("  reference:   {}", line(&record.output));
    }
    println!();
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
