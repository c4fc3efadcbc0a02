//! Quantised layers in Hugging Face checkpoints, as transformers writes them with bitsandbytes.
//!
//! A 4-bit layer `L` has `L.weight` u8 [ceil(n / 2), 1], `L.weight.absmax` f32 [ceil(n / 64)],
//! `L.weight.quant_map` f32 [16] and `L.weight.quant_state.bitsandbytes__nf4` (or `__fp4`), which
//! is JSON as u8. Under double quantisation `absmax` is u8, and `L.weight.nested_absmax` f32
//! [ceil(n / 64 / 256)] and `L.weight.nested_quant_map` f32 [256] are added. An int8 layer has
//! `L.weight` i8 [out, in], `L.SCB` f32 [out] and, mostly, `L.weight_format` u8 [].
//!
//! Source: `QuantState.as_dict` and `Linear8bitLt._save_to_state_dict` of bitsandbytes.

use std::borrow::Cow;
use std::fmt::Debug;

use serde::Deserialize;

use super::tables::{Codebook, DYNAMIC, FP4, NF4};
use super::{BLOCK, QuantError, QuantFormat, QuantizedWeight, SCALE_BLOCK, Scales};

/// How far a stored code point may lie from ours, relative to it: the last bits of the dynamic
/// map depend on the version of torch.
const POINT_TOLERANCE: f32 = 1e-6;
/// `weight_format` "row"; the other layouts belong to kernels that bitsandbytes dropped.
const ROW_FORMAT: u8 = 0;

/// The element types that quantised layers use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HubDtype {
    /// Unsigned bytes: 4-bit codes, codes of scales, JSON.
    U8,
    /// Signed bytes: int8 codes.
    I8,
    /// Single precision.
    F32,
}

/// A tensor of a checkpoint.
#[derive(Debug, Clone, PartialEq)]
pub struct HubTensor<'a> {
    /// The type of its elements.
    pub dtype: HubDtype,
    /// Its shape; empty for a scalar.
    pub shape: Vec<usize>,
    /// Its elements, row-major and little-endian.
    pub bytes: Cow<'a, [u8]>,
}

impl<'a> HubTensor<'a> {
    fn u8(shape: &[usize], bytes: impl Into<Cow<'a, [u8]>>) -> Self {
        Self {
            dtype: HubDtype::U8,
            shape: shape.to_vec(),
            bytes: bytes.into(),
        }
    }

    fn f32(values: &[f32]) -> Self {
        Self {
            dtype: HubDtype::F32,
            shape: vec![values.len()],
            bytes: values.iter().flat_map(|v| v.to_le_bytes()).collect(),
        }
    }
}

/// The type of a weight before it was quantised, which 4-bit layers record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WeightDtype {
    /// Single precision.
    Float32,
    /// Half precision.
    Float16,
    /// Brain float.
    BFloat16,
}

impl WeightDtype {
    /// As torch names it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Float32 => "float32",
            Self::Float16 => "float16",
            Self::BFloat16 => "bfloat16",
        }
    }
}

impl QuantizedWeight {
    /// The tensors of a layer of this weight, with their names in a checkpoint.
    ///
    /// `dtype` is the type that the weight had; int8 layers do not record it.
    pub fn to_hub(&self, layer: &str, dtype: WeightDtype) -> Vec<(String, HubTensor<'_>)> {
        let name = |suffix: &str| format!("{layer}.{suffix}");
        let codes = self.codes.as_slice();
        let scales = match &self.scales {
            Scales::Plain(scales) => HubTensor::f32(scales),
            Scales::Double { codes, .. } => HubTensor::u8(&[codes.len()], codes),
        };
        let Some(codebook) = self.format.codebook() else {
            let weight = HubTensor {
                dtype: HubDtype::I8,
                ..HubTensor::u8(&self.shape, codes)
            };
            return vec![
                (name("weight"), weight),
                (name("SCB"), scales),
                (name("weight_format"), HubTensor::u8(&[], vec![ROW_FORMAT])),
            ];
        };
        let state = state_json(codebook, self.shape, &self.scales, dtype).into_bytes();
        let mut tensors = vec![
            (name("weight"), HubTensor::u8(&[codes.len(), 1], codes)),
            (name("weight.absmax"), scales),
            (name("weight.quant_map"), HubTensor::f32(&codebook.values)),
            (
                name(&state_key(codebook)),
                HubTensor::u8(&[state.len()], state),
            ),
        ];
        if let Scales::Double { absmax, .. } = &self.scales {
            tensors.push((name("weight.nested_absmax"), HubTensor::f32(absmax)));
            tensors.push((name("weight.nested_quant_map"), HubTensor::f32(&DYNAMIC)));
        }
        tensors
    }

    /// Reads a layer from a checkpoint, whose tensors `get` looks up by name.
    ///
    /// Trusts nothing: types, shapes, lengths, code points and the JSON are checked before they
    /// are used, and nothing is allocated beyond the size of the tensors.
    ///
    /// # Errors
    /// When a tensor is missing or is not what the format asks for; also for block sizes other
    /// than 64 and 256, and for 4-bit codes stored as another type than u8.
    pub fn from_hub<'a>(
        layer: &str,
        get: impl Fn(&str) -> Option<HubTensor<'a>>,
    ) -> Result<Self, QuantError> {
        let layer = Layer { name: layer, get };
        if layer.find("SCB").is_ok() {
            return layer.int8();
        }
        if layer.find(&state_key(&FP4)).is_ok() {
            layer.four_bit(QuantFormat::Fp4, &FP4)
        } else {
            layer.four_bit(QuantFormat::Nf4, &NF4)
        }
    }
}

fn state_key(codebook: &Codebook) -> String {
    format!("weight.quant_state.bitsandbytes__{}", codebook.name)
}

/// What Python's `json.dumps` makes of the state, byte for byte.
fn state_json(
    codebook: &Codebook,
    [rows, width]: [usize; 2],
    scales: &Scales,
    dtype: WeightDtype,
) -> String {
    let (quant_type, dtype) = (codebook.name, dtype.name());
    let nested = match scales {
        Scales::Plain(_) => String::new(),
        Scales::Double { offset, .. } => format!(
            r#", "nested_blocksize": {SCALE_BLOCK}, "nested_dtype": "float32", "nested_offset": {}"#,
            python_repr(f64::from(*offset))
        ),
    };
    format!(
        r#"{{"quant_type": "{quant_type}", "blocksize": {BLOCK}, "dtype": "{dtype}", "shape": [{rows}, {width}]{nested}}}"#
    )
}

/// A finite number as Python prints it: both languages print the shortest digits that read back,
/// Python with an exponent from 1e16 and below 1e-4.
fn python_repr(value: f64) -> String {
    let scientific = format!("{value:e}");
    match scientific.split_once('e') {
        Some((digits, exponent)) => match exponent.parse() {
            Ok(exponent @ (..-4 | 16..)) => format!("{digits}e{exponent:+03}"),
            _ => format!("{value:?}"),
        },
        None => scientific,
    }
}

/// The JSON of a `quant_state` tensor. bitsandbytes refuses other fields too.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct QuantState {
    quant_type: String,
    blocksize: usize,
    /// Checked only: codes decode to f32 here.
    #[serde(rename = "dtype")]
    _dtype: WeightDtype,
    shape: [usize; 2],
    #[serde(default)]
    nested_blocksize: usize,
    #[serde(default)]
    nested_dtype: String,
    /// Present under double quantisation, and then the two above are too.
    nested_offset: Option<f64>,
}

/// A layer of a checkpoint that is being read.
struct Layer<'l, G> {
    name: &'l str,
    get: G,
}

impl<'a, G: Fn(&str) -> Option<HubTensor<'a>>> Layer<'_, G> {
    fn int8(&self) -> Result<QuantizedWeight, QuantError> {
        let (name, tensor) = self.find("weight")?;
        let &[rows, width] = tensor.shape.as_slice() else {
            return Err(mismatch(
                &name,
                "shape",
                format_args!("[out, in]"),
                tensor.shape,
            ));
        };
        let shape = [rows, width];
        check_values(&name, shape)?;
        let codes = self.tensor("weight", HubDtype::I8, &shape)?;
        let scales = self.floats("SCB", rows)?;
        if self.find("weight_format").is_ok() {
            let format = self.tensor("weight_format", HubDtype::U8, &[])?;
            let name = format!("{}.weight_format", self.name);
            check(&name, "value", [ROW_FORMAT].as_slice(), &format)?;
        }
        Ok(QuantizedWeight {
            format: QuantFormat::Int8,
            shape,
            codes: codes.into_owned(),
            scales: Scales::Plain(scales),
        })
    }

    fn four_bit(
        &self,
        format: QuantFormat,
        codebook: &Codebook,
    ) -> Result<QuantizedWeight, QuantError> {
        let key = state_key(codebook);
        let (name, tensor) = self.find(&key)?;
        let json = self.tensor(&key, HubDtype::U8, &[tensor.bytes.len()])?;
        let state: QuantState =
            serde_json::from_slice(&json).map_err(|source| QuantError::Json {
                tensor: name.clone(),
                source,
            })?;
        check(&name, "quant_type", codebook.name, &state.quant_type)?;
        check(&name, "blocksize", &BLOCK, &state.blocksize)?;
        let values = check_values(&name, state.shape)?;
        self.check_points("weight.quant_map", &codebook.values)?;
        let codes = self.tensor("weight", HubDtype::U8, &[values.div_ceil(2), 1])?;
        let blocks = values.div_ceil(BLOCK);
        let scales = match state.nested_offset {
            None => Scales::Plain(self.floats("weight.absmax", blocks)?),
            Some(offset) => {
                check(
                    &name,
                    "nested_blocksize",
                    &SCALE_BLOCK,
                    &state.nested_blocksize,
                )?;
                check(&name, "nested_dtype", "float32", &state.nested_dtype)?;
                self.double_scales(&name, offset as f32, blocks)?
            }
        };
        Ok(QuantizedWeight {
            format,
            shape: state.shape,
            codes: codes.into_owned(),
            scales,
        })
    }

    fn double_scales(&self, state: &str, offset: f32, blocks: usize) -> Result<Scales, QuantError> {
        if !offset.is_finite() {
            return Err(mismatch(
                state,
                "nested_offset",
                format_args!("a finite f32"),
                offset,
            ));
        }
        self.check_points("weight.nested_quant_map", &DYNAMIC)?;
        let codes = self.tensor("weight.absmax", HubDtype::U8, &[blocks])?;
        let absmax = self.floats("weight.nested_absmax", blocks.div_ceil(SCALE_BLOCK))?;
        Ok(Scales::Double {
            codes: codes.into_owned(),
            absmax,
            offset,
        })
    }

    fn find(&self, suffix: &str) -> Result<(String, HubTensor<'a>), QuantError> {
        let name = format!("{}.{suffix}", self.name);
        match (self.get)(&name) {
            Some(tensor) => Ok((name, tensor)),
            None => Err(QuantError::Missing { tensor: name }),
        }
    }

    fn tensor(
        &self,
        suffix: &str,
        dtype: HubDtype,
        shape: &[usize],
    ) -> Result<Cow<'a, [u8]>, QuantError> {
        let (name, tensor) = self.find(suffix)?;
        check(&name, "dtype", &dtype, &tensor.dtype)?;
        check(&name, "shape", shape, &tensor.shape)?;
        let size = match dtype {
            HubDtype::U8 | HubDtype::I8 => 1,
            HubDtype::F32 => 4,
        };
        let len = shape
            .iter()
            .try_fold(size, |len: usize, side| len.checked_mul(*side));
        check(&name, "bytes", &len, &Some(tensor.bytes.len()))?;
        Ok(tensor.bytes)
    }

    fn floats(&self, suffix: &str, len: usize) -> Result<Vec<f32>, QuantError> {
        let bytes = self.tensor(suffix, HubDtype::F32, &[len])?;
        let (values, _) = bytes.as_chunks();
        let values: Vec<_> = values.iter().map(|v| f32::from_le_bytes(*v)).collect();
        match values.iter().find(|value| !value.is_finite()) {
            None => Ok(values),
            Some(value) => {
                let name = format!("{}.{suffix}", self.name);
                Err(mismatch(
                    &name,
                    "value",
                    format_args!("a finite number"),
                    value,
                ))
            }
        }
    }

    fn check_points(&self, suffix: &str, points: &[f32]) -> Result<(), QuantError> {
        let stored = self.floats(suffix, points.len())?;
        for (point, stored) in points.iter().zip(stored) {
            if (stored - point).abs() > POINT_TOLERANCE * point.abs() {
                let name = format!("{}.{suffix}", self.name);
                return Err(mismatch(&name, "code point", point, stored));
            }
        }
        Ok(())
    }
}

/// The number of values of a shape, neither zero nor beyond what can be counted.
fn check_values(name: &str, shape: [usize; 2]) -> Result<usize, QuantError> {
    match shape[0].checked_mul(shape[1]) {
        None | Some(0) => Err(mismatch(
            name,
            "shape",
            format_args!("a non-empty matrix"),
            shape,
        )),
        Some(values) => Ok(values),
    }
}

fn check<T: Debug + PartialEq + ?Sized>(
    name: &str,
    what: &'static str,
    expected: &T,
    got: &T,
) -> Result<(), QuantError> {
    if expected == got {
        Ok(())
    } else {
        Err(mismatch(name, what, expected, got))
    }
}

/// `expected` is a value, or words in `format_args!`, which `Debug` leaves unquoted.
fn mismatch(name: &str, what: &'static str, expected: impl Debug, got: impl Debug) -> QuantError {
    QuantError::Mismatch {
        tensor: name.to_owned(),
        what,
        expected: format!("{expected:?}"),
        got: format!("{got:?}"),
    }
}
