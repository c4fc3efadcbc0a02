//! Backends by name.

use burn::tensor::{DType, Device};

use crate::{Error, Result};

/// A backend by the name of its cargo feature.
struct Backend {
    name: &'static str,
    compiled: bool,
    open: fn() -> Result<Device, String>,
}

/// Best first.
const BACKENDS: [Backend; 5] = [
    Backend {
        name: "cuda",
        compiled: cfg!(feature = "cuda"),
        open: cuda,
    },
    Backend {
        name: "metal",
        compiled: cfg!(feature = "metal"),
        open: metal,
    },
    Backend {
        name: "vulkan",
        compiled: cfg!(feature = "vulkan"),
        open: vulkan,
    },
    Backend {
        name: "wgpu",
        compiled: cfg!(feature = "wgpu"),
        open: wgpu,
    },
    Backend {
        name: "cpu",
        compiled: cfg!(feature = "cpu"),
        open: cpu,
    },
];

/// Opens a device: `cpu`, `cuda`, `vulkan`, `metal`, `wgpu`, or `auto` for the best that is compiled
/// in and present.
///
/// ```
/// let device = llm_core::open_device("cpu")?;
/// assert!(llm_core::open_device("abacus").is_err());
/// # Ok::<(), llm_core::Error>(())
/// ```
///
/// # Errors
/// When the name is unknown, its feature is not compiled in, or no driver or device answers.
pub fn open_device(name: &str) -> Result<Device> {
    let error = |reason: String| Error::Device {
        name: name.to_owned(),
        reason,
    };
    let compiled = || BACKENDS.iter().filter(|backend| backend.compiled);
    if name == "auto" {
        return compiled()
            .find_map(|backend| (backend.open)().ok())
            .ok_or_else(|| error("no compiled backend finds a device".to_owned()));
    }
    let names = |backends: &mut dyn Iterator<Item = &Backend>| {
        backends
            .map(|backend| backend.name)
            .collect::<Vec<_>>()
            .join(", ")
    };
    match BACKENDS.iter().find(|backend| backend.name == name) {
        None => Err(error(format!(
            "unknown; choose auto, {}",
            names(&mut BACKENDS.iter())
        ))),
        Some(backend) if !backend.compiled => Err(error(format!(
            "not compiled in (have: {}); build with `--features {name}`",
            names(&mut compiled()),
        ))),
        Some(backend) => (backend.open)().map_err(error),
    }
}

/// The type in which a model computes on `device` unless told otherwise: bf16 on CUDA, f32 elsewhere.
pub fn default_dtype(device: &Device) -> DType {
    #[cfg(feature = "cuda")]
    if is_cuda(device) && device.supports_dtype(DType::BF16) {
        return DType::BF16;
    }
    let _ = device;
    DType::F32
}

#[cfg(feature = "cuda")]
fn is_cuda(device: &Device) -> bool {
    device.clone().inner() == Device::cuda(0)
}

/// A backend function for a build that lacks the feature; never called, as `compiled` is false.
macro_rules! absent {
    ($name:ident, $feature:literal) => {
        #[cfg(not(feature = $feature))]
        fn $name() -> Result<Device, String> {
            Err(concat!("the feature `", $feature, "` is not compiled in").to_owned())
        }
    };
}
absent!(cpu, "cpu");
absent!(cuda, "cuda");
absent!(vulkan, "vulkan");
absent!(metal, "metal");
absent!(wgpu, "wgpu");

#[cfg(feature = "cpu")]
fn cpu() -> Result<Device, String> {
    Ok(Device::flex())
}

#[cfg(feature = "cuda")]
fn cuda() -> Result<Device, String> {
    // Burn panics where the driver is absent, so it is looked for before Burn is asked.
    let names = if cfg!(windows) {
        "nvcuda.dll"
    } else {
        "libcuda.so.1"
    };
    // SAFETY: loading NVIDIA's driver library runs only its own initialisers.
    match unsafe { libloading::Library::new(names) } {
        Err(error) => Err(format!("no NVIDIA driver: {error}")),
        Ok(_) => first(burn::tensor::DeviceType::Cuda),
    }
}

#[cfg(feature = "vulkan")]
fn vulkan() -> Result<Device, String> {
    first(burn::tensor::DeviceType::Vulkan)
}

#[cfg(feature = "metal")]
fn metal() -> Result<Device, String> {
    first(burn::tensor::DeviceType::Metal)
}

#[cfg(feature = "wgpu")]
fn wgpu() -> Result<Device, String> {
    first(burn::tensor::DeviceType::Wgpu)
}

#[cfg(any(
    feature = "cuda",
    feature = "vulkan",
    feature = "metal",
    feature = "wgpu"
))]
fn first(kind: burn::tensor::DeviceType) -> Result<Device, String> {
    let devices = Device::enumerate(kind).into_vec();
    devices
        .into_iter()
        .next()
        .ok_or_else(|| "no adapter answers".to_owned())
}
