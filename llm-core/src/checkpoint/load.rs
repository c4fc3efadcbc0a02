//! From a checkpoint to a model.

use std::collections::{HashMap, HashSet};

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Bytes, DType, Device, Element, Tensor, TensorData};
use half::{bf16, f16};
use safetensors::tensor::Dtype;

use super::Checkpoint;
use super::safetensors::{SafetensorsFile, TensorEntry};
use crate::quant::{
    HubDtype, HubTensor, QuantError, Quantization, QuantizedTensor, QuantizedWeight,
};
use crate::{Error, LlamaForCausalLM, Result, TensorProblem, default_dtype, is_cpu};

/// How to load a model.
#[derive(Debug, Clone, Default)]
pub struct LoadOptions {
    /// The type of weights and products; by default [`default_dtype`] of the device. On the CPU it is
    /// F32 or BF16, and concerns matrices only: everything else there is computed in F32.
    pub dtype: Option<DType>,
    /// Whether NaN or infinite weights are an error rather than a warning.
    pub strict: bool,
    /// How to quantise the linear layers, the head excepted, if at all. Each is quantised as it is read, so
    /// that the dense model never has to fit. Layers that are quantised on disk stay as they are.
    pub quantize: Option<Quantization>,
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
        let _span = tracing::info_span!("load", path = %self.dir.display()).entered();
        let dtype = options.dtype.unwrap_or_else(|| default_dtype(device));
        on_disk(dtype)?;
        if !device.supports_dtype(dtype) || (is_cpu(device) && dtype == DType::F16) {
            let reason = format!("does not compute in {dtype:?}");
            return Err(Error::Device {
                name: format!("{device:?}"),
                reason,
            });
        }
        let mut model = LlamaForCausalLM::new(&self.config, device);
        let coded = self.coded_layers(&mut model);
        self.check(&model, &coded)?;
        self.load_quantized(&mut model, &coded, dtype, options.quantize)?;
        let entries = self.shards.iter().flat_map(|shard| {
            let with_shard = move |(name, entry)| (name, (entry, shard));
            shard.iter().map(with_shard)
        });
        let mut loader = Loader {
            entries: entries.collect(),
            on_cpu: is_cpu(device),
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

    /// The linear layers that are quantised on disk.
    fn coded_layers(&self, model: &mut LlamaForCausalLM) -> HashSet<String> {
        let entries = self.entries();
        let is_coded = |layer: &String| {
            ["weight.absmax", "SCB"]
                .iter()
                .any(|part| entries.contains_key(format!("{layer}.{part}").as_str()))
        };
        let linears = model.linears_mut().into_iter().map(|(name, _)| name);
        linears.filter(is_coded).collect()
    }

    /// Reads the layers that are quantised on disk, and quantises the others if that is asked for.
    fn load_quantized(
        &self,
        model: &mut LlamaForCausalLM,
        coded: &HashSet<String>,
        dtype: DType,
        quantize: Option<Quantization>,
    ) -> Result<()> {
        let entries = self.entries();
        let error = |source| Error::Quantization {
            path: self.dir.clone(),
            source,
        };
        for (layer, linear) in model.linears_mut() {
            let name = format!("{layer}.weight");
            let weight = if coded.contains(&layer) {
                QuantizedWeight::from_hub(&layer, |name| hub_tensor(entries.get(name)?))
                    .map_err(error)?
            } else if let (Some(quantize), true) = (quantize, layer != "lm_head") {
                let Some(entry) = entries.get(name.as_str()) else {
                    continue;
                };
                let (values, _) = entry.to_data(DType::F32);
                let values = values.as_slice().unwrap_or_default();
                let [d_in, d_out] = linear.dims();
                let (format, double) = (quantize.format, quantize.double);
                QuantizedWeight::quantize(values, [d_out, d_in], format, double).map_err(
                    |source| {
                        let (tensor, source) = (name.clone(), Box::new(source));
                        error(QuantError::Tensor { tensor, source })
                    },
                )?
            } else {
                continue;
            };
            self.shards
                .iter()
                .for_each(|shard| shard.release_tensor(&name));
            let [d_in, d_out] = linear.dims();
            if weight.shape() != [d_out, d_in] {
                return Err(Error::Tensors {
                    path: self.dir.clone(),
                    problems: vec![TensorProblem::Misshapen {
                        name,
                        expected: vec![d_out, d_in],
                        got: weight.shape().to_vec(),
                    }],
                });
            }
            linear.set_quantized(QuantizedTensor::new(weight, &linear.device(), dtype))?;
        }
        Ok(())
    }

    /// Compares names, shapes and types before anything is allocated. The layers that are `coded` check
    /// their own tensors as they are read.
    fn check(&self, model: &LlamaForCausalLM, coded: &HashSet<String>) -> Result<()> {
        let mut entries = self.entries();
        entries.retain(|name, _| {
            let is_part = |layer| coded.contains(layer);
            let weight = name.find(".weight").or_else(|| name.find(".SCB"));
            !weight.is_some_and(|end| is_part(&name[..end]))
        });
        let mut expected = Shapes::default();
        model.visit(&mut expected);
        let is_coded = |name: &str| {
            name.strip_suffix(".weight")
                .is_some_and(|layer| coded.contains(layer))
        };
        expected.shapes.retain(|(name, _)| !is_coded(name));
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

/// A tensor as the codecs take it, if it is of a type that they know.
fn hub_tensor<'a>(entry: &TensorEntry<'a>) -> Option<HubTensor<'a>> {
    let dtype = match entry.dtype {
        Dtype::U8 => HubDtype::U8,
        Dtype::I8 => HubDtype::I8,
        Dtype::F32 => HubDtype::F32,
        _ => return None,
    };
    Some(HubTensor {
        dtype,
        shape: entry.shape.to_vec(),
        bytes: entry.bytes.into(),
    })
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
    entries: HashMap<&'a str, (TensorEntry<'a>, &'a SafetensorsFile)>,
    on_cpu: bool,
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
        let Some((entry, shard)) = self.entries.get(name.as_str()) else {
            return param;
        };
        // On the CPU only matrices are in half precision.
        let dtype = match self.on_cpu && D == 1 {
            true => DType::F32,
            false => self.dtype,
        };
        let (data, not_finite) = entry.to_data(dtype);
        shard.release(entry);
        if not_finite > 0 {
            self.problems.push((name, not_finite));
        }
        let (device, id) = (param.lazy_device(), param.id);
        param.transform_for_load(Tensor::from_data(data, (&device, dtype)), id)
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
