//! Where fixtures are, and how to read and compare them: for this crate's tests and llm-lora's.

#![allow(dead_code, reason = "each of the two uses a part")]

use std::path::{Path, PathBuf};

use burn::tensor::{DType, Device, Tensor};
use llm_core::checkpoint::SafetensorsFile;
use llm_core::{Checkpoint, LlamaForCausalLM, LoadOptions, open_device};

/// The workspace's `../shared`, or `None` (said aloud) where it is absent and `REQUIRE_SHARED` is unset.
pub(crate) fn shared(path: &str) -> Option<PathBuf> {
    let full = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../shared")
        .join(path);
    if !full.exists() {
        let absent = format!("{} is absent", full.display());
        assert!(std::env::var_os("REQUIRE_SHARED").is_none(), "{absent}");
        eprintln!("skipped: {absent}");
        return None;
    }
    Some(full)
}

/// Goldens that travel with the crate.
pub(crate) fn own(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/goldens")
        .join(path)
}

pub(crate) fn cpu() -> Device {
    open_device("cpu").unwrap()
}

pub(crate) fn load(dir: &Path) -> LlamaForCausalLM {
    load_on(dir, &cpu())
}

pub(crate) fn load_on(dir: &Path, device: &Device) -> LlamaForCausalLM {
    let options = LoadOptions {
        dtype: Some(DType::F32),
        strict: true,
        ..LoadOptions::default()
    };
    Checkpoint::open(dir)
        .unwrap()
        .load(device, &options)
        .unwrap()
        .model
}

/// A safetensors file of goldens.
pub(crate) struct Golden(SafetensorsFile);

impl Golden {
    pub(crate) fn open(path: PathBuf) -> Self {
        Self(SafetensorsFile::open(path).unwrap())
    }

    pub(crate) fn names(&self) -> Vec<String> {
        self.0.iter().map(|(name, _)| name.to_owned()).collect()
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.get(name).is_some()
    }

    pub(crate) fn floats(&self, name: &str) -> Vec<f32> {
        let entry = self.0.get(name).unwrap_or_else(|| panic!("{name}"));
        entry
            .bytes
            .as_chunks::<4>()
            .0
            .iter()
            .map(|b| f32::from_le_bytes(*b))
            .collect()
    }

    pub(crate) fn doubles(&self, name: &str) -> Vec<f64> {
        let entry = self.0.get(name).unwrap_or_else(|| panic!("{name}"));
        entry
            .bytes
            .as_chunks::<8>()
            .0
            .iter()
            .map(|b| f64::from_le_bytes(*b))
            .collect()
    }

    pub(crate) fn ints(&self, name: &str) -> Vec<i64> {
        let entry = self.0.get(name).unwrap_or_else(|| panic!("{name}"));
        entry
            .bytes
            .as_chunks::<8>()
            .0
            .iter()
            .map(|b| i64::from_le_bytes(*b))
            .collect()
    }

    /// A matrix of ids as rows.
    pub(crate) fn rows(&self, name: &str) -> Vec<Vec<u32>> {
        let shape = self.0.get(name).unwrap_or_else(|| panic!("{name}")).shape;
        let ids: Vec<u32> = self.ints(name).iter().map(|id| *id as u32).collect();
        ids.chunks(*shape.last().unwrap())
            .map(<[u32]>::to_vec)
            .collect()
    }
}

pub(crate) fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.try_into_vec_as::<f32>().unwrap()
}

/// The largest absolute difference.
pub(crate) fn distance(ours: &[f32], theirs: &[f32]) -> f32 {
    assert_eq!(ours.len(), theirs.len());
    ours.iter()
        .zip(theirs)
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, f32::max)
}

/// The largest difference over the largest reference value.
pub(crate) fn relative(ours: &[f32], theirs: &[f32]) -> f32 {
    let scale = theirs
        .iter()
        .fold(f32::MIN_POSITIVE, |most, x| most.max(x.abs()));
    distance(ours, theirs) / scale
}
