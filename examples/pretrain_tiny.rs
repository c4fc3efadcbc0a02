//! Makes the tiny model that the repository ships: generates the text, trains a tokenizer on it,
//! pre-trains a LLaMA with the training loop of `llm-lora`, and writes a Hugging Face directory.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, anyhow};
use burn::module::Module;
use burn::tensor::DType;
use clap::Parser;
use examples::cli::{ComputeArgs, say};
use examples::console::{Console, ConsoleArgs};
use examples::{bundled, cli, corpus};
use llm_core::{LlamaConfig, LlamaForCausalLM, SaveOptions, save_model};
use llm_data::{Sample, Tokenizer};
use llm_lora::{Schedule, TrainConfig, Warmup, train};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde_json::json;
use tokenizers::models::bpe::{BPE, BpeTrainer};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::{AddedToken, DecoderWrapper, NormalizerWrapper, PostProcessorWrapper};
use tokenizers::{PreTokenizerWrapper, TokenizerBuilder, TokenizerImpl};

/// Ends every document and, after fine-tuning, every answer.
const END: &str = "<|endoftext|>";

/// Documents that are kept for evaluation.
const HELD_OUT: usize = 40;

/// Pre-train the tiny model that the repository ships (about half an hour on two cores).
///
/// Text, tokenizer and weights follow from the seed alone.
#[derive(Debug, Parser)]
struct Options {
    /// Where the model goes
    #[arg(long, default_value_os_t = bundled::model())]
    output: PathBuf,
    /// Optimizer steps
    #[arg(long, default_value_t = 3000)]
    steps: usize,
    /// Windows of text in a step
    #[arg(long, default_value_t = 8)]
    batch_size: usize,
    /// Tokens in a window; at most 512, the model's context
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u16).range(2..=512))]
    window: u16,
    /// Peak learning rate
    #[arg(long, default_value_t = 3e-3)]
    learning_rate: f64,
    /// Seed of text, weights and order
    #[arg(long, default_value_t = 42)]
    seed: u64,
    #[command(flatten)]
    compute: ComputeArgs,
}

fn main() -> ExitCode {
    cli::run(|| pretrain(&Options::parse()))
}

fn pretrain(options: &Options) -> Result<()> {
    let documents = corpus::documents(options.seed);
    // The finished model takes the old one's place: an interrupted run leaves that alone.
    let partial = options.output.with_extension("partial");
    std::fs::create_dir_all(&partial)
        .with_context(|| format!("cannot make {}", partial.display()))?;
    train_tokenizer(&documents, &partial)?;
    let tokenizer = Tokenizer::from_dir(&partial)?;
    let config = model_config(&tokenizer)?;
    let mut model = LlamaForCausalLM::random(&config, options.seed, &options.compute.device()?);
    let encode = |document: &String| tokenizer.encode(document);
    let documents: Vec<Vec<u32>> = documents.iter().map(encode).collect::<Result<_, _>>()?;
    let (held_out, documents) = documents.split_at(HELD_OUT);
    let tokens: usize = documents.iter().map(Vec::len).sum();
    say(format_args!(
        "{} parameters, {tokens} tokens of text",
        model.num_params()
    ))?;

    let end = tokenizer
        .eos_id()
        .ok_or_else(|| anyhow!("the tokenizer has no end token"))?;
    let train_config = TrainConfig {
        learning_rate: options.learning_rate,
        schedule: Schedule::Cosine,
        warmup: Warmup::Ratio(0.02),
        weight_decay: 0.1,
        betas: [0.9, 0.95],
        micro_batch_size: options.batch_size,
        max_steps: Some(options.steps),
        eval_steps: Some((options.steps / 5).max(1)),
        shuffle: false,
        seed: options.seed,
        ..TrainConfig::default()
    };
    let wanted = options.steps * options.batch_size;
    let samples = windows(
        documents,
        end,
        usize::from(options.window),
        wanted,
        options.seed,
    );
    let validation = windows(held_out, end, usize::from(options.window), 1, options.seed);
    fit(&mut model, &samples, &validation, &train_config)?;
    let save = SaveOptions {
        dtype: DType::BF16,
        ..SaveOptions::default()
    };
    save_model(&model, &partial, None, &save)?;
    std::fs::create_dir_all(&options.output)?;
    for file in std::fs::read_dir(&partial)? {
        let file = file?;
        std::fs::rename(file.path(), options.output.join(file.file_name()))?;
    }
    std::fs::remove_dir(&partial)?;
    say(format_args!("wrote {}", options.output.display()))
}

/// A byte-level BPE of 2048 tokens; single digits, as arithmetic is easier on them.
fn train_tokenizer(documents: &[String], output: &Path) -> Result<()> {
    type Untrained = TokenizerImpl<
        BPE,
        NormalizerWrapper,
        PreTokenizerWrapper,
        PostProcessorWrapper,
        DecoderWrapper,
    >;
    let failed = |error: tokenizers::Error| anyhow!("tokenizer: {error}");
    let digits = tokenizers::pre_tokenizers::digits::Digits::new(true);
    let bytes = ByteLevel::new(false, false, true);
    let steps = vec![
        PreTokenizerWrapper::Digits(digits),
        PreTokenizerWrapper::ByteLevel(bytes),
    ];
    let steps = tokenizers::pre_tokenizers::sequence::Sequence::new(steps);
    let mut tokenizer: Untrained = TokenizerBuilder::default()
        .with_model(BPE::default())
        .with_pre_tokenizer(Some(PreTokenizerWrapper::Sequence(steps)))
        .with_decoder(Some(DecoderWrapper::ByteLevel(bytes)))
        .build()
        .map_err(failed)?;
    let mut trainer = BpeTrainer::builder()
        .vocab_size(2048)
        .show_progress(false)
        .special_tokens(vec![AddedToken::from(END, true)])
        .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
        .build();
    tokenizer
        .train(&mut trainer, documents.iter().map(String::as_str))
        .map_err(failed)?;
    tokenizer
        .save(output.join("tokenizer.json"), false)
        .map_err(failed)?;
    let config = json!({
        "tokenizer_class": "PreTrainedTokenizerFast",
        "add_bos_token": false,
        "eos_token": END,
        "pad_token": END,
        "clean_up_tokenization_spaces": false,
        "model_max_length": 512,
    });
    std::fs::write(
        output.join("tokenizer_config.json"),
        format!("{config:#}\n"),
    )?;
    Ok(())
}

fn model_config(tokenizer: &Tokenizer) -> Result<LlamaConfig> {
    let end = tokenizer.eos_id();
    let config = json!({
        "model_type": "llama",
        "vocab_size": tokenizer.vocab_size(),
        "hidden_size": 160,
        "intermediate_size": 320,
        "num_hidden_layers": 4,
        "num_attention_heads": 5,
        "max_position_embeddings": 512,
        "rms_norm_eps": 1e-5,
        "tie_word_embeddings": true,
        "initializer_range": 0.05,
        "bos_token_id": null,
        "eos_token_id": end,
        "pad_token_id": end,
    });
    Ok(LlamaConfig::from_json(&config.to_string())?)
}

/// At least `count` windows of text: the documents one behind the other, in a new order each time
/// that they are through.
fn windows(documents: &[Vec<u32>], end: u32, width: usize, count: usize, seed: u64) -> Vec<Sample> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut order: Vec<&Vec<u32>> = documents.iter().collect();
    let mut samples = Vec::new();
    while samples.len() < count {
        order.shuffle(&mut rng);
        let text: Vec<u32> = order
            .iter()
            .flat_map(|document| document.iter().chain([&end]))
            .copied()
            .collect();
        samples.extend(text.chunks_exact(width).map(|window| Sample {
            input_ids: window.to_vec(),
            labels: window.iter().map(|id| i64::from(*id)).collect(),
        }));
    }
    samples
}

fn fit(
    model: &mut LlamaForCausalLM,
    samples: &[Sample],
    validation: &[Sample],
    config: &TrainConfig,
) -> Result<()> {
    let mut console = Console::new(ConsoleArgs::default());
    console.start(config.total_steps(samples.len()), 0)?;
    let mut shown = Ok(());
    train(model, samples, validation, config, |event| {
        shown = console.show(event);
        match shown {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        }
    })?;
    console.finish();
    shown
}
