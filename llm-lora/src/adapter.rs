//! An adapter on a model: attached, saved, loaded, merged, detached.

mod parameters;
mod proof;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

use burn::module::{Initializer, Module, Param};
use burn::tensor::{DType, Device, Tensor, TensorData};
use llm_core::checkpoint::{SafetensorsFile, write_tensors};
use llm_core::{Linear, LlamaForCausalLM, LoraAdapter, TensorProblem};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::config::InitLoraWeights;
use crate::targets::{self, Targets};
use crate::{Error, LoraConfig, Result};
use parameters::{Activate, Check, Collect, Keep, Names, Read, Restore, module_of};

/// The file of the adapter's weights.
const FILE: &str = "adapter_model.safetensors";

/// The ChaCha stream of fresh adapters.
const STREAM: u64 = u64::from_be_bytes(*b"adapters");

/// The record of an adapter that is attached to a model: its configuration, and which of the model's
/// parameters belong to it.
///
/// ```no_run
/// use llm_core::{Checkpoint, LoadOptions, open_device};
/// use llm_lora::{Adapter, LoraConfig};
///
/// let checkpoint = Checkpoint::open("path/to/model")?;
/// let mut model = checkpoint.load(&open_device("cpu")?, &LoadOptions::default())?.model;
/// let adapter = Adapter::attach(&mut model, LoraConfig::default(), 42)?;
/// // … train …
/// adapter.save(&model, "path/to/adapter")?;
/// # Ok::<(), llm_lora::Error>(())
/// ```
#[derive(Debug)]
pub struct Adapter {
    config: LoraConfig,
    /// Names of the linear layers that have an adapter.
    modules: BTreeSet<String>,
    /// The parameters that are trained and saved: the model's name to PEFT's key.
    keys: BTreeMap<String, String>,
    /// What biases and saved modules were before training, flat.
    originals: HashMap<String, Tensor<1>>,
    /// What each B was before training, flat.
    starts: HashMap<String, Tensor<1>>,
    /// Whether the model's head was tied to the embedding before.
    was_tied: bool,
}

/// How the matrices of a new adapter begin.
enum Start {
    /// Random, from a seed.
    Fresh(Box<ChaCha8Rng>),
    /// Unallocated, to be read from a file.
    Lazy,
    /// Unallocated for good: only names and shapes are of interest.
    Sketch,
}

impl Adapter {
    /// Freezes the model and puts a fresh adapter on it, which alone requires gradients. A is random
    /// from `seed`, B is zero, so the model's output does not change.
    ///
    /// # Errors
    /// When the configuration is refused, names modules that the model does not have, or the model
    /// has an adapter already. The model is then as it was.
    pub fn attach(model: &mut LlamaForCausalLM, config: LoraConfig, seed: u64) -> Result<Self> {
        let targets = targets(model, &config)?;
        if !targets.unmatched.is_empty() {
            return Err(unknown(model, targets.unmatched));
        }
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(STREAM);
        let start = Start::Fresh(Box::new(rng));
        let mut adapter = Self::with_targets(model, config, targets, start)?;
        adapter.starts = adapter.collect_starts(model);
        Ok(adapter)
    }

    /// Puts the adapter of a directory in PEFT's format on the model, frozen as everything else is.
    ///
    /// # Errors
    /// When a file is absent or malformed, the configuration is refused, a tensor is missing,
    /// unexpected, not finite or does not fit the model (all are listed), or the model has an adapter
    /// already. The model is then as it was.
    pub fn load(model: &mut LlamaForCausalLM, dir: impl AsRef<Path>) -> Result<Self> {
        let config = LoraConfig::from_dir(&dir)?;
        let file = SafetensorsFile::open(dir.as_ref().join(FILE))?;
        let targets = targets(model, &config)?;
        let mut adapter = Self::with_targets(model, config, targets, Start::Lazy)?;
        match adapter.read(model, &file) {
            Ok(()) => {
                adapter.starts = adapter.collect_starts(model);
                Ok(adapter)
            }
            Err(error) => {
                adapter.detach(model);
                Err(error)
            }
        }
    }

    /// Puts an adapter without values on a model without values, to see what it would be.
    pub(crate) fn sketch(model: &mut LlamaForCausalLM, config: LoraConfig) -> Result<Self> {
        let targets = targets(model, &config)?;
        if !targets.unmatched.is_empty() {
            return Err(unknown(model, targets.unmatched));
        }
        Self::with_targets(model, config, targets, Start::Sketch)
    }

    /// Whether a parameter of the model is trained.
    pub(crate) fn trains(&self, parameter: &str) -> bool {
        self.keys.contains_key(parameter)
    }

    /// Whether any parameter is trained whose name begins so.
    pub(crate) fn trains_in(&self, prefix: &str) -> bool {
        let mut from = self.keys.range(prefix.to_owned()..);
        from.next()
            .is_some_and(|(name, _)| name.starts_with(prefix))
    }

    /// Gives the attached adapter the values of one of the same shape on disk: a checkpoint's. It is then
    /// as ready to be trained as before.
    ///
    /// # Errors
    /// When the file is absent or malformed, or does not fit; the model is then as it was.
    pub fn restore(&self, model: &mut LlamaForCausalLM, dir: impl AsRef<Path>) -> Result<()> {
        self.read(model, &SafetensorsFile::open(dir.as_ref().join(FILE))?)?;
        self.unfreeze(model);
        Ok(())
    }

    fn with_targets(
        model: &mut LlamaForCausalLM,
        config: LoraConfig,
        targets: Targets,
        mut start: Start,
    ) -> Result<Self> {
        let modules: BTreeSet<String> = targets.modules.into_iter().collect();
        check_saved_modules(model, &config)?;
        if modules.is_empty() && config.modules_to_save.is_none() {
            let asked = serde_json::to_string(&config.target_modules).unwrap_or_default();
            return Err(unknown(model, vec![asked]));
        }
        let scalings = config.scalings()?;
        let own_head = ["lm_head", "model.embed_tokens"];
        let own_head = modules.contains("lm_head")
            || own_head.iter().any(|name| targets::is_saved(&config, name));
        let was_tied = model.config().tie_word_embeddings;
        if own_head {
            model.untie();
        }
        for (name, linear) in model.linears_mut() {
            if modules.contains(&name) {
                linear.adapter = Some(start.adapter(linear, &config, scalings.of(&name)));
            }
        }
        let mut names = Names {
            path: Vec::new(),
            config: &config,
            modules: &modules,
            keys: BTreeMap::new(),
        };
        model.visit(&mut names);
        let keys = names.keys;
        let mut keep = Keep {
            path: Vec::new(),
            keys: &keys,
            chosen: |name| !name.contains(".adapter."),
            values: HashMap::new(),
        };
        if !matches!(start, Start::Sketch) {
            model.visit(&mut keep);
        }
        let originals = keep.values;
        let adapter = Self {
            config,
            modules,
            keys,
            originals,
            starts: HashMap::new(),
            was_tied,
        };
        adapter.unfreeze(model);
        Ok(adapter)
    }

    fn collect_starts(&self, model: &LlamaForCausalLM) -> HashMap<String, Tensor<1>> {
        let mut keep = Keep {
            path: Vec::new(),
            keys: &self.keys,
            chosen: |name| name.ends_with(".adapter.lora_b"),
            values: HashMap::new(),
        };
        model.visit(&mut keep);
        keep.values
    }

    /// The configuration.
    pub fn config(&self) -> &LoraConfig {
        &self.config
    }

    /// The names of the adapted linear layers.
    pub fn modules(&self) -> impl Iterator<Item = &str> {
        self.modules.iter().map(String::as_str)
    }

    /// Lets the adapter's parameters, and no others of the model, require gradients: to train on with
    /// an adapter that was loaded.
    pub fn unfreeze(&self, model: &mut LlamaForCausalLM) {
        let activate = &mut Activate {
            path: Vec::new(),
            keys: &self.keys,
        };
        take(model, |model| model.map(activate));
    }

    /// Writes `adapter_config.json` and `adapter_model.safetensors` in PEFT's format, f32.
    ///
    /// # Errors
    /// When the model is not the one with the adapter, or the directory or a file cannot be written.
    pub fn save(&self, model: &LlamaForCausalLM, dir: impl AsRef<Path>) -> Result<()> {
        let dir = dir.as_ref();
        let mut collect = Collect {
            path: Vec::new(),
            keys: &self.keys,
            tensors: Ok(Vec::new()),
        };
        model.visit(&mut collect);
        let tensors = collect.tensors?;
        if tensors.len() != self.keys.len() {
            return Err(Error::OtherModel {
                expected: self.keys.len(),
                got: tensors.len(),
            });
        }
        std::fs::create_dir_all(dir).map_err(|source| Error::Io {
            path: dir.to_owned(),
            source,
        })?;
        write_tensors(dir.join(FILE), &tensors)?;
        self.config.save(dir)
    }

    /// Adds the adapter into the weights: `W + s·B·A`, computed in f32. The model is then an ordinary
    /// one, to be saved with [`llm_core::save_model`].
    ///
    /// A quantised layer that has an adapter becomes dense: the values that the adapter was trained beside,
    /// which differ from those before the quantisation.
    ///
    /// # Errors
    /// When a device fails to hand a quantised weight out.
    pub fn merge(self, model: &mut LlamaForCausalLM) -> Result<()> {
        for (_, linear) in model.linears_mut() {
            linear.merge()?;
        }
        take(model, |model| model.no_grad());
        Ok(())
    }

    /// Takes the adapter off and gives back to the model what it was before.
    pub fn detach(self, model: &mut LlamaForCausalLM) {
        for (_, linear) in model.linears_mut() {
            linear.adapter = None;
        }
        let restore = &mut Restore {
            path: Vec::new(),
            originals: &self.originals,
        };
        take(model, |model| model.map(restore).no_grad());
        if self.was_tied {
            model.tie();
        }
    }

    /// Compares the file with what the model needs, then takes its values over.
    fn read(&self, model: &mut LlamaForCausalLM, file: &SafetensorsFile) -> Result<()> {
        let mut check = Check {
            path: Vec::new(),
            keys: &self.keys,
            file,
            problems: Vec::new(),
            not_finite: None,
        };
        model.visit(&mut check);
        let mut problems = check.problems;
        let known: BTreeSet<&str> = self.keys.values().map(String::as_str).collect();
        for (name, entry) in file.iter() {
            // PEFT adds a copy of a frozen head or embedding that has an adapter.
            let copy =
                ["lm_head", "embed_tokens"].map(|module| format!("{module}.base_layer.weight"));
            if !known.contains(name) && !copy.iter().any(|copy| name.ends_with(copy)) {
                let (name, got) = (name.to_owned(), entry.shape.to_vec());
                problems.push(TensorProblem::Unexpected { name, got });
            }
        }
        if !problems.is_empty() {
            return Err(Error::AdapterTensors {
                path: file.path().to_owned(),
                problems,
            });
        }
        if let Some((tensor, count)) = check.not_finite {
            let path = file.path().to_owned();
            let error = llm_core::Error::NonFinite {
                path,
                tensor,
                count,
            };
            return Err(error.into());
        }
        let mut read = Read {
            path: Vec::new(),
            keys: &self.keys,
            file,
        };
        take(model, |model| model.map(&mut read).no_grad());
        Ok(())
    }
}

impl Start {
    /// An adapter for one layer, as PEFT's `init_lora_weights` says.
    fn adapter(
        &mut self,
        linear: &Linear,
        config: &LoraConfig,
        (r, scaling): (usize, f64),
    ) -> LoraAdapter {
        let [d_in, d_out] = linear.dims();
        let device = linear.device();
        let [lora_a, lora_b] = match self {
            Self::Lazy | Self::Sketch => {
                [[r, d_in], [d_out, r]].map(|shape| Initializer::Zeros.init(shape, &device))
            }
            Self::Fresh(rng) => fresh([d_in, d_out], r, &config.init_lora_weights, rng, &device),
        };
        let mut adapter = LoraAdapter {
            lora_a,
            lora_b,
            magnitude: None,
            scaling,
            dropout: config.lora_dropout,
        };
        if config.use_dora {
            adapter.magnitude = Some(match self {
                Self::Lazy | Self::Sketch => Initializer::Zeros.init([d_out], &device),
                Self::Fresh(_) => Param::from_tensor(adapter.weight_norm(linear)),
            });
        }
        adapter
    }
}

/// Random A and, but for `init_lora_weights: false`, zero B.
fn fresh(
    [d_in, d_out]: [usize; 2],
    r: usize,
    init: &InitLoraWeights,
    rng: &mut ChaCha8Rng,
    device: &Device,
) -> [Param<Tensor<2>>; 2] {
    let uniform =
        |rng: &mut ChaCha8Rng, bound: f64| ((rng.random::<f64>() * 2.0 - 1.0) * bound) as f32;
    let a: Vec<f32> = match init {
        InitLoraWeights::Flag(_) => (0..r * d_in)
            .map(|_| uniform(rng, (d_in as f64).powf(-0.5)))
            .collect(),
        InitLoraWeights::Named(_) => (0..r * d_in)
            .map(|_| llm_core::normal(rng) / r as f32)
            .collect(),
    };
    let b: Vec<f32> = match init {
        InitLoraWeights::Flag(false) => (0..d_out * r)
            .map(|_| uniform(rng, (r as f64).powf(-0.5)))
            .collect(),
        _ => vec![0.0; d_out * r],
    };
    let matrix = |values, shape: [usize; 2]| {
        let data = TensorData::new(values, shape);
        Param::from_tensor(Tensor::from_data(data, (device, DType::F32)))
    };
    [matrix(a, [r, d_in]), matrix(b, [d_out, r])]
}

/// The modules that the configuration chooses; a tied head counts, as it can be given weights.
fn targets(model: &mut LlamaForCausalLM, config: &LoraConfig) -> Result<Targets> {
    config.validate()?;
    let mut linears = Vec::new();
    for (name, linear) in model.linears_mut() {
        if linear.adapter.is_some() {
            return Err(Error::AlreadyAttached);
        }
        linears.push(name);
    }
    if model.lm_head.is_none() {
        linears.push("lm_head".to_owned());
    }
    targets::resolve(config, &linears)
}

/// Every entry of `modules_to_save` must name something.
fn check_saved_modules(model: &LlamaForCausalLM, config: &LoraConfig) -> Result<()> {
    let Some(entries) = &config.modules_to_save else {
        return Ok(());
    };
    let mut all = Names {
        path: Vec::new(),
        config: &LoraConfig {
            modules_to_save: Some(vec![String::new()]),
            ..LoraConfig::default()
        },
        modules: &BTreeSet::new(),
        keys: BTreeMap::new(),
    };
    model.visit(&mut all);
    let modules: Vec<&str> = all
        .keys
        .keys()
        .map(|name| module_of(name))
        .chain(["lm_head"])
        .collect();
    let unknown = |entry: &&String| {
        !modules
            .iter()
            .any(|module| module.ends_with(entry.as_str()))
    };
    match entries.iter().find(unknown) {
        Some(entry) => Err(Error::config(
            "modules_to_save",
            "modules of the model",
            entry,
        )),
        None => Ok(()),
    }
}

fn unknown(model: &mut LlamaForCausalLM, unknown: Vec<String>) -> Error {
    let mut known = Vec::new();
    for (name, _) in model.linears_mut() {
        let last = name.rsplit('.').next().unwrap_or_default().to_owned();
        if !known.contains(&last) {
            known.push(last);
        }
    }
    Error::UnknownTargets { unknown, known }
}

/// Replaces a model by what `f` makes of it. Cloning a model clones handles, not tensors.
fn take(model: &mut LlamaForCausalLM, f: impl FnOnce(LlamaForCausalLM) -> LlamaForCausalLM) {
    *model = f(model.clone());
}
