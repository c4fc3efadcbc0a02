//! A fine-tuning run from the loaded data to the proven result.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow, bail};
use burn::module::Module;
use burn::tensor::DType;
use llm_core::checkpoint::write_atomically;
use llm_core::quant::Quantization;
use llm_core::{Checkpoint, GenerationConfig, LlamaForCausalLM};
use llm_data::{Conversation, Message, Role, Samples};
use llm_lora::doctor::{self, Method};
use llm_lora::{Adapter, Checkpoints, Error, Estimate, Event, Identity, Outcome, Trainer};

use crate::cli::{self, Interrupted};
use crate::console::Console;
use crate::recorder::Recorder;
use crate::records::Records;
use crate::run_dir::RunDir;
use crate::settings::{self, Settings};
use crate::talk::Speaker;

/// Records of evaluation sets that the training data contains, a row each.
const LEAKAGE: &str = "leakage.jsonl";

/// Records that an error names; more would hide the rest of it.
const NAMED: usize = 16;

/// Everything that a run needs.
pub struct Job {
    /// As they are recorded.
    pub settings: Settings,
    /// What the run is made from.
    pub identity: Identity,
    /// The base's checkpoint.
    pub base: Checkpoint,
    /// What is learnt.
    pub records: Records,
    /// What is to be removed from the output before the first step.
    pub in_the_way: Vec<PathBuf>,
}

impl Job {
    /// Reads everything but the weights.
    ///
    /// # Errors
    /// When the settings contradict themselves, or model or data cannot be used.
    pub fn new(mut settings: Settings) -> Result<Self> {
        settings.validate()?;
        let device = settings.compute.device()?;
        let base = cli::open(&settings.model_dir())?;
        let records = Records::load(&settings, &base)?;
        let encoder = &records.encoder;
        settings = settings.recorded(encoder.template().name());
        settings.compute.precision = settings.compute.precision.resolve(&device);
        let data = settings
            .datasets()
            .into_iter()
            .chain(settings.test_datasets());
        let data: Vec<Vec<PathBuf>> = data.map(|data| data.files()).collect::<Result<_>>()?;
        let identity = Identity::new(
            &base,
            encoder.tokenizer(),
            encoder.template(),
            data.iter().flatten().map(PathBuf::as_path),
            &settings.identity_text()?,
        )?;
        Ok(Self {
            settings,
            identity,
            base,
            records,
            in_the_way: Vec::new(),
        })
    }

    /// Says what will be trained, what it will take, and what looks wrong with it.
    ///
    /// # Errors
    /// When nothing would be learnt.
    pub fn announce(&self, console: &Console) -> Result<Estimate> {
        match self.records.statistics()? {
            Some(statistics) => {
                console.emit("data", &statistics)?;
                console.say(&statistics)?;
            }
            None => console.say("data        is encoded while training begins")?,
        }
        let plan = self.plan()?;
        console.emit("plan", &plan)?;
        console.say(&plan)?;
        self.check_before_start(&plan, console)?;
        Ok(plan)
    }

    /// What the run will train, and what it will take.
    fn plan(&self) -> Result<Estimate> {
        let settings = &self.settings;
        let device = settings.compute.device()?;
        let model = LlamaForCausalLM::new(self.base.config(), &device);
        let lora = (!settings.full).then(|| settings.lora());
        let dtype = settings.compute.precision.dtype();
        Ok(Estimate::new(
            model,
            dtype.unwrap_or_else(|| llm_core::default_dtype(&device)),
            self.quantization()?,
            lora,
            (&self.records.train, &self.records.validation),
            &settings.training(),
        )?)
    }

    /// How the base is quantised: as the settings want it, or as it is on disk.
    fn quantization(&self) -> Result<Option<Quantization>> {
        let asked = self.settings.compute.quantization();
        Ok(asked.or(self.base.quantization()?))
    }

    /// What the doctor has against a run that has not begun.
    fn check_before_start(&self, plan: &Estimate, console: &Console) -> Result<()> {
        let (settings, records) = (&self.settings, &self.records);
        let config = settings.training();
        if config.learning_rate == 0.0 || plan.steps == 1 && config.warmup.steps(1) > 0 {
            bail!("no step has a learning rate above 0: give more steps, or --warmup-ratio 0");
        }
        let quantized = self.quantization()?.is_some();
        if settings.full && quantized {
            bail!(
                "the base is quantised: its weights cannot be trained, only adapters beside them"
            );
        }
        for warning in &records.warnings {
            console.warn(warning);
        }
        let (supervised_share, ended_share) = records.shares()?;
        let start = doctor::Start {
            method: match (settings.full, quantized) {
                (true, _) => Method::Full,
                (false, true) => Method::QLora,
                (false, false) => Method::Lora,
            },
            records: plan.samples,
            epochs: plan.epochs,
            base_parameters: plan.base_parameters,
            learning_rate: settings.learning_rate,
            supervised_share,
            ended_share,
        };
        for finding in doctor::before_start(&start) {
            console.finding(&finding)?;
        }
        Ok(())
    }

    /// Trains, from a checkpoint or the start, and writes the result.
    ///
    /// # Errors
    /// [`Interrupted`] when a signal has stopped the run.
    pub fn run(&self, run: RunDir, checkpoint: Option<&Path>, console: &mut Console) -> Result<()> {
        self.announce(console)?;
        self.check_leakage(&run, console)?;
        let (mut model, adapter) = self.model(checkpoint)?;
        let shown = spread(&self.records.held_out, self.settings.show);
        let before = match checkpoint {
            Some(_) => None,
            None => Some(self.answers(&model, &shown)?),
        };
        if let (Some(adapter), Some(checkpoint)) = (&adapter, checkpoint) {
            adapter.restore(&mut model, checkpoint)?;
        }
        let (mut model, history) =
            self.train(model, adapter.as_ref(), checkpoint, &run, console)?;
        match &adapter {
            Some(adapter) => self.save_adapter(adapter, &mut model, run.path())?,
            None => cli::save_model(&model, &self.base, run.path(), self.base.dtype())?,
        }
        let evaluations = evaluations(&history);
        let template = self.records.encoder.template().name();
        run.save_card(&self.settings, template, &evaluations)?;
        run.finish(history.last().map_or(0, Event::step))?;

        let after = self.answers(&model, &shown)?;
        show_answers(console, &shown, before.as_deref(), &after)?;
        if let [first, .., last] = evaluations[..] {
            console.say(format_args!(
                "evaluation loss {first:.4} before, {last:.4} after"
            ))?;
        }
        console.emit("finished", &run.path())?;
        console.say(format_args!("wrote {}", run.path().display()))
    }

    /// Warns of training records that are in the validation set or in files that must not be trained on;
    /// all of them are listed in the output.
    fn check_leakage(&self, run: &RunDir, console: &Console) -> Result<()> {
        let leakage = self.records.leakage(&self.settings.check_against)?;
        if leakage.overlaps.is_empty() {
            return run.remove(LEAKAGE);
        }
        let mut rows = String::new();
        for overlap in &leakage.overlaps {
            rows += &serde_json::to_string(overlap)?;
            rows.push('\n');
        }
        run.save_text(LEAKAGE, &rows)?;
        console.warn(format_args!(
            "training data and evaluation data overlap; {LEAKAGE} has all of it\n{leakage}"
        ));
        console.emit("leakage", &leakage)
    }

    /// The model as it is trained from the start, but for one that is trained in full: that one is the
    /// checkpoint's.
    fn model(&self, checkpoint: Option<&Path>) -> Result<(LlamaForCausalLM, Option<Adapter>)> {
        let settings = &self.settings;
        if settings.full {
            let saved = checkpoint.map(cli::open).transpose()?;
            let model = settings
                .compute
                .load(saved.as_ref().unwrap_or(&self.base))?;
            return Ok((model.set_require_grad(true), None));
        }
        let mut model = settings.compute.load(&self.base)?;
        let adapter = Adapter::attach(&mut model, settings.lora(), settings.seed)?;
        Ok((model, Some(adapter)))
    }

    /// Trains, and records every event.
    fn train(
        &self,
        model: LlamaForCausalLM,
        adapter: Option<&Adapter>,
        checkpoint: Option<&Path>,
        run: &RunDir,
        console: &mut Console,
    ) -> Result<(LlamaForCausalLM, Vec<Event>)> {
        let (config, records) = (self.settings.training(), &self.records);
        let trainer = Trainer::new(model, &records.train, &records.validation, &config)?;
        let mut trainer = trainer.with_checkpoints(self.checkpoints(adapter, run.path())?);
        if let Some(checkpoint) = checkpoint {
            trainer.resume(checkpoint)?;
            console.say(format_args!("going on from {}", checkpoint.display()))?;
        }
        let history = trainer.history();
        let metrics = run.begin(&self.in_the_way, history, &self.settings, &self.identity)?;
        let total_steps = trainer.total_steps()?;
        let mut recorder = Recorder::new(run, console, metrics, history, total_steps)?;
        let outcome = trainer.run(|event| recorder.hear(event));
        let saved = recorder.finish();
        let outcome = outcome.map_err(|error| self.with_records(error))?;
        let saved = saved?;
        if outcome == Outcome::Stopped {
            let interrupted = Interrupted {
                step: trainer.steps(),
                checkpoint: saved.map(|saved| saved.checkpoint),
            };
            console.emit("interrupted", &interrupted)?;
            bail!(interrupted);
        }
        if let Some(best) = trainer.best() {
            console.say(format_args!(
                "the lowest evaluation loss, {:.4}, is that of step {}",
                best.eval_loss, best.step
            ))?;
        }
        let history = trainer.history().to_vec();
        Ok((trainer.into_model(), history))
    }

    /// When the run saves itself, and what stands in a checkpoint beside the trainer's state.
    fn checkpoints<'a>(
        &'a self,
        adapter: Option<&'a Adapter>,
        output: &Path,
    ) -> Result<Checkpoints<'a>> {
        let yaml = self.settings.to_yaml()?;
        let write = move |model: &LlamaForCausalLM, dir: &Path| {
            match adapter {
                Some(adapter) => adapter.save(model, dir)?,
                // In full precision, whatever the result will have.
                None => cli::save_model(model, &self.base, dir, DType::F32)?,
            }
            self.identity.write(dir)?;
            write_atomically(dir.join(settings::FILE), |file| {
                file.write_all(yaml.as_bytes())
            })?;
            Ok(())
        };
        let mut checkpoints = Checkpoints::new(output, write);
        if self.settings.save_steps > 0 {
            checkpoints = checkpoints.every(self.settings.save_steps);
        }
        if self.settings.save_total_limit > 0 {
            checkpoints = checkpoints.keep(self.settings.save_total_limit);
        }
        Ok(checkpoints)
    }

    /// Names the records of an error, not only the samples.
    fn with_records(&self, error: Error) -> anyhow::Error {
        let records = match &error {
            Error::NonFinite { samples, .. } if !samples.is_empty() => {
                self.records.numbers_of(samples)
            }
            _ => return error.into(),
        };
        let shown: Vec<String> = records.iter().take(NAMED).map(usize::to_string).collect();
        let more = if records.len() > NAMED { ", …" } else { "" };
        anyhow!(
            "{error}\n  records of the data: {}{more}\n  a lower learning rate helps, or --on-nonfinite skip",
            shown.join(", ")
        )
    }

    /// Proves that the adapter was trained, writes it, and proves that what is on disk is the adapter,
    /// before it takes its place.
    fn save_adapter(
        &self,
        adapter: &Adapter,
        model: &mut LlamaForCausalLM,
        output: &Path,
    ) -> Result<()> {
        adapter.prove_trained(model)?;
        let unproven = output.join(".unproven");
        if unproven.exists() {
            fs::remove_dir_all(&unproven)?;
        }
        adapter.save(model, &unproven)?;
        let sample = self.records.train.get(0)?;
        adapter.prove_saved(model, &unproven, &sample.input_ids)?;
        for file in fs::read_dir(&unproven)? {
            let file = file?;
            fs::rename(file.path(), output.join(file.file_name()))?;
        }
        fs::remove_dir(&unproven)?;
        Ok(())
    }

    /// Greedy answers to records.
    fn answers(&self, model: &LlamaForCausalLM, records: &[Shown]) -> Result<Vec<String>> {
        let encoder = &self.records.encoder;
        let speaker = Speaker {
            model,
            config: GenerationConfig {
                max_new_tokens: 48,
                stop_ids: encoder.stop_ids().to_vec(),
                ..GenerationConfig::default()
            },
            stop_strings: encoder.stop_strings().into_iter().map(Into::into).collect(),
        };
        let answer = |record: &Shown| {
            let decode = encoder.tokenizer().decode_stream();
            speaker.answer(&encoder.prompt(&record.prompt)?, decode, |_| Ok(()))
        };
        records.iter().map(answer).collect()
    }
}

fn evaluations(history: &[Event]) -> Vec<f64> {
    let loss = |event: &Event| match event {
        Event::Evaluation(evaluation) => Some(evaluation.eval_loss),
        _ => None,
    };
    history.iter().filter_map(loss).collect()
}

/// A held-out record whose answer is shown.
struct Shown {
    /// Up to the last question.
    prompt: Vec<Message>,
    reference: String,
}

/// So many of the records, from all over the file.
fn spread(records: &[(usize, Conversation)], count: usize) -> Vec<Shown> {
    let stride = records.len().div_ceil(count.max(1)).max(1);
    let chosen = records.iter().step_by(stride).take(count);
    let shown = |(_, record): &(usize, Conversation)| {
        let (answer, prompt) = record.messages.split_last()?;
        let asked = prompt
            .last()
            .is_some_and(|message| message.role == Role::User);
        (asked && answer.role == Role::Assistant).then(|| Shown {
            prompt: prompt.to_vec(),
            reference: answer.content.clone(),
        })
    };
    chosen.filter_map(shown).collect()
}

fn show_answers(
    console: &Console,
    records: &[Shown],
    before: Option<&[String]>,
    after: &[String],
) -> Result<()> {
    let line = |text: &str| text.trim().replace('\n', "⏎");
    for (index, (record, after)) in records.iter().zip(after).enumerate() {
        let question = record.prompt.last().map(Message::instruction_and_input);
        let (instruction, input) = question.unwrap_or_default();
        console.say(format_args!("\n  instruction: {}", line(instruction)))?;
        if !input.is_empty() {
            console.say(format_args!("  input:       {}", line(input)))?;
        }
        if let Some(before) = before.and_then(|before| before.get(index)) {
            console.say(format_args!("  before:      {}", line(before)))?;
        }
        console.say(format_args!("  after:       {}", line(after)))?;
        console.say(format_args!("  reference:   {}", line(&record.reference)))?;
    }
    console.say("")
}
