//! Row 19 of the project's list of faults for every kind of training: stopped and resumed, or not.

use std::fs;
use std::ops::ControlFlow;
use std::path::Path;

use burn::module::Module;
use burn::tensor::DType;
use llm_core::quant::{QuantFormat, Quantization};
use llm_core::{Checkpoint, LlamaForCausalLM, LoadOptions, save_model};
use llm_lora::{
    Adapter, Bias, Checkpoints, LoraConfig, Modules, Packing, TrainConfig, Trainer,
    newest_checkpoint,
};

use crate::resume::{config, data};
use crate::support::{cpu, own};

/// A kind of training.
#[derive(Clone)]
struct Work {
    name: &'static str,
    base: &'static str,
    load: LoadOptions,
    /// Without one, all weights are trained.
    lora: Option<LoraConfig>,
    config: TrainConfig,
}

impl Work {
    fn load(&self, dir: &Path) -> LlamaForCausalLM {
        let checkpoint = Checkpoint::open(dir).unwrap();
        checkpoint.load(&cpu(), &self.load).unwrap().model
    }

    /// Trains from the newest checkpoint in `dir` to the end or to a step; returns the result's file.
    fn run(&self, dir: &Path, stop: Option<usize>) -> Vec<u8> {
        let newest = newest_checkpoint(dir).unwrap();
        let full = self.lora.is_none();
        let from = newest.clone().filter(|_| full).unwrap_or(own(self.base));
        let mut model = self.load(&from);
        let adapter = self.lora.clone().map(|lora| {
            let adapter = Adapter::attach(&mut model, lora, 3).unwrap();
            if let Some(checkpoint) = &newest {
                adapter.restore(&mut model, checkpoint).unwrap();
            }
            adapter
        });
        if full {
            model = model.set_require_grad(true);
        }
        let write = |model: &LlamaForCausalLM, dir: &Path| match &adapter {
            Some(adapter) => adapter.save(model, dir),
            None => Ok(save_model(model, dir, None, &Default::default())?),
        };
        let samples = data();
        let trainer = Trainer::new(model, &samples, &[], &self.config).unwrap();
        let mut trainer = trainer.with_checkpoints(Checkpoints::new(dir, write));
        if let Some(checkpoint) = &newest {
            trainer.resume(checkpoint).unwrap();
        }
        let outcome = trainer.run(|event| match Some(event.step()) == stop {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        });
        outcome.unwrap();
        let out = dir.join("result");
        write(&trainer.into_model(), &out).unwrap();
        let file = if full {
            "model.safetensors"
        } else {
            "adapter_model.safetensors"
        };
        fs::read(out.join(file)).unwrap()
    }
}

fn kinds() -> Vec<Work> {
    let lora = LoraConfig {
        target_modules: Some(Modules::AllLinear),
        lora_dropout: 0.2,
        ..LoraConfig::default()
    };
    let f32 = LoadOptions {
        dtype: Some(DType::F32),
        ..LoadOptions::default()
    };
    let bf16 = LoadOptions {
        dtype: Some(DType::BF16),
        ..LoadOptions::default()
    };
    let head = Some(vec!["lm_head".to_owned()]);
    let plain = Work {
        name: "LoRA",
        base: "base",
        load: f32.clone(),
        lora: Some(lora.clone()),
        config: config(),
    };
    let with = |name, base, load: &LoadOptions, lora: LoraConfig| Work {
        name,
        base,
        load: load.clone(),
        lora: Some(lora),
        config: config(),
    };
    let nf4 = LoadOptions {
        quantize: Some(Quantization {
            format: QuantFormat::Nf4,
            double: true,
        }),
        ..f32.clone()
    };
    vec![
        with(
            "DoRA",
            "base",
            &f32,
            LoraConfig {
                use_dora: true,
                ..lora.clone()
            },
        ),
        with(
            "biases",
            "base_bias",
            &f32,
            LoraConfig {
                bias: Bias::All,
                ..lora.clone()
            },
        ),
        with(
            "a head of its own",
            "base_tied",
            &bf16,
            LoraConfig {
                modules_to_save: head,
                ..lora.clone()
            },
        ),
        with("QLoRA", "base", &nf4, lora.clone()),
        with("LoRA on bf16", "base", &bf16, lora),
        Work {
            name: "LoRA, padded, by block, weight decay",
            config: TrainConfig {
                packing: Packing::None,
                micro_batch_size: 3,
                gradient_accumulation_steps: 1,
                gradient_checkpointing: true,
                weight_decay: 0.1,
                ..config()
            },
            ..plain.clone()
        },
        Work {
            name: "full",
            lora: None,
            ..plain.clone()
        },
        Work {
            name: "full, bf16",
            lora: None,
            load: bf16,
            ..plain
        },
    ]
}

#[test]
fn every_kind_of_training_goes_on_to_the_same_bytes() {
    for work in kinds() {
        let whole = tempfile::tempdir().unwrap();
        let expected = work.run(whole.path(), None);
        let dir = tempfile::tempdir().unwrap();
        for stop in [2, 5, 6] {
            assert!(
                work.run(dir.path(), Some(stop)) != expected,
                "{}",
                work.name
            );
        }
        assert!(work.run(dir.path(), None) == expected, "{}", work.name);
    }
}
