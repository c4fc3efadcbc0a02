//! Other backends against the CPU.
//!
//! `wgpu` runs without a GPU on Mesa's software Vulkan driver (Debian: `mesa-vulkan-drivers
//! libvulkan1`). `REQUIRE_WGPU=1` makes its absence a failure.

use std::env;
use std::process::Command;

use burn::module::Module;
use burn::tensor::{DType, Device, DeviceKind, Tensor};
use llm_core::quant::{QuantFormat, Quantization, QuantizedTensor, QuantizedWeight};
use llm_core::{Error, GenerationConfig, Linear, LlamaForCausalLM, open_device};
use llm_lora::{Adapter, Step};

use crate::qlora;
use crate::support::{Golden, load_on, own};
use crate::training::{config, run, samples};

/// Relative.
const TOLERANCE: f64 = 1e-4;

/// The device, or `None` (said aloud) where it is absent.
fn wgpu() -> Option<Device> {
    match open_device("wgpu") {
        Ok(device) => Some(device),
        Err(error) => {
            assert!(env::var_os("REQUIRE_WGPU").is_none(), "{error}");
            eprintln!("skipped: {error}");
            None
        }
    }
}

fn lora(device: &Device) -> LlamaForCausalLM {
    let mut model = load_on(&own("base"), device);
    let adapter = Adapter::load(&mut model, own("all_linear/adapter_init")).unwrap();
    adapter.unfreeze(&mut model);
    model
}

fn full(device: &Device) -> LlamaForCausalLM {
    load_on(&own("base"), device).set_require_grad(true)
}

/// Trains on two rows a step.
fn steps(mut model: LlamaForCausalLM) -> (LlamaForCausalLM, Vec<Step>) {
    let batches = Golden::open(own("batches.safetensors"));
    let steps = run(&mut model, &samples(&batches)[..8], &config(5e-3, 2));
    (model, steps)
}

fn compare(ours: &[Step], theirs: &[Step], what: &str) {
    let numbers = |steps: &[Step]| -> Vec<f64> {
        let numbers = steps.iter().map(|step| [step.loss, step.grad_norm]);
        numbers.flatten().collect()
    };
    let (ours, theirs) = (numbers(ours), numbers(theirs));
    assert_eq!((ours.len(), theirs.len()), (8, 8), "{what}");
    for (a, b) in ours.iter().zip(&theirs) {
        let near = *b > 0.0 && (a - b).abs() < TOLERANCE * b;
        assert!(near, "{what}: {ours:?}, on the CPU {theirs:?}");
    }
}

#[test]
fn wgpu_trains_and_decodes_as_the_cpu_does() {
    let Some(wgpu) = wgpu() else { return };
    let cpu = open_device("cpu").unwrap();
    assert!(format!("{wgpu:?}").contains("Wgpu"), "{wgpu:?}");
    assert_ne!(wgpu, cpu);
    if wgpu == Device::wgpu(DeviceKind::Cpu) {
        let best = open_device("auto").unwrap();
        assert_eq!(best, cpu, "a software driver is not the best");
    }
    let (_, on_cpu) = steps(full(&cpu));
    let (_, on_wgpu) = steps(full(&wgpu));
    compare(&on_wgpu, &on_cpu, "full");
    let (cpu_model, on_cpu) = steps(lora(&cpu));
    let (wgpu_model, on_wgpu) = steps(lora(&wgpu));
    compare(&on_wgpu, &on_cpu, "lora");

    assert_eq!(wgpu_model.device(), wgpu);
    let options = GenerationConfig {
        max_new_tokens: 8,
        ..GenerationConfig::default()
    };
    let prompts = [vec![1, 2, 3, 4, 5], vec![9, 8]];
    assert_eq!(
        wgpu_model.generate_batch(&prompts, &options).unwrap(),
        cpu_model.generate_batch(&prompts, &options).unwrap()
    );
}

/// The codes stay on the device; what the backend reserves is less than the dense weight alone.
#[test]
fn wgpu_trains_beside_a_quantised_base_as_the_cpu_does() {
    let Some(wgpu) = wgpu() else { return };
    let cpu = open_device("cpu").unwrap();
    for format in [QuantFormat::Nf4, QuantFormat::Int8] {
        let double = format == QuantFormat::Nf4;
        let quantization = Quantization { format, double };
        let (_, _, on_cpu) = qlora::train(qlora::quantized(&cpu, quantization));
        let (mut model, _, on_wgpu) = qlora::train(qlora::quantized(&wgpu, quantization));
        compare(&on_wgpu, &on_cpu, "qlora");
        assert_eq!(model.device(), wgpu);
        for (name, linear) in model.linears_mut() {
            let coded = linear.quantized().map(|weight| weight.device() == &wgpu);
            assert_eq!(coded.is_some(), name != "lm_head", "{name}");
            assert!(linear.weight.is_none() || name == "lm_head", "{name}");
            assert_ne!(coded, Some(false), "{name}");
        }
    }
}

/// A layer of 32 MiB in f32: the pool of the device never reserves as much.
#[test]
fn wgpu_never_holds_a_quantised_weight_as_a_dense_one() {
    let Some(wgpu) = wgpu() else { return };
    const SHAPE: [usize; 2] = [8192, 1024];
    let dense = (SHAPE[0] * SHAPE[1] * size_of::<f32>()) as u64;
    let values: Vec<f32> = (0..SHAPE[0] * SHAPE[1]).map(|i| (i as f32).sin()).collect();
    let weight = QuantizedWeight::quantize(&values, SHAPE, QuantFormat::Nf4, true).unwrap();
    wgpu.memory_cleanup();
    let reserved = || wgpu.memory_pool_usage().unwrap().bytes_reserved;
    let before = reserved();
    let mut linear = Linear::new(SHAPE[1], SHAPE[0], false, &wgpu);
    let weight = QuantizedTensor::new(weight, &wgpu, DType::F32);
    linear.set_quantized(weight).unwrap();
    let x = Tensor::<2>::ones([2, SHAPE[1]], &wgpu.clone().autodiff()).require_grad();
    let gradients = linear.forward(x.clone(), None).sum().backward();
    let gradient = x.grad(&gradients).unwrap().into_data();
    let held = reserved() - before;
    assert!(gradient.iter::<f32>().all(f32::is_finite));
    assert!(
        held < dense,
        "{held} bytes reserved, a dense weight has {dense}"
    );
}

/// In a process of its own, as the drivers' loaders read the environment.
#[test]
fn an_absent_driver_is_an_error_and_the_best_device_is_the_cpu() {
    const ABSENT: [(&str, &str); 3] = [
        ("VK_DRIVER_FILES", "/absent"),
        ("VK_ICD_FILENAMES", "/absent"),
        ("__EGL_VENDOR_LIBRARY_FILENAMES", "/absent"),
    ];
    if env::var_os("VK_DRIVER_FILES").is_none_or(|files| files != "/absent") {
        let name = "backends::an_absent_driver_is_an_error_and_the_best_device_is_the_cpu";
        let child = Command::new(env::current_exe().unwrap())
            .args(["--exact", name, "--nocapture"])
            .envs(ABSENT)
            .output()
            .unwrap();
        return assert!(child.status.success(), "{child:?}");
    }
    let error = open_device("wgpu").unwrap_err();
    assert!(matches!(&error, Error::Device { name, .. } if name == "wgpu"));
    assert_eq!(open_device("auto").unwrap(), open_device("cpu").unwrap());
}
