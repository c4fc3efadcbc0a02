//! From a checkpoint to a model.

use std::collections::HashMap;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Bytes, DType, Device, Element, Tensor, TensorData};
use half::{bf16, f16};
use safetensors::tensor::Dtype;

use super::Checkpoint;
use super::safetensors::{SafetensorsFile, TensorEntry};
use crate::{Error, LlamaForCausalLM, Result, TensorProblem, default_dtype};

/// How to load a model.
#[derive(Debug, Clone, Default)]
pub struct LoadOptions {
    /// The type to compute in; by default [`default_dtype`] of the device.
    pub dtype: Option<DType>,
    /// Whether NaN or infinite weights are an error rather than a warning.
    pub strict: bool,
}

/// A loaded model, with what was noticed on the way.
#[derive(Debug)]
pub struct Loaded {
    /// The model.
    pub model: LlamaForCausalLM,
    /// Tensors that hold NaN or infinite values, a sentence each.
    pub warnings: Vec<String>,
}

impl Checkpoint {
    /// Loads the model onto `device`, tensor by tensor: beyond the model itself at most one tensor
    /// is held in memory. The model does not require gradients.
    ///
    /// # Errors
    /// When tensors are missing, unexpected, misshapen or of an unusable type (all are listed), or
    /// with `strict` when a value is not finite.
    pub fn load(&self, device: &Device, options: &LoadOptions) -> Result<Loaded> {
        let dtype = options.dtype.unwrap_or_else(|| default_dtype(device));
        on_disk(dtype)?;
        if !device.supports_dtype(dtype) {
            let reason = format!("does not compute in {dtype:?}");
            return Err(Error::Device {
                name: format!("{device:?}"),
                reason,
            });
        }
        let model = LlamaForCausalLM::new(&self.config, device);
        self.check(&model)?;
        let mut loader = Loader {
            entries: self.entries(),
            path: Vec::new(),
            dtype,
            problems: Vec::new(),
        };
        let model = model.map(&mut loader).no_grad();
        if let Some((tensor, count)) = loader.problems.first().filter(|_| options.strict) {
            return Err(Error::NonFinite {
                path: self.dir.clone(),
                tensor: tensor.clone(),
                count: *count,
            });
        }
        let warning = |(tensor, count): &(String, usize)| {
            format!("tensor `{tensor}` holds {count} values that are NaN or infinite")
        };
        Ok(Loaded {
            model,
            warnings: loader.problems.iter().map(warning).collect(),
        })
    }

    fn entries(&self) -> HashMap<&str, TensorEntry<'_>> {
        self.shards.iter().flat_map(SafetensorsFile::iter).collect()
    }

    /// Compares names, shapes and types before anything is allocated.
    fn check(&self, model: &LlamaForCausalLM) -> Result<()> {
        let mut entries = self.entries();
        let mut expected = Shapes::default();
        model.visit(&mut expected);
        let mut problems = Vec::new();
        for (name, expected) in expected.shapes {
            let entry = entries.remove(name.as_str());
            problems.extend(TensorProblem::find(&name, &expected, entry));
        }
        let mut unexpected: Vec<_> = entries.into_iter().collect();
        unexpected.sort_by_key(|(name, _)| *name);
        for (name, entry) in unexpected {
            // Recomputed from the configuration, or the embedding's second copy.
            let redundant = name.ends_with("rotary_emb.inv_freq")
                || (name == "lm_head.weight" && self.config.tie_word_embeddings);
            if !redundant {
                let (name, got) = (name.to_owned(), entry.shape.to_vec());
                problems.push(TensorProblem::Unexpected { name, got });
            }
        }
        match problems.is_empty() {
            true => Ok(()),
            false => Err(Error::Tensors {
                path: self.dir.clone(),
                problems,
            }),
        }
    }
}

/// Collects the name and shape of every parameter, in the model's order.
#[derive(Default)]
pub(super) struct Shapes {
    path: Vec<String>,
    pub(super) shapes: Vec<(String, Vec<usize>)>,
}

impl ModuleVisitor for Shapes {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.shapes
            .push((self.path.join("."), param.lazy_shape().to_vec()));
    }
}

struct Loader<'a> {
    entries: HashMap<&'a str, TensorEntry<'a>>,
    path: Vec<String>,
    dtype: DType,
    /// Tensors with values that are not finite, and how many.
    problems: Vec<(String, usize)>,
}

impl ModuleMapper for Loader<'_> {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let name = self.path.join(".");
        let Some(entry) = self.entries.get(name.as_str()) else {
            return param;
        };
        let (data, not_finite) = entry.to_data(self.dtype);
        if not_finite > 0 {
            self.problems.push((name, not_finite));
        }
        let (device, id) = (param.lazy_device(), param.id);
        param.transform_for_load(Tensor::from_data(data, (&device, self.dtype)), id)
    }
}

impl TensorEntry<'_> {
    /// Whether the elements are of a type that models are read from: F32, F16 or BF16.
    pub fn is_float(&self) -> bool {
        matches!(self.dtype, Dtype::F32 | Dtype::F16 | Dtype::BF16)
    }

    /// The tensor as F32, F16 or BF16 (what is none of them comes as F32), and how many of the new
    /// values are not finite. The entry must be a [float](Self::is_float).
    pub fn to_data(&self, dtype: DType) -> (TensorData, usize) {
        match self.dtype {
            Dtype::F32 => self.cast(dtype, f32::from_le_bytes),
            Dtype::F16 => self.cast(dtype, |b| f16::from_le_bytes(b).to_f32()),
            _ => self.cast(dtype, |b| bf16::from_le_bytes(b).to_f32()),
        }
    }

    fn cast<const N: usize>(
        &self,
        dtype: DType,
        read: impl Fn([u8; N]) -> f32,
    ) -> (TensorData, usize) {
        let values = self
            .bytes
            .as_chunks::<N>()
            .0
            .iter()
            .map(|bytes| read(*bytes));
        match dtype {
            DType::F16 => self.collect(values.map(f16::from_f32), dtype, |x| x.is_finite()),
            DType::BF16 => self.collect(values.map(bf16::from_f32), dtype, |x| x.is_finite()),
            _ => self.collect(values, DType::F32, |x| x.is_finite()),
        }
    }

    fn collect<E: Element>(
        &self,
        values: impl Iterator<Item = E>,
        dtype: DType,
        is_finite: impl Fn(&E) -> bool,
    ) -> (TensorData, usize) {
        let values: Vec<E> = values.collect();
        let not_finite = values.iter().filter(|value| !is_finite(value)).count();
        let bytes = Bytes::from_elems(values);
        (
            TensorData::from_bytes(bytes, self.shape.to_vec(), dtype),
            not_finite,
        )
    }
}

/// The safetensors type of a type that models are computed and stored in.
pub(super) fn on_disk(dtype: DType) -> Result<Dtype> {
    match dtype {
        DType::F32 => Ok(Dtype::F32),
        DType::F16 => Ok(Dtype::F16),
        DType::BF16 => Ok(Dtype::BF16),
        other => Err(Error::Dtype {
            dtype: format!("{other:?}"),
        }),
    }
}
