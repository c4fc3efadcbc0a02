//! Walks over a model's parameters by name.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use burn::module::{ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::tensor::{DType, Tensor};
use llm_core::TensorProblem;
use llm_core::checkpoint::{LazyTensor, SafetensorsFile};

use crate::track_path::track_path;
use crate::{Bias, LoraConfig, Result, targets};

/// `model.layers.0.self_attn.q_proj` of `model.layers.0.self_attn.q_proj.weight` and of
/// `model.layers.0.self_attn.q_proj.adapter.lora_a`.
pub(super) fn module_of(parameter: &str) -> &str {
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

/// Finds the parameters that belong to the adapter.
pub(super) struct Names<'a> {
    pub(super) path: Vec<String>,
    pub(super) config: &'a LoraConfig,
    pub(super) modules: &'a BTreeSet<String>,
    pub(super) keys: BTreeMap<String, String>,
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

/// Remembers what parameters that will be trained are before.
pub(super) struct Keep<'a> {
    pub(super) path: Vec<String>,
    pub(super) keys: &'a BTreeMap<String, String>,
    /// Which of them, by their names.
    pub(super) chosen: fn(&str) -> bool,
    /// Flat.
    pub(super) values: HashMap<String, Tensor<1>>,
}

impl ModuleVisitor for Keep<'_> {
    track_path!();

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let name = self.path.join(".");
        if self.keys.contains_key(&name) && (self.chosen)(&name) {
            let flat = param.val().detach().reshape([-1]);
            self.values.insert(name, flat);
        }
    }
}

/// Gives back what [`Keep`] remembered.
pub(super) struct Restore<'a> {
    pub(super) path: Vec<String>,
    pub(super) originals: &'a HashMap<String, Tensor<1>>,
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
pub(super) struct Activate<'a> {
    pub(super) path: Vec<String>,
    pub(super) keys: &'a BTreeMap<String, String>,
}

impl ModuleMapper for Activate<'_> {
    track_path!();

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let trained = self.keys.contains_key(&self.path.join("."));
        param.set_require_grad(trained)
    }
}

/// Collects what is saved.
pub(super) struct Collect<'a> {
    pub(super) path: Vec<String>,
    pub(super) keys: &'a BTreeMap<String, String>,
    pub(super) tensors: Result<Vec<LazyTensor>>,
}

impl ModuleVisitor for Collect<'_> {
    track_path!();

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let (Some(key), Ok(tensors)) = (self.keys.get(&self.path.join(".")), &mut self.tensors)
        else {
            return;
        };
        match LazyTensor::new(key, param.val(), DType::F32) {
            Ok(tensor) => tensors.push(tensor),
            Err(error) => self.tensors = Err(error.into()),
        }
    }
}

/// Compares a file with the adapter's parameters.
pub(super) struct Check<'a> {
    pub(super) path: Vec<String>,
    pub(super) keys: &'a BTreeMap<String, String>,
    pub(super) file: &'a SafetensorsFile,
    pub(super) problems: Vec<TensorProblem>,
    /// The first tensor with values that are not finite, and how many.
    pub(super) not_finite: Option<(String, usize)>,
}

impl ModuleVisitor for Check<'_> {
    track_path!();

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(key) = self.keys.get(&self.path.join(".")) {
            let (expected, entry) = (param.lazy_shape().to_vec(), self.file.get(key));
            let problem = TensorProblem::find(key, &expected, entry);
            let count = match (&problem, entry) {
                (None, Some(entry)) => entry.to_data(DType::F32).1,
                _ => 0,
            };
            self.problems.extend(problem);
            if count > 0 && self.not_finite.is_none() {
                self.not_finite = Some((self.path.join("."), count));
            }
        }
    }
}

/// Takes a file's values over.
pub(super) struct Read<'a> {
    pub(super) path: Vec<String>,
    pub(super) keys: &'a BTreeMap<String, String>,
    pub(super) file: &'a SafetensorsFile,
}

impl ModuleMapper for Read<'_> {
    track_path!();

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let name = self.path.join(".");
        let key = self.keys.get(&name);
        let Some(entry) = key.and_then(|key| self.file.get(key)) else {
            return param;
        };
        // The adapter's own matrices are f32 on any base.
        let dtype = match name.contains(".adapter.") {
            true => DType::F32,
            false => param.val().dtype(),
        };
        let (data, _) = entry.to_data(dtype);
        let device = param.lazy_device();
        param.transform_for_load(Tensor::from_data(data, (&device, dtype)), ParamId::new())
    }
}
