//! Backends by name.

use burn::tensor::{DType, Device, DeviceType};

use crate::{Error, Result};

/// The names of the backends and of their cargo features, best first.
const BACKENDS: [&str; 5] = ["cuda", "metal", "vulkan", "wgpu", "cpu"];

/// Burn's word for a backend; none where its feature is not compiled in.
fn device_type(name: &str) -> Option<DeviceType> {
    match name {
        #[cfg(feature = "cuda")]
        "cuda" => Some(DeviceType::Cuda),
        #[cfg(feature = "metal")]
        "metal" => Some(DeviceType::Metal),
        #[cfg(feature = "vulkan")]
        "vulkan" => Some(DeviceType::Vulkan),
        #[cfg(feature = "wgpu")]
        "wgpu" => Some(DeviceType::Wgpu),
        #[cfg(feature = "cpu")]
        "cpu" => Some(DeviceType::Flex),
        _ => None,
    }
}

/// Opens a device: `cpu`, `cuda`, `vulkan`, `metal`, `wgpu`, or `auto` for the best that is compiled
/// in and present. `vulkan` and `metal` pin that API; `wgpu` takes the first API that has a GPU.
/// A graphics driver that computes on the CPU (Mesa's lavapipe) is opened where it is asked for by
/// name, or where there is nothing else.
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
    let error = |reason| Error::Device {
        name: name.to_owned(),
        reason,
    };
    let compiled = BACKENDS.map(|backend| (backend, device_type(backend)));
    let compiled: Vec<(&str, DeviceType)> = compiled
        .into_iter()
        .filter_map(|(backend, kind)| Some((backend, kind?)))
        .collect();
    let asked = |backend: &str| name == backend || name == "auto";
    if !BACKENDS.into_iter().any(asked) {
        let names = BACKENDS.join(", ");
        return Err(error(format!("unknown; choose auto, {names}")));
    }
    if name != "auto" && !compiled.iter().any(|(backend, _)| name == *backend) {
        let have: Vec<&str> = compiled.iter().map(|(backend, _)| *backend).collect();
        return Err(error(format!(
            "not compiled in (have: {}); build with `--features {name}`",
            have.join(", ")
        )));
    }
    let kinds = compiled.into_iter().filter(|(backend, _)| asked(backend));
    let mut software = None;
    for device in kinds.flat_map(|(_, kind)| present(kind)) {
        if !is_software(&device) {
            return Ok(device);
        }
        software.get_or_insert(device);
    }
    software.ok_or_else(|| {
        let toolkit = match name {
            "cuda" => " (it also needs the CUDA toolkit, in CUDA_PATH or /usr/local/cuda)",
            _ => "",
        };
        error(format!("no driver or device answers{toolkit}"))
    })
}

/// The devices whose driver answers. Burn lists none where there is no driver; to use one would panic.
fn present(kind: DeviceType) -> Vec<Device> {
    // NVRTC compiles the kernels as they are needed, against the toolkit's headers.
    #[cfg(feature = "cuda")]
    if kind == DeviceType::Cuda && cubecl_cuda::install::cuda_path().is_none() {
        return Vec::new();
    }
    Device::enumerate(kind).into_vec()
}

/// Whether `device` is a graphics driver that computes on the CPU.
fn is_software(device: &Device) -> bool {
    let renderers: &[Device] = &[
        #[cfg(feature = "vulkan")]
        Device::vulkan(burn::tensor::DeviceKind::Cpu),
        #[cfg(feature = "wgpu")]
        Device::wgpu(burn::tensor::DeviceKind::Cpu),
    ];
    renderers.contains(device)
}

/// The type in which a model computes on `device` unless told otherwise: bf16 on CUDA where the
/// card has it, f32 elsewhere.
pub fn default_dtype(device: &Device) -> DType {
    let is_cuda =
        device_type("cuda").is_some_and(|kind| Device::enumerate(kind).into_vec().contains(device));
    if is_cuda && device.supports_dtype(DType::BF16) {
        DType::BF16
    } else {
        DType::F32
    }
}

/// Whether `device`, or what it differentiates on, is the CPU backend.
#[cfg(feature = "cpu")]
pub fn is_cpu(device: &Device) -> bool {
    // Asked by every operation: the variant is looked at, no device is enumerated.
    let device = device.clone().inner();
    matches!(device.as_dispatch(), burn::backend::DispatchDevice::Flex(_))
}

/// Whether `device` is the CPU backend, which is not compiled in.
#[cfg(not(feature = "cpu"))]
pub fn is_cpu(_: &Device) -> bool {
    false
}
