//! Other backends against the CPU.
//!
//! `wgpu` runs without a GPU on Mesa's software Vulkan driver (Debian: `mesa-vulkan-drivers
//! libvulkan1`). `REQUIRE_WGPU=1` makes its absence a failure.

use std::env;
use std::process::Command;

use burn::module::Module;
use burn::tensor::{Device, DeviceKind};
use llm_core::{Error, GenerationConfig, LlamaForCausalLM, open_device};
use llm_lora::{Adapter, Step};

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
