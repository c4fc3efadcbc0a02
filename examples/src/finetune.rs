//! A fine-tuning run from the loaded data to the proven result.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use burn::module::Module;
use burn::tensor::DType;
use llm_core::checkpoint::write_atomically;
use llm_core::{Checkpoint, GenerationConfig, LlamaForCausalLM};
use llm_data::AlpacaRecord;
use llm_lora::doctor::{self, Method};
use llm_lora::{
    Adapter, Checkpoints, Error, Estimate, Event, Identity, Outcome, Trainer, newest_checkpoint,
};

use crate::cli::{self, Interrupted};
use crate::console::Console;
use crate::recorder::Recorder;
use crate::records::Records;
use crate::resume::Origin;
use crate::run_dir::RunDir;
use crate::settings::{self, Settings};
use crate::talk::Speaker;

/// Records of evaluation sets that the training data contains, a row each.
const LEAKAGE: &str = "leakage.jsonl";

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
    /// Where the result goes.
    pub run: RunDir,
}

/// What the doctor has against a run that has not begun.
fn check_before_start(job: &Job, plan: &Estimate, console: &Console) -> Result<()> {
    let (settings, records) = (&job.settings, &job.records);
    for warning in &records.warnings {
        console.warn(warning);
    }
    let method = match (settings.full, settings.compute.quantize) {
        (true, _) => Method::Full,
        (false, Some(_)) => Method::QLora,
        (false, None) => Method::Lora,
    };
    let start = doctor::Start {
        method,
        records: plan.samples,
        epochs: plan.epochs,
        base_parameters: plan.base_parameters,
        learning_rate: settings.learning_rate,
        supervised_share: records.train.statistics.supervised_share,
        ended_share: records.ended_share(),
    };
    for finding in doctor::before_start(&start) {
        console.warn(&finding);
        console.emit("finding", &finding)?;
    }
    Ok(())
}

/// What a run will train, and what it will take.
pub fn plan(settings: &Settings, base: &Checkpoint, records: &Records) -> Result<Estimate> {
    let device = settings.compute.device()?;
    let model = LlamaForCausalLM::new(base.config(), &device);
    let lora = (!settings.full).then(|| settings.lora());
    let dtype = settings.compute.precision.dtype();
    Ok(Estimate::new(
        model,
        dtype.unwrap_or_else(|| llm_core::default_dtype(&device)),
        settings.compute.quantization(),
        lora,
        (&records.train.samples, &records.validation),
        &settings.training(),
    )?)
}

impl Job {
    /// Trains from where `origin` says, and writes the result.
    ///
    /// # Errors
    /// [`Interrupted`] when a signal has stopped the run.
    pub fn run(&self, origin: &Origin, console: &mut Console) -> Result<()> {
        console.emit("data", &self.records.train.statistics)?;
        console.say(&self.records.train.statistics)?;
        let plan = plan(&self.settings, &self.base, &self.records)?;
        console.emit("plan", &plan)?;
        console.say(&plan)?;
        check_before_start(self, &plan, console)?;
        self.check_leakage(console)?;
        // A finished run that is to go on does so from its last checkpoint.
        let checkpoint = match origin {
            Origin::Start => None,
            Origin::Checkpoint(checkpoint) => Some(checkpoint.clone()),
            Origin::Finished(output) => {
                Some(newest_checkpoint(output)?.with_context(|| {
                    format!("{}: no checkpoint to go on from", output.display())
                })?)
            }
        };
        let (mut model, adapter) = self.model(checkpoint.as_deref())?;
        let shown = spread(&self.records.held_out, self.settings.show);
        let before = match self.settings.full && checkpoint.is_some() {
            // The base is not what was loaded.
            true => vec!["(not known)".to_owned(); shown.len()],
            false => self.answers(&model, &shown)?,
        };
        if let (Some(adapter), Some(checkpoint)) = (&adapter, &checkpoint) {
            adapter.restore(&mut model, checkpoint)?;
        }
        let (mut model, history) =
            self.train(model, adapter.as_ref(), checkpoint.as_deref(), console)?;
        match &adapter {
            Some(adapter) => self.save_adapter(adapter, &mut model)?,
            None => cli::save_model(&model, &self.base, self.run.path(), self.base.dtype())?,
        }
        let evaluations = evaluations(&history);
        self.leave_record(&history, &evaluations)?;
        let after = self.answers(&model, &shown)?;
        show_answers(console, &shown, &before, &after)?;
        if let [first, .., last] = evaluations[..] {
            console.say(format_args!(
                "evaluation loss {first:.4} before, {last:.4} after"
            ))?;
        }
        console.emit("finished", &self.run.path())?;
        console.say(format_args!("wrote {}", self.run.path().display()))
    }

    /// Warns of training records that are in the validation set or in files that must not be trained on;
    /// all of them are listed in the output.
    fn check_leakage(&self, console: &Console) -> Result<()> {
        let leakage = self.records.leakage(&self.settings.check_against)?;
        if leakage.overlaps.is_empty() {
            return Ok(());
        }
        let mut rows = String::new();
        for overlap in &leakage.overlaps {
            rows += &serde_json::to_string(overlap)?;
            rows.push('\n');
        }
        self.run.save_text(LEAKAGE, &rows)?;
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
        console: &mut Console,
    ) -> Result<(LlamaForCausalLM, Vec<Event>)> {
        let (config, records) = (self.settings.training(), &self.records);
        let samples = &records.train.samples;
        let trainer = Trainer::new(model, samples, &records.validation, &config)?;
        let mut trainer = trainer.with_checkpoints(self.checkpoints(adapter)?);
        if let Some(checkpoint) = checkpoint {
            trainer.resume(checkpoint)?;
            console.say(format_args!("going on from {}", checkpoint.display()))?;
        }
        let total_steps = config.total_steps(samples.len());
        let mut recorder = Recorder::new(&self.run, console, trainer.history(), total_steps)?;
        let outcome = trainer.run(|event| recorder.hear(event));
        let saved = recorder.finish()?;
        match outcome.map_err(|error| self.with_records(error))? {
            Outcome::Finished => {
                if let Some(best) = trainer.best() {
                    console.say(format_args!(
                        "the checkpoint with the lowest evaluation loss, {:.4}, is that of step {}",
                        best.eval_loss, best.step
                    ))?;
                }
            }
            Outcome::Stopped => bail!(Interrupted {
                step: trainer.steps(),
                checkpoint: saved.map(|saved| saved.checkpoint),
            }),
        }
        let history = trainer.history().to_vec();
        Ok((trainer.into_model(), history))
    }

    /// When the run saves itself, and what stands in a checkpoint beside the trainer's state.
    fn checkpoints<'a>(&'a self, adapter: Option<&'a Adapter>) -> Result<Checkpoints<'a>> {
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
        let mut checkpoints = Checkpoints::new(self.run.path(), write);
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
        let shown: Vec<String> = records.iter().take(16).map(usize::to_string).collect();
        let advice = "a lower learning rate helps, or --on-nonfinite skip";
        anyhow::anyhow!(
            "{error}\n  records of the data: {}\n  {advice}",
            shown.join(", ")
        )
    }

    /// Proves that the adapter was trained, writes it, and proves that what is on disk is the adapter,
    /// before it takes its place.
    fn save_adapter(&self, adapter: &Adapter, model: &mut LlamaForCausalLM) -> Result<()> {
        adapter.prove_trained(model)?;
        let unproven = self.run.path().join(".unproven");
        adapter.save(model, &unproven)?;
        let sample = &self.records.train.samples[0];
        adapter.prove_saved(model, &unproven, &sample.input_ids)?;
        for file in fs::read_dir(&unproven)? {
            let file = file?;
            fs::rename(file.path(), self.run.path().join(file.file_name()))?;
        }
        fs::remove_dir(&unproven)?;
        Ok(())
    }

    /// Writes what the result was made from and how it went, the manifest last.
    fn leave_record(&self, history: &[Event], evaluations: &[f64]) -> Result<()> {
        let (settings, run) = (&self.settings, &self.run);
        run.save_settings(settings)?;
        self.identity.write(run.path())?;
        run.save_card(
            settings,
            self.records.encoder.template().name(),
            evaluations,
        )?;
        run.finish(history.last().map_or(0, Event::step))
    }

    /// Greedy answers to records.
    fn answers(&self, model: &LlamaForCausalLM, records: &[AlpacaRecord]) -> Result<Vec<String>> {
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
        let answer = |record| {
            let decode = encoder.tokenizer().decode_stream();
            speaker.answer(&encoder.record_prompt(record)?, decode, |_| Ok(()))
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

/// So many of the records, from all over the file.
fn spread(records: &[AlpacaRecord], count: usize) -> Vec<AlpacaRecord> {
    let stride = records.len().div_ceil(count.max(1)).max(1);
    let chosen = records.iter().step_by(stride).take(count);
    chosen.cloned().collect()
}

fn show_answers(
    console: &Console,
    records: &[AlpacaRecord],
    before: &[String],
    after: &[String],
) -> Result<()> {
    let line = |text: &str| text.trim().replace('\n', "⏎");
    for ((record, before), after) in records.iter().zip(before).zip(after) {
        console.say(format_args!(
            "\n  instruction: {}",
            line(&record.instruction)
        ))?;
        if !record.input.is_empty() {
            console.say(format_args!("  input:       {}", line(&record.input)))?;
        }
        console.say(format_args!("  before:      {}", line(before)))?;
        console.say(format_args!("  after:       {}", line(after)))?;
        console.say(format_args!("  reference:   {}", line(&record.output)))?;
    }
    console.say("")
}
