//! From a checkpoint to a model.

use std::collections::HashMap;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Bytes, DType, Device, Tensor, TensorData};
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
            match entries.remove(name.as_str()) {
                None => problems.push(TensorProblem::Missing { name, expected }),
                Some(entry) if entry.shape != expected => {
                    let got = entry.shape.to_vec();
                    problems.push(TensorProblem::Misshapen {
                        name,
                        expected,
                        got,
                    });
                }
                Some(entry) if !entry.is_float() => {
                    let got = format!("{:?}", entry.dtype);
                    problems.push(TensorProblem::WrongDtype { name, got });
                }
                Some(_) => {}
            }
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

    /// The tensor as F32, F16 or BF16, and how many of its values are not finite. The entry must be
    /// a [float](Self::is_float).
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
        let mut not_finite = 0;
        let values = self.bytes.as_chunks::<N>().0.iter().map(|bytes| {
            let value = read(*bytes);
            not_finite += usize::from(!value.is_finite());
            value
        });
        let (bytes, dtype) = match dtype {
            DType::F16 => (
                Bytes::from_elems::<f16>(values.map(f16::from_f32).collect()),
                dtype,
            ),
            DType::BF16 => (
                Bytes::from_elems::<bf16>(values.map(bf16::from_f32).collect()),
                dtype,
            ),
            _ => (Bytes::from_elems::<f32>(values.collect()), DType::F32),
        };
        (
            TensorData::from_bytes(bytes, self.shape.to_vec(), dtype),
            not_finite,
        )
    }
}
