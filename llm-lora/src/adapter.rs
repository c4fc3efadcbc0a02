//! An adapter on a model: attached, saved, loaded, merged, detached.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::tensor::{DType, Device, Tensor, TensorData};
use llm_core::checkpoint::{LazyTensor, SafetensorsFile, write_tensors};
use llm_core::{LlamaForCausalLM, LoraAdapter, TensorProblem};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::config::InitLoraWeights;
use crate::targets::{self, Targets};
use crate::{Bias, Error, LoraConfig, Result};

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
}

impl Adapter {
    /// Freezes the model and puts a fresh adapter on it, which alone requires gradients. A is random
    /// from `seed`, B is zero, so the model's output does not change.
    ///
    /// # Errors
    /// When the configuration is refused or names modules that the model does not have.
    pub fn attach(model: &mut LlamaForCausalLM, config: LoraConfig, seed: u64) -> Result<Self> {
        let targets = Self::targets(model, &config)?;
        if !targets.unmatched.is_empty() {
            return Err(unknown(model, targets.unmatched));
        }
        Self::with_targets(model, config, targets, seed)
    }

    /// Puts the adapter of a directory in PEFT's format on the model, frozen as everything else is.
    ///
    /// # Errors
    /// When a file is absent or malformed, the configuration is refused, or a tensor is missing,
    /// unexpected or does not fit the model (all are listed).
    pub fn load(model: &mut LlamaForCausalLM, dir: impl AsRef<Path>) -> Result<Self> {
        let config = LoraConfig::from_dir(&dir)?;
        let file = SafetensorsFile::open(dir.as_ref().join(FILE))?;
        let targets = Self::targets(model, &config)?;
        let adapter = Self::with_targets(model, config, targets, 0)?;
        match adapter.read(model, &file) {
            Ok(()) => Ok(adapter),
            Err(error) => {
                adapter.detach(model);
                Err(error)
            }
        }
    }

    fn targets(model: &mut LlamaForCausalLM, config: &LoraConfig) -> Result<Targets> {
        config.validate()?;
        let names_head = |entries: &[String]| entries.iter().any(|entry| entry == "lm_head");
        let head_is_target = matches!(&config.target_modules, Some(crate::Modules::List(entries)) if names_head(entries));
        let own_head = ["lm_head", "model.embed_tokens"]
            .iter()
            .any(|name| targets::is_saved(config, name));
        if head_is_target || own_head {
            model.untie();
        }
        let linears: Vec<String> = model
            .linears_mut()
            .into_iter()
            .map(|(name, _)| name)
            .collect();
        targets::resolve(config, &linears)
    }

    fn with_targets(
        model: &mut LlamaForCausalLM,
        config: LoraConfig,
        targets: Targets,
        seed: u64,
    ) -> Result<Self> {
        let modules: BTreeSet<String> = targets.modules.into_iter().collect();
        if modules.is_empty() && config.modules_to_save.is_none() {
            let asked = serde_json::to_string(&config.target_modules).unwrap_or_default();
            return Err(unknown(model, vec![asked]));
        }
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(STREAM);
        for (name, linear) in model.linears_mut() {
            linear.adapter = match modules.contains(&name) {
                true => Some(fresh(&name, linear, &config, &mut rng)?),
                false => None,
            };
        }
        let mut names = Names {
            path: Vec::new(),
            config: &config,
            modules: &modules,
            keys: BTreeMap::new(),
        };
        model.visit(&mut names);
        let keys = names.keys;
        let mut adapter = Self {
            config,
            modules,
            keys,
            originals: HashMap::new(),
        };
        adapter.check_saved_modules()?;
        let mut keep = Keep {
            path: Vec::new(),
            adapter: &mut adapter,
        };
        model.visit(&mut keep);
        adapter.unfreeze(model);
        Ok(adapter)
    }

    /// Every entry of `modules_to_save` must name something.
    fn check_saved_modules(&self) -> Result<()> {
        for entry in self.config.modules_to_save.iter().flatten() {
            let names = |key: &&String| module_of(key).ends_with(entry.as_str());
            if !self.keys.keys().any(|key| names(&key)) {
                return Err(Error::config(
                    "modules_to_save",
                    "modules of the model",
                    entry,
                ));
            }
        }
        Ok(())
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
    /// When the directory or a file cannot be written.
    pub fn save(&self, model: &LlamaForCausalLM, dir: impl AsRef<Path>) -> Result<()> {
        let dir = dir.as_ref();
        std::fs::create_dir_all(dir).map_err(|source| Error::Io {
            path: dir.to_owned(),
            source,
        })?;
        let mut collect = Collect {
            path: Vec::new(),
            keys: &self.keys,
            tensors: Vec::new(),
        };
        model.visit(&mut collect);
        write_tensors(dir.join(FILE), &collect.tensors)?;
        self.config.save(dir)
    }

    /// Adds the adapter into the weights: `W + s·B·A`, computed in f32. The model is then an ordinary
    /// one, to be saved with [`llm_core::save_model`].
    pub fn merge(self, model: &mut LlamaForCausalLM) {
        for (_, linear) in model.linears_mut() {
            linear.merge();
        }
        take(model, |model| model.no_grad());
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
    }

    /// Compares the file with what the model needs, then takes its values over.
    fn read(&self, model: &mut LlamaForCausalLM, file: &SafetensorsFile) -> Result<()> {
        let mut check = Check {
            path: Vec::new(),
            keys: &self.keys,
            file,
            problems: Vec::new(),
        };
        model.visit(&mut check);
        let mut problems = check.problems;
        let known: BTreeSet<&str> = self.keys.values().map(String::as_str).collect();
        for (name, entry) in file.iter() {
            // PEFT adds a copy of a frozen head or embedding that has an adapter.
            if !known.contains(name) && !name.ends_with(".base_layer.weight") {
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
        let read = &mut Read {
            path: Vec::new(),
            keys: &self.keys,
            file,
        };
        take(model, |model| model.map(read).no_grad());
        Ok(())
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

/// A fresh adapter for one layer, as PEFT's `init_lora_weights` says.
fn fresh(
    name: &str,
    linear: &llm_core::Linear,
    config: &LoraConfig,
    rng: &mut ChaCha8Rng,
) -> Result<LoraAdapter> {
    let [d_in, d_out] = linear.dims();
    let device = linear.weight.lazy_device();
    let (r, scaling) = config.scaling(name)?;
    let uniform =
        |rng: &mut ChaCha8Rng, bound: f64| ((rng.random::<f64>() * 2.0 - 1.0) * bound) as f32;
    let flag = &config.init_lora_weights;
    let a: Vec<f32> = match flag {
        InitLoraWeights::Flag(_) => (0..r * d_in)
            .map(|_| uniform(rng, (d_in as f64).powf(-0.5)))
            .collect(),
        InitLoraWeights::Named(_) => (0..r * d_in)
            .map(|_| llm_core::normal(rng) / r as f32)
            .collect(),
    };
    let b: Vec<f32> = match flag {
        InitLoraWeights::Flag(false) => (0..d_out * r)
            .map(|_| uniform(rng, (r as f64).powf(-0.5)))
            .collect(),
        _ => vec![0.0; d_out * r],
    };
    let mut adapter = LoraAdapter {
        lora_a: matrix(a, [r, d_in], &device),
        lora_b: matrix(b, [d_out, r], &device),
        magnitude: None,
        scaling,
        dropout: config.lora_dropout,
    };
    if config.use_dora {
        let norm = adapter.weight_norm(linear.weight.val());
        adapter.magnitude = Some(Param::from_tensor(norm));
    }
    Ok(adapter)
}

fn matrix(values: Vec<f32>, shape: [usize; 2], device: &Device) -> Param<Tensor<2>> {
    let data = TensorData::new(values, shape);
    Param::from_tensor(Tensor::from_data(data, (device, DType::F32)))
}

/// `model.layers.0.self_attn.q_proj` of `model.layers.0.self_attn.q_proj.weight` and of
/// `model.layers.0.self_attn.q_proj.adapter.lora_a`.
fn module_of(parameter: &str) -> &str {
    let module = parameter
        .rsplit_once('.')
        .map_or(parameter, |(module, _)| module);
    module.strip_suffix(".adapter").unwrap_or(module)
}

/// PEFT's key of a parameter, or `None` for one that is neither trained nor saved.
fn key(parameter: &str, config: &LoraConfig, modules: &BTreeSet<String>) -> Option<String> {
    let module = module_of(parameter);
    let adapted = modules.contains(module);
    let key = match parameter.rsplit('.').next()? {
        "lora_a" => format!("{module}.lora_A.weight"),
        "lora_b" => format!("{module}.lora_B.weight"),
        "magnitude" => format!("{module}.lora_magnitude_vector"),
        _ if targets::is_saved(config, module) => parameter.to_owned(),
        "bias" if adapted && config.bias != Bias::None => format!("{module}.base_layer.bias"),
        "bias" if config.bias == Bias::All => parameter.to_owned(),
        _ => return None,
    };
    Some(format!("base_model.model.{key}"))
}

/// Implements the bookkeeping of the path that all visitors and mappers here need.
macro_rules! track_path {
    () => {
        fn enter_module(&mut self, name: &str, _: &str) {
            self.path.push(name.to_owned());
        }

        fn exit_module(&mut self, _: &str, _: &str) {
            self.path.pop();
        }
    };
}

/// Finds the parameters that belong to the adapter.
struct Names<'a> {
    path: Vec<String>,
    config: &'a LoraConfig,
    modules: &'a BTreeSet<String>,
    keys: BTreeMap<String, String>,
}

impl ModuleVisitor for Names<'_> {
    track_path!();

    fn visit_float<const D: usize>(&mut self, _: &Param<Tensor<D>>) {
        let name = self.path.join(".");
        if let Some(key) = key(&name, self.config, self.modules) {
            self.keys.insert(name, key);
        }
    }
}

/// Remembers those of the base's parameters that will be trained.
struct Keep<'a> {
    path: Vec<String>,
    adapter: &'a mut Adapter,
}

impl ModuleVisitor for Keep<'_> {
    track_path!();

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let name = self.path.join(".");
        if self.adapter.keys.contains_key(&name) && !name.contains(".adapter.") {
            let flat = param.val().detach().reshape([-1]);
            self.adapter.originals.insert(name, flat);
        }
    }
}

/// Gives back what [`Keep`] remembered.
struct Restore<'a> {
    path: Vec<String>,
    originals: &'a HashMap<String, Tensor<1>>,
}

impl ModuleMapper for Restore<'_> {
    track_path!();

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        match self.originals.get(&self.path.join(".")) {
            Some(original) => {
                let (shape, id) = (param.lazy_shape(), param.id);
                param.transform_for_load(original.clone().reshape(shape), id)
            }
            None => param,
        }
    }
}

/// Lets the adapter's parameters, and no other, require gradients.
struct Activate<'a> {
    path: Vec<String>,
    keys: &'a BTreeMap<String, String>,
}

impl ModuleMapper for Activate<'_> {
    track_path!();

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let trained = self.keys.contains_key(&self.path.join("."));
        param.set_require_grad(trained)
    }
}

/// Collects what is saved.
struct Collect<'a> {
    path: Vec<String>,
    keys: &'a BTreeMap<String, String>,
    tensors: Vec<LazyTensor>,
}

impl ModuleVisitor for Collect<'_> {
    track_path!();

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(key) = self.keys.get(&self.path.join(".")) {
            self.tensors
                .push(LazyTensor::new(key, param.val(), DType::F32));
        }
    }
}

/// Compares a file with the adapter's parameters.
struct Check<'a> {
    path: Vec<String>,
    keys: &'a BTreeMap<String, String>,
    file: &'a SafetensorsFile,
    problems: Vec<TensorProblem>,
}

impl ModuleVisitor for Check<'_> {
    track_path!();

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let Some(name) = self.keys.get(&self.path.join(".")).cloned() else {
            return;
        };
        let expected = param.lazy_shape().to_vec();
        self.problems.extend(match self.file.get(&name) {
            None => Some(TensorProblem::Missing { name, expected }),
            Some(entry) if entry.shape != expected => {
                let got = entry.shape.to_vec();
                Some(TensorProblem::Misshapen {
                    name,
                    expected,
                    got,
                })
            }
            Some(entry) if !entry.is_float() => {
                let got = format!("{:?}", entry.dtype);
                Some(TensorProblem::WrongDtype { name, got })
            }
            Some(_) => None,
        });
    }
}

/// Takes a file's values over.
struct Read<'a> {
    path: Vec<String>,
    keys: &'a BTreeMap<String, String>,
    file: &'a SafetensorsFile,
}

impl ModuleMapper for Read<'_> {
    track_path!();

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let key = self.keys.get(&self.path.join("."));
        match key.and_then(|key| self.file.get(key)) {
            Some(entry) => {
                let (device, dtype) = (param.lazy_device(), param.val().dtype());
                let (data, _) = entry.to_data(dtype);
                param.transform_for_load(Tensor::from_data(data, (&device, dtype)), ParamId::new())
            }
            None => param,
        }
    }
}
