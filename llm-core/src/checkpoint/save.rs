//! From a model to a Hugging Face directory.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{DType, Tensor, TensorData};
use safetensors::tensor::{Dtype, Metadata, TensorInfo};
use serde_json::{Map, Value, json};

use super::load::on_disk;
use super::{INDEX, WEIGHTS};
use crate::quant::{HubDtype, HubTensor, QuantFormat, QuantizedWeight, Scales, WeightDtype};
use crate::{Error, LlamaForCausalLM, Result};

/// How to write a model.
#[derive(Debug, Clone)]
pub struct SaveOptions {
    /// The type on disk: F32, F16 or BF16.
    pub dtype: DType,
    /// The most bytes of tensors in one file; more become shards with an index.
    pub max_shard_bytes: usize,
}

impl Default for SaveOptions {
    fn default() -> Self {
        Self {
            dtype: DType::F32,
            max_shard_bytes: 5_000_000_000,
        }
    }
}

/// A tensor that is fetched from its device only when its bytes are written.
pub struct LazyTensor {
    name: String,
    info: TensorInfo,
    fetch: Box<dyn Fn() -> Result<TensorData>>,
}

impl LazyTensor {
    /// Names a tensor and the type that it shall have on disk.
    ///
    /// # Errors
    /// When the type is not F32, F16 or BF16.
    pub fn new<const D: usize>(
        name: impl Into<String>,
        tensor: Tensor<D>,
        dtype: DType,
    ) -> Result<Self> {
        let on_disk = on_disk(dtype)?;
        let shape = tensor.dims().to_vec();
        let bytes = on_disk.bitsize() / 8 * shape.iter().product::<usize>();
        Ok(Self {
            name: name.into(),
            info: TensorInfo {
                dtype: on_disk,
                shape,
                data_offsets: (0, bytes),
            },
            fetch: Box::new(move || {
                let data = tensor.try_to_data();
                let data = data.map_err(|error| Error::Backend(error.to_string()))?;
                Ok(data.convert_dtype(dtype))
            }),
        })
    }

    /// The tensors of a quantised layer, in bitsandbytes' layout.
    fn of_quantized(
        layer: &str,
        weight: &Arc<QuantizedWeight>,
        dtype: WeightDtype,
    ) -> Vec<LazyTensor> {
        let tensor = |(name, tensor): (String, HubTensor)| {
            let (on_disk, in_memory) = match tensor.dtype {
                HubDtype::U8 => (Dtype::U8, DType::U8),
                HubDtype::I8 => (Dtype::I8, DType::I8),
                HubDtype::F32 => (Dtype::F32, DType::F32),
            };
            let (layer, weight, wanted) = (layer.to_owned(), weight.clone(), name.clone());
            LazyTensor {
                name,
                info: TensorInfo {
                    dtype: on_disk,
                    data_offsets: (0, tensor.bytes.len()),
                    shape: tensor.shape,
                },
                fetch: Box::new(move || {
                    let mut tensors = weight.to_hub(&layer, dtype).into_iter();
                    let found = tensors.find(|(name, _)| *name == wanted);
                    let tensor = found.map(|(_, tensor)| tensor);
                    let bytes = tensor.map_or_else(Vec::new, |tensor| tensor.bytes.into_owned());
                    let count = bytes.len() / in_memory.size();
                    Ok(TensorData::from_bytes_vec(bytes, vec![count], in_memory))
                }),
            }
        };
        weight
            .to_hub(layer, dtype)
            .into_iter()
            .map(tensor)
            .collect()
    }

    fn bytes(&self) -> usize {
        self.info.data_offsets.1
    }

    fn write(&self, file: &mut dyn Write) -> io::Result<()> {
        let data = (self.fetch)().map_err(io::Error::other)?;
        file.write_all(data.as_bytes())
    }
}

/// Writes a model as a Hugging Face directory: `config.json` and `model.safetensors`, or shards with
/// an index. `source` is the `config.json` to carry over, so that keys that this crate does not know
/// survive; adapters must be merged or detached before. Quantised layers are written in bitsandbytes' layout, which
/// transformers opens.
///
/// While it writes, the directory holds no checkpoint: one is complete or absent.
///
/// # Errors
/// When an adapter is attached, the directory cannot be made or a file cannot be written.
pub fn save_model(
    model: &LlamaForCausalLM,
    dir: impl AsRef<Path>,
    source: Option<&Map<String, Value>>,
    options: &SaveOptions,
) -> Result<()> {
    let dir = dir.as_ref();
    let _span = tracing::info_span!("save", path = %dir.display()).entered();
    let mut collector = Collector {
        path: Vec::new(),
        dtype: options.dtype,
        tensors: Ok(Vec::new()),
    };
    model.visit(&mut collector);
    let mut tensors = collector.tensors?;
    let mut quantization = None;
    for (layer, linear) in model.clone().linears_mut() {
        if let Some(weight) = linear.quantized() {
            let weight = weight.to_host()?;
            tensors.extend(LazyTensor::of_quantized(
                &layer,
                &weight,
                weight_dtype(options.dtype),
            ));
            quantization = Some(quantization_config(&weight, options.dtype));
        }
    }
    fs::create_dir_all(dir).map_err(Error::io(dir))?;
    remove_weights(dir)?;
    write_shards(dir, shard(tensors, options.max_shard_bytes))?;

    let dtype = weight_dtype(options.dtype).name();
    let mut config = source
        .cloned()
        .unwrap_or_else(|| model.config().to_json(dtype));
    config.insert(
        "tie_word_embeddings".to_owned(),
        json!(model.config().tie_word_embeddings),
    );
    let key = if config.contains_key("dtype") {
        "dtype"
    } else {
        "torch_dtype"
    };
    config.insert(key.to_owned(), json!(dtype));
    match quantization {
        Some(quantization) => config.insert("quantization_config".to_owned(), quantization),
        None => config.remove("quantization_config"),
    };
    write_json(dir.join("config.json"), &Value::Object(config))
}

/// The name of a type that models are stored in.
fn weight_dtype(dtype: DType) -> WeightDtype {
    match dtype {
        DType::F16 => WeightDtype::Float16,
        DType::BF16 => WeightDtype::BFloat16,
        _ => WeightDtype::Float32,
    }
}

/// What transformers' `BitsAndBytesConfig` says of a model whose layers are coded as this one.
fn quantization_config(weight: &QuantizedWeight, dtype: DType) -> Value {
    let is_4bit = weight.format() != QuantFormat::Int8;
    let quant_type = match weight.format() {
        QuantFormat::Fp4 => "fp4",
        _ => "nf4",
    };
    json!({
        "quant_method": "bitsandbytes",
        "load_in_4bit": is_4bit,
        "load_in_8bit": !is_4bit,
        "bnb_4bit_quant_type": quant_type,
        "bnb_4bit_use_double_quant": matches!(weight.scales(), Scales::Double { .. }),
        "bnb_4bit_compute_dtype": weight_dtype(dtype).name(),
        "bnb_4bit_quant_storage": "uint8",
        "llm_int8_skip_modules": ["lm_head"],
    })
}

struct Collector {
    path: Vec<String>,
    dtype: DType,
    tensors: Result<Vec<LazyTensor>>,
}

impl ModuleVisitor for Collector {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let Ok(tensors) = &mut self.tensors else {
            return;
        };
        let name = self.path.join(".");
        let tensor = match self.path.iter().any(|name| name == "adapter") {
            true => Err(Error::AdapterAttached { parameter: name }),
            false => LazyTensor::new(name, param.val(), self.dtype),
        };
        match tensor {
            Ok(tensor) => tensors.push(tensor),
            Err(error) => self.tensors = Err(error),
        }
    }
}

/// Fills files in order; a tensor larger than `most` has a file of its own.
fn shard(tensors: Vec<LazyTensor>, most: usize) -> Vec<Vec<LazyTensor>> {
    let mut shards: Vec<Vec<LazyTensor>> = Vec::new();
    let mut used = 0;
    for tensor in tensors {
        if shards.is_empty() || used + tensor.bytes() > most {
            shards.push(Vec::new());
            used = 0;
        }
        used += tensor.bytes();
        if let Some(last) = shards.last_mut() {
            last.push(tensor);
        }
    }
    shards
}

fn write_shards(dir: &Path, shards: Vec<Vec<LazyTensor>>) -> Result<()> {
    let count = shards.len();
    if let [only] = &shards[..] {
        return write_tensors(dir.join(WEIGHTS), only);
    }
    let mut weight_map = Map::new();
    let mut total = 0;
    for (number, tensors) in (1..).zip(&shards) {
        let file = format!("model-{number:05}-of-{count:05}.safetensors");
        write_tensors(dir.join(&file), tensors)?;
        for tensor in tensors {
            weight_map.insert(tensor.name.clone(), json!(file));
            total += tensor.bytes();
        }
    }
    let index = json!({"metadata": {"total_size": total}, "weight_map": weight_map});
    write_json(dir.join(INDEX), &index)
}

/// Removes the weights of an earlier save, the index first, so that no index ever names a file that
/// is gone or of another model.
fn remove_weights(dir: &Path) -> Result<()> {
    let remove = |path: &Path| match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::io(path)(error)),
        _ => Ok(()),
    };
    remove(&dir.join(INDEX))?;
    remove(&dir.join(WEIGHTS))?;
    for entry in fs::read_dir(dir).map_err(Error::io(dir))?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with("model-") && name.contains("-of-") && name.ends_with(".safetensors") {
            remove(&entry.path())?;
        }
    }
    Ok(())
}

fn write_json(path: impl AsRef<Path>, value: &Value) -> Result<()> {
    write_atomically(path, |file| {
        file.write_all(format!("{value:#}\n").as_bytes())
    })
}

/// Writes a safetensors file; one tensor at a time is held in memory.
///
/// # Errors
/// When the file cannot be written, or two tensors have the same name.
pub fn write_tensors(path: impl AsRef<Path>, tensors: &[LazyTensor]) -> Result<()> {
    let path = path.as_ref();
    let malformed = |reason: String| Error::Safetensors {
        path: path.to_owned(),
        reason,
    };
    let mut offset = 0;
    let mut infos = Vec::with_capacity(tensors.len());
    for tensor in tensors {
        let mut info = tensor.info.clone();
        info.data_offsets = (offset, offset + tensor.bytes());
        offset += tensor.bytes();
        infos.push((tensor.name.clone(), info));
    }
    let format = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    let metadata =
        Metadata::new(Some(format), infos).map_err(|error| malformed(error.to_string()))?;
    let mut header = serde_json::to_vec(&metadata).map_err(|error| malformed(error.to_string()))?;
    header.resize(header.len().next_multiple_of(8), b' ');
    write_atomically(path, |file| {
        file.write_all(&(header.len() as u64).to_le_bytes())?;
        file.write_all(&header)?;
        tensors.iter().try_for_each(|tensor| tensor.write(file))
    })
}

/// Writes a file beside its place, syncs it and renames it, so that the file is whole or absent.
///
/// # Errors
/// When the file cannot be created, written, synced or renamed; nothing is left behind.
pub fn write_atomically(
    path: impl AsRef<Path>,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<()> {
    let path = path.as_ref();
    let (temporary, file) = create_beside(path).map_err(Error::io(path))?;
    let run = || {
        let mut file = io::BufWriter::with_capacity(1 << 20, file);
        write(&mut file)?;
        file.into_inner()
            .map_err(io::IntoInnerError::into_error)?
            .sync_all()?;
        fs::rename(&temporary, path)
    };
    run().map_err(|error| {
        // The first error is the one to report.
        let _ = fs::remove_file(&temporary);
        Error::io(path)(error)
    })
}

/// Creates a file beside `path` under a name that is not taken. In a container every process can have the
/// same number, so that a name may be left over from one that was killed.
fn create_beside(path: &Path) -> io::Result<(PathBuf, File)> {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    loop {
        let mut name = path.file_name().unwrap_or_default().to_owned();
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        name.push(format!(".{}-{count}.tmp", std::process::id()));
        let temporary = path.with_file_name(name);
        match File::create_new(&temporary) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            created => return Ok((temporary, created?)),
        }
    }
}
